//! The errno a program gets, by number, name and text.

use std::fmt;

/// An errno of the running machine's numbering, positive; 0 stands for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Errno(pub(crate) u16);

impl Errno {
    /// The errno a socket has when nothing went wrong.
    pub(crate) const NONE: Self = Self(0);

    /// The largest number that the kernel uses (`MAX_ERRNO`).
    pub(crate) const LARGEST: u16 = 4_095;

    /// The number, as in `errno`.
    pub(crate) const fn number(self) -> u16 {
        self.0
    }

    /// The name, as in `<errno.h>`; `none` for 0 and `errno_N` for one without a name.
    pub(crate) fn name(self) -> String {
        use nix::errno::Errno as Known;
        if self == Self::NONE {
            return "none".to_owned();
        }
        match Known::from_raw(i32::from(self.0)) {
            Known::UnknownErrno => format!("errno_{}", self.0),
            known => format!("{known:?}"),
        }
    }

    /// Every errno that has a name, none included.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let named = |errno: &Self| {
            use nix::errno::Errno as Known;
            *errno == Self::NONE || Known::from_raw(i32::from(errno.0)) != Known::UnknownErrno
        };
        (0..=Self::LARGEST).map(Self).filter(named)
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::libc;

    #[test]
    fn names_are_those_of_errno_h() {
        let name = |number: i32| Errno(u16::try_from(number).expect("small")).name();
        assert_eq!(name(libc::ECONNRESET), "ECONNRESET");
        assert_eq!(name(libc::EPIPE), "EPIPE");
        assert_eq!(name(libc::ETIMEDOUT), "ETIMEDOUT");
        assert_eq!(name(libc::EHOSTUNREACH), "EHOSTUNREACH");
    }

    #[test]
    fn what_has_no_name_keeps_its_number() {
        assert_eq!(Errno::NONE.name(), "none");
        assert_eq!(Errno(4001).name(), "errno_4001");
    }
}
