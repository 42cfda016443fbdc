//! The errno a program gets, by number, name and text.

use std::{borrow::Cow, collections::BTreeMap, fmt, sync::LazyLock};

use nix::errno::Errno as Known;

/// Names by number: nix tells them only by formatting.
static NAMES: LazyLock<BTreeMap<u16, String>> = LazyLock::new(|| {
    let known = (1..=Errno::LARGEST).map(|number| (number, Known::from_raw(i32::from(number))));
    let named = known.filter(|(_, known)| *known != Known::UnknownErrno);
    named.map(|(number, known)| (number, format!("{known:?}"))).collect()
});

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
        self.text().into_owned()
    }

    /// The same, to be shown.
    pub(crate) fn text(self) -> Cow<'static, str> {
        if self == Self::NONE {
            return "none".into();
        }
        match NAMES.get(&self.0) {
            Some(name) => name.as_str().into(),
            None => format!("errno_{}", self.0).into(),
        }
    }

    /// Every errno that has a name, none included.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        [Self::NONE].into_iter().chain(NAMES.keys().copied().map(Self))
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
