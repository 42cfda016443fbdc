//! How much of the catalogue runs on a kernel.

/// A part of the catalogue. Each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Each cause in each family that has it, so that the table of what was covered is the same
    /// with these alone.
    Quick,
    /// Also every scenario that 5.10 has hooks or expectations of its own for.
    Differing,
    /// Also every other scenario, in one family where the call does not depend on it.
    Whole,
    /// Every scenario in every family.
    Full,
}

impl Scope {
    /// Every one, smallest first.
    pub const ALL: [Self; 4] = [Self::Quick, Self::Differing, Self::Whole, Self::Full];

    /// Its name in options and lists.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Differing => "differing",
            Self::Whole => "whole",
            Self::Full => "full",
        }
    }

    /// The scope of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.name() == name)
    }
}
