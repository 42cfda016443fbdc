//! Winsock error codes, and the errnos that mean the same on Linux.

/// A Winsock error.
#[derive(Debug)]
pub(crate) struct Winsock {
    pub(super) code: i32,
    pub(super) name: &'static str,
    /// Linux errnos in the same situations, most frequent first.
    pub(super) linux: &'static [&'static str],
}

impl Winsock {
    /// Whether both names are the same but for the `WSA` prefix.
    pub(super) fn is_twin_of(&self, errno: &str) -> bool {
        // EAGAIN and EWOULDBLOCK are one errno on Linux; Winsock only has the latter name.
        let errno = if errno == "EAGAIN" { "EWOULDBLOCK" } else { errno };
        self.name.strip_prefix("WSA") == Some(errno)
    }
}

/// Lowest Winsock code.
pub(super) const FIRST_CODE: i32 = 10_000;

/// Every Winsock error that is a topic, by code.
pub(super) const WINSOCK: &[Winsock] = &[
    winsock(10_004, "WSAEINTR", &["EINTR"]),
    winsock(10_009, "WSAEBADF", &["EBADF"]),
    winsock(10_013, "WSAEACCES", &["EACCES", "EPERM", "EADDRINUSE"]),
    winsock(10_014, "WSAEFAULT", &["EFAULT", "EINVAL"]),
    winsock(10_022, "WSAEINVAL", &["EINVAL", "EDOM"]),
    winsock(10_024, "WSAEMFILE", &["EMFILE", "ENFILE"]),
    winsock(10_035, "WSAEWOULDBLOCK", &["EAGAIN", "EINPROGRESS"]),
    winsock(10_036, "WSAEINPROGRESS", &["EINPROGRESS"]),
    winsock(10_037, "WSAEALREADY", &["EALREADY"]),
    winsock(10_038, "WSAENOTSOCK", &["ENOTSOCK", "EBADF"]),
    winsock(10_039, "WSAEDESTADDRREQ", &["EDESTADDRREQ", "ENOTCONN"]),
    winsock(10_040, "WSAEMSGSIZE", &["EMSGSIZE"]),
    winsock(10_041, "WSAEPROTOTYPE", &["EPROTONOSUPPORT", "EPROTOTYPE"]),
    winsock(10_042, "WSAENOPROTOOPT", &["ENOPROTOOPT"]),
    winsock(10_043, "WSAEPROTONOSUPPORT", &["EPROTONOSUPPORT"]),
    winsock(10_044, "WSAESOCKTNOSUPPORT", &["ESOCKTNOSUPPORT"]),
    winsock(10_045, "WSAEOPNOTSUPP", &["EOPNOTSUPP"]),
    winsock(10_047, "WSAEAFNOSUPPORT", &["EAFNOSUPPORT"]),
    winsock(10_048, "WSAEADDRINUSE", &["EADDRINUSE", "EADDRNOTAVAIL"]),
    winsock(10_049, "WSAEADDRNOTAVAIL", &["EADDRNOTAVAIL"]),
    winsock(10_050, "WSAENETDOWN", &["ENETDOWN", "ENETUNREACH"]),
    winsock(10_051, "WSAENETUNREACH", &["ENETUNREACH"]),
    winsock(10_052, "WSAENETRESET", &["ETIMEDOUT", "ENETRESET"]),
    winsock(10_053, "WSAECONNABORTED", &["ECONNABORTED", "ETIMEDOUT", "EPIPE"]),
    winsock(10_054, "WSAECONNRESET", &["ECONNRESET", "EPIPE"]),
    winsock(10_055, "WSAENOBUFS", &["ENOBUFS", "ENOMEM", "EADDRNOTAVAIL"]),
    winsock(10_056, "WSAEISCONN", &["EISCONN"]),
    winsock(10_057, "WSAENOTCONN", &["ENOTCONN", "EPIPE"]),
    winsock(10_058, "WSAESHUTDOWN", &["EPIPE", "ESHUTDOWN"]),
    winsock(10_059, "WSAETOOMANYREFS", &["ETOOMANYREFS"]),
    winsock(10_060, "WSAETIMEDOUT", &["ETIMEDOUT", "EAGAIN"]),
    winsock(10_061, "WSAECONNREFUSED", &["ECONNREFUSED"]),
    winsock(10_062, "WSAELOOP", &["ELOOP"]),
    winsock(10_064, "WSAEHOSTDOWN", &["EHOSTDOWN", "EHOSTUNREACH"]),
    winsock(10_065, "WSAEHOSTUNREACH", &["EHOSTUNREACH"]),
    winsock(10_068, "WSAEUSERS", &["EUSERS"]),
];

const fn winsock(code: i32, name: &'static str, linux: &'static [&'static str]) -> Winsock {
    Winsock { code, name, linux }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::numbers;

    #[test]
    fn each_has_an_errno_that_is_a_topic() {
        for winsock in WINSOCK {
            assert!(!winsock.linux.is_empty(), "{}", winsock.name);
            for errno in winsock.linux {
                assert!(numbers::by_name(errno).is_some(), "{}: {errno}", winsock.name);
            }
        }
    }

    #[test]
    fn codes_rise() {
        assert!(WINSOCK.is_sorted_by(|one, next| one.code < next.code));
        assert!(WINSOCK.iter().all(|winsock| winsock.code >= FIRST_CODE));
    }

    #[test]
    fn every_one_is_the_twin_of_an_errno() {
        for winsock in WINSOCK {
            let twins = numbers::ERRNOS.iter().filter(|errno| winsock.is_twin_of(errno.name));
            assert_eq!(twins.count(), 1, "{}", winsock.name);
        }
    }

    #[test]
    fn an_errno_number_is_never_taken_for_winsock() {
        let highest = numbers::ERRNOS.iter().flat_map(|errno| errno.by_family).max();
        assert!(highest.expect("some") < FIRST_CODE);
    }
}
