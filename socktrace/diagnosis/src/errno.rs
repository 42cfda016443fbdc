//! Errnos: number, name and text.

use std::{borrow::Cow, fmt, sync::LazyLock};

use nix::errno::Errno as Known;

/// Names by number, up to the highest one. nix provides names only through its enum's `Debug` form.
static NAMES: LazyLock<Vec<Option<String>>> = LazyLock::new(|| {
    let name = |number| match Known::from_raw(i32::from(number)) {
        Known::UnknownErrno => None,
        known => Some(format!("{known:?}")),
    };
    let mut names: Vec<_> = (0..=Errno::LARGEST).map(name).collect();
    names.truncate(names.iter().rposition(Option::is_some).map_or(0, |last| last + 1));
    names.shrink_to_fit();
    names
});

/// An errno: the positive number used by the kernel of this architecture; 0 stands for none.
///
/// It comes from the signature: either stored in the socket (`sk_err`) or returned by a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Errno(pub u16);

impl Errno {
    /// The errno of a socket without an error.
    pub const NONE: Self = Self(0);

    /// The largest number that the kernel uses (`MAX_ERRNO`).
    pub const LARGEST: u16 = 4_095;

    /// The errno for a number of the C library.
    #[must_use]
    pub const fn of(number: i32) -> Self {
        // Errno values are positive and below 4096 in every kernel.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "see above")]
        let number = number as u16;
        Self(number)
    }

    /// The number, as in `errno`.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }

    /// The name, as in `<errno.h>`; `none` for 0, and `errno_N` without a name.
    #[must_use]
    pub fn name(self) -> String {
        self.text().into_owned()
    }

    /// [`Self::name`] without a copy if the name is known.
    pub fn text(self) -> Cow<'static, str> {
        if self == Self::NONE {
            return "none".into();
        }
        match NAMES.get(usize::from(self.0)) {
            Some(Some(name)) => name.as_str().into(),
            _ => format!("errno_{}", self.0).into(),
        }
    }

    /// Every errno with a name, except none.
    pub fn all() -> impl Iterator<Item = Self> {
        let is_named = |number: &u16| NAMES.get(usize::from(*number)).is_some_and(Option::is_some);
        [Self::NONE].into_iter().chain((1..=Self::LARGEST).filter(is_named).map(Self))
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text())
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
