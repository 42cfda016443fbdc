//! Kernel facts that the programs need, looked up by name in BTF.

use socktrace_ebpf::{facts::ABSENT, kernel_facts};

use crate::btf::{Btf, BtfError, Member};

/// Kind of a fact about a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Offset in bytes of a member with this size in bytes.
    Sized(u32),
    /// Offset in bytes, for any size.
    Offset,
    /// Size in bytes.
    Size,
    /// Offset in bits.
    Bit,
}

/// Programs that need a fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// All programs.
    Always,
    /// The programs at these kernel functions, and the programs with these names.
    At(&'static [&'static str]),
    /// None; without the fact, this stays hidden, if anything.
    Optional(Option<&'static str>),
    /// Like `Optional`, but only on kernels with all structs of this group.
    Feature(&'static str),
}

/// An entry of the list shared by both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Name of the global in the programs.
    pub global: &'static str,
    /// Name of the struct.
    pub ty: &'static str,
    /// Path of the member in it.
    pub path: &'static str,
    /// Kind of the fact.
    pub kind: Kind,
    /// Programs that need it.
    pub need: Need,
}

macro_rules! wanted {
    ($($need:ident $arguments:tt {
        $($name:ident = $ty:literal, $path:literal, $kind:ident;)+
    })+) => {
        /// Every fact.
        pub const WANTED: &[Wanted] = &[$($(Wanted {
            global: stringify!($name),
            ty: $ty,
            path: $path,
            kind: wanted!(@kind $kind),
            need: wanted!(@need $need $arguments),
        },)+)+];
    };
    (@need always ()) => { Need::Always };
    (@need at ($($site:literal),+)) => { Need::At(&[$($site),+]) };
    (@need optional ()) => { Need::Optional(None) };
    (@need optional ($hides:literal)) => { Need::Optional(Some($hides)) };
    (@need feature ($hides:literal)) => { Need::Feature($hides) };
    (@kind u8) => { Kind::Sized(1) };
    (@kind u16) => { Kind::Sized(2) };
    (@kind u32) => { Kind::Sized(4) };
    (@kind u64) => { Kind::Sized(8) };
    (@kind u128) => { Kind::Sized(16) };
    (@kind pointer) => { Kind::Sized(8) };
    (@kind offset) => { Kind::Offset };
    (@kind size) => { Kind::Size };
    (@kind bit) => { Kind::Bit };
}
kernel_facts!(wanted);

/// A global of the programs and its value on this kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fact {
    /// Name of the global in the programs.
    pub global: &'static str,
    /// The value, or [`ABSENT`].
    pub value: u32,
}

/// Facts of a kernel, present and absent.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// Values of all globals.
    pub(crate) values: Vec<Fact>,
    absent: Vec<(&'static Wanted, BtfError)>,
}

impl Facts {
    /// Looks up every fact.
    ///
    /// # Errors
    /// The mandatory facts that this kernel lacks, each as a BTF error.
    pub(crate) fn read(btf: &Btf) -> Result<Self, Vec<BtfError>> {
        let mut facts = Self { values: Vec::with_capacity(WANTED.len()), absent: Vec::new() };
        for wanted in WANTED {
            let found = btf.member(wanted.ty, wanted.path).and_then(|member| value(wanted, member));
            let value = found.unwrap_or_else(|error| {
                facts.absent.push((wanted, error));
                ABSENT
            });
            facts.values.push(Fact { global: wanted.global, value });
        }
        facts.withhold_the_rest();
        let fatal = |(wanted, _): &&(&Wanted, _)| wanted.need == Need::Always;
        let missing: Vec<_> =
            facts.absent.iter().filter(fatal).map(|(_, error)| error.clone()).collect();
        if missing.is_empty() { Ok(facts) } else { Err(missing) }
    }

    /// Makes facts absent if their optional group is incomplete.
    fn withhold_the_rest(&mut self) {
        for (hides, _) in self.incomplete() {
            for fact in &mut self.values {
                if hides_without(fact.global) == Some(hides) {
                    fact.value = ABSENT;
                }
            }
        }
    }

    /// The facts that a program needs but this kernel lacks.
    pub(crate) fn lacking(&self, function: &str, program: &str) -> impl Iterator<Item = &BtfError> {
        self.absent.iter().filter_map(move |(wanted, error)| match wanted.need {
            Need::At(sites) if sites.contains(&function) || sites.contains(&program) => Some(error),
            _ => None,
        })
    }

