//! Parts of the catalogue that can run on a kernel.

/// A part of the catalogue. Each one includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Each cause in each family that has it, so that these alone give the same coverage table.
    Quick,
    /// Also every scenario for which 5.10 has different hooks or expectations.
    Differing,
    /// Also every other scenario, in one family if the call does not depend on it.
    Whole,
    /// Every scenario in every family.
    Full,
}

impl Scope {
    /// All scopes, smallest first.
    pub const ALL: [Self; 4] = [Self::Quick, Self::Differing, Self::Whole, Self::Full];

    /// Name in options and lists.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Differing => "differing",
            Self::Whole => "whole",
            Self::Full => "full",
        }
    }

    /// Looks up a scope by its name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.name() == name)
    }
}