    /// Failures or details that stay hidden for lack of optional facts, with the errors for all
    /// missing ones.
    pub(crate) fn hidden(&self) -> Vec<(&'static str, Vec<BtfError>)> {
        let is_built = |errors: &[BtfError]| {
            !errors.iter().any(|error| matches!(error, BtfError::Missing { what: "struct", .. }))
        };
        let is_feature = |hides| WANTED.iter().any(|wanted| wanted.need == Need::Feature(hides));
        let mut groups = self.incomplete();
        groups.retain(|(hides, errors)| !is_feature(hides) || is_built(errors));
        groups
    }

    /// Incomplete groups of optional facts: what stays hidden without each, with the errors for all
    /// missing facts.
    fn incomplete(&self) -> Vec<(&'static str, Vec<BtfError>)> {
        let mut groups: Vec<(_, Vec<_>)> = Vec::new();
        for (wanted, error) in &self.absent {
            let Some(hides) = hides_without(wanted.global) else { continue };
            match groups.iter_mut().find(|(known, _)| *known == hides) {
                Some((_, errors)) => errors.push(error.clone()),
                None => groups.push((hides, vec![error.clone()])),
            }
        }
        groups
    }

    /// Whether this kernel has a fact and the rest of its group.
    pub(crate) fn have(&self, global: &str) -> bool {
        self.values.iter().any(|fact| fact.global == global && fact.value != ABSENT)
    }
}

/// Failures or details that stay hidden without an optional fact, if any.
pub(crate) fn hides_without(global: &str) -> Option<&'static str> {
    WANTED.iter().find(|wanted| wanted.global == global).and_then(|wanted| match wanted.need {
        Need::Optional(hides) => hides,
        Need::Feature(hides) => Some(hides),
        Need::Always | Need::At(_) => None,
    })
}

fn value(wanted: &Wanted, member: Member) -> Result<u32, BtfError> {
    let changed = |found, wanted_as| BtfError::Changed {
        name: format!("{}.{}", wanted.ty, wanted.path),
        found,
        wanted: wanted_as,
    };
    if wanted.kind == Kind::Bit {
        return Ok(member.bit_offset);
    }
    if let Some(bits) = member.bit_field {
        return Err(changed(format!("{bits} bits"), "whole bytes".to_owned()));
    }
    match wanted.kind {
        Kind::Sized(size) if size != member.size => {
            Err(changed(format!("{} bytes", member.size), size.to_string()))
        }
        Kind::Size => Ok(member.size),
        Kind::Sized(_) | Kind::Offset | Kind::Bit => Ok(member.bit_offset / 8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(kind: Kind) -> Wanted {
        Wanted { global: "SOCK_ERR", ty: "sock", path: "sk_err", kind, need: Need::Always }
    }

    #[test]
    fn a_kind_picks_its_value() {
        let member = Member { bit_offset: 80, size: 4, bit_field: None };
        assert_eq!(value(&wanted(Kind::Offset), member), Ok(10));
        assert_eq!(value(&wanted(Kind::Sized(4)), member), Ok(10));
        assert_eq!(value(&wanted(Kind::Size), member), Ok(4));
        let bit = Member { bit_offset: 83, size: 1, bit_field: Some(1) };
        assert_eq!(value(&wanted(Kind::Bit), bit), Ok(83));
    }

    #[test]
    fn what_cannot_be_read_as_before_is_reported() {
        let wide = Member { bit_offset: 80, size: 8, bit_field: None };
        let problem = |kind, member| value(&wanted(kind), member).expect_err("changed").to_string();
        assert_eq!(problem(Kind::Sized(4), wide), "`sock.sk_err` of 8 bytes instead of 4");
        let bits = Member { bit_offset: 83, size: 1, bit_field: Some(2) };
        assert_eq!(problem(Kind::Sized(1), bits), "`sock.sk_err` of 2 bits instead of whole bytes");
        assert_eq!(problem(Kind::Offset, bits), "`sock.sk_err` of 2 bits instead of whole bytes");
    }

    #[test]
    fn globals_are_named_once() {
        let mut names: Vec<_> = WANTED.iter().map(|wanted| wanted.global).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), WANTED.len());
    }
}
