//! Errno numbers, which differ by architecture.
//!
//! Taken from `asm/errno.h` of each architecture. The generic numbers apply to x86, arm, riscv,
//! powerpc, s390, loongarch and every other architecture without its own numbering.

use nix::libc;

/// An errno with its numbers.
#[derive(Debug)]
pub(crate) struct Errno {
    pub(super) name: &'static str,
    /// The number on this machine, from the C library.
    pub(super) here: i32,
    /// The numbers in the order of [`FAMILIES`].
    pub(super) by_family: [i32; FAMILIES.len()],
}

/// Families of numberings, the generic one first.
pub(super) const FAMILIES: [&str; 5] = ["generic", "alpha", "mips", "parisc", "sparc"];

/// The major architectures that use the generic numbers.
pub(super) const GENERIC: &str = "x86, arm, riscv, powerpc, s390, loongarch";

macro_rules! errnos {
    ($($name:ident: $generic:literal $alpha:literal $mips:literal $parisc:literal $sparc:literal;)+) => {
        &[$(Errno {
            name: stringify!($name),
            here: libc::$name,
            by_family: [$generic, $alpha, $mips, $parisc, $sparc],
        }),+]
    };
}

/// Every errno that is a topic, by generic number.
pub(super) const ERRNOS: &[Errno] = errnos! {
    //             generic alpha mips parisc sparc
    EPERM:            1   1   1   1   1;
    ENOENT:           2   2   2   2   2;
    ESRCH:            3   3   3   3   3;
    EINTR:            4   4   4   4   4;
    EIO:              5   5   5   5   5;
    ENXIO:            6   6   6   6   6;
    EBADF:            9   9   9   9   9;
    EAGAIN:          11  35  11  11  11;
    ENOMEM:          12  12  12  12  12;
    EACCES:          13  13  13  13  13;
    EFAULT:          14  14  14  14  14;
    EBUSY:           16  16  16  16  16;
    EEXIST:          17  17  17  17  17;
    ENODEV:          19  19  19  19  19;
    ENOTDIR:         20  20  20  20  20;
    EINVAL:          22  22  22  22  22;
    ENFILE:          23  23  23  23  23;
    EMFILE:          24  24  24  24  24;
    ENOTTY:          25  25  25  25  25;
    EFBIG:           27  27  27  27  27;
    ENOSPC:          28  28  28  28  28;
    ESPIPE:          29  29  29  29  29;
    EROFS:           30  30  30  30  30;
    EPIPE:           32  32  32  32  32;
    EDOM:            33  33  33  33  33;
    ERANGE:          34  34  34  34  34;
    ELOOP:           40  62  90 249  62;
    ENODATA:         61  86  61  51 111;
    ENONET:          64 105  64  50  80;
    EPROTO:          71  85  71  61  86;
    EBADMSG:         74  84  77  67  76;
    EOVERFLOW:       75 112  79  72  92;
    EUSERS:          87  68  94  68  68;
    ENOTSOCK:        88  38  95 216  38;
    EDESTADDRREQ:    89  39  96 217  39;
    EMSGSIZE:        90  40  97 218  40;
    EPROTOTYPE:      91  41  98 219  41;
    ENOPROTOOPT:     92  42  99 220  42;
    EPROTONOSUPPORT: 93  43 120 221  43;
    ESOCKTNOSUPPORT: 94  44 121 222  44;
    EOPNOTSUPP:      95  45 122 223  45;
    EAFNOSUPPORT:    97  47 124 225  47;
    EADDRINUSE:      98  48 125 226  48;
    EADDRNOTAVAIL:   99  49 126 227  49;
    ENETDOWN:       100  50 127 228  50;
    ENETUNREACH:    101  51 128 229  51;
    ENETRESET:      102  52 129 230  52;
    ECONNABORTED:   103  53 130 231  53;
    ECONNRESET:     104  54 131 232  54;
    ENOBUFS:        105  55 132 233  55;
    EISCONN:        106  56 133 234  56;
    ENOTCONN:       107  57 134 235  57;
    ESHUTDOWN:      108  58 143 236  58;
    ETOOMANYREFS:   109  59 144 237  59;
    ETIMEDOUT:      110  60 145 238  60;
    ECONNREFUSED:   111  61 146 239  61;
    EHOSTDOWN:      112  64 147 241  64;
    EHOSTUNREACH:   113  65 148 242  65;
    EALREADY:       114  37 149 244  37;
    EINPROGRESS:    115  36 150 245  36;
    EREMOTEIO:      121 121 140 181 121;
    ECANCELED:      125 131 158 253 127;
    ENOKEY:         126 132 161 184 128;
    EKEYREJECTED:   129 135 164 187 131;
};

/// Other names of the same errnos. The names with their own number are internal to the kernel: a
/// call interrupted by a signal (programs see EINTR, or the call is restarted), an unknown ioctl,
/// and an unsupported operation (ENOTSUPP, which occasionally leaks to programs).
pub(super) const ALIASES: &[(&str, &str, Option<i32>)] = &[
    ("EWOULDBLOCK", "EAGAIN", None),
    ("ENOTSUP", "EOPNOTSUPP", None),
    ("ERESTARTSYS", "EINTR", Some(512)),
    ("ERESTARTNOINTR", "EINTR", Some(513)),
    ("ERESTARTNOHAND", "EINTR", Some(514)),
    ("ENOIOCTLCMD", "ENOTTY", Some(515)),
    ("ERESTART_RESTARTBLOCK", "EINTR", Some(516)),
    ("ENOTSUPP", "EOPNOTSUPP", Some(524)),
];

/// The errno with a name, in capitals.
pub(super) fn by_name(name: &str) -> Option<&'static Errno> {
    let name = ALIASES.iter().find(|(alias, ..)| *alias == name).map_or(name, |(_, of, _)| *of);
    ERRNOS.iter().find(|errno| errno.name == name)
}

/// The errno with a number on this machine.
pub(super) fn by_number(number: i32) -> Option<&'static Errno> {
    let internal = ALIASES.iter().find(|(.., known)| *known == Some(number));
    match internal {
        Some((_, of, _)) => by_name(of),
        None => ERRNOS.iter().find(|errno| errno.here == number),
    }
}

/// Errnos with this number in any family, and those families.
pub(super) fn elsewhere(number: i32) -> impl Iterator<Item = (&'static Errno, Vec<&'static str>)> {
    ERRNOS.iter().filter_map(move |errno| {
        let families: Vec<_> = FAMILIES
            .into_iter()
            .zip(errno.by_family)
            .filter(|(_, there)| *there == number)
            .map(|(family, _)| family)
            .collect();
        (!families.is_empty()).then_some((errno, families))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_column_of_this_architecture_is_that_of_the_c_library() {
        let family = if cfg!(any(target_arch = "mips", target_arch = "mips64")) {
            "mips"
        } else if cfg!(any(target_arch = "sparc", target_arch = "sparc64")) {
            "sparc"
        } else {
            "generic"
        };
        let column = FAMILIES.iter().position(|name| *name == family).expect("a family");
        for errno in ERRNOS {
            assert_eq!(errno.by_family[column], errno.here, "{}", errno.name);
        }
    }

    #[test]
    fn no_number_is_given_twice() {
        for (column, family) in FAMILIES.iter().enumerate() {
            let mut seen = HashSet::new();
            for errno in ERRNOS {
                assert!(seen.insert(errno.by_family[column]), "{family} {}", errno.name);
            }
        }
    }

    #[test]
    fn well_known_numbers_stand_where_they_belong() {
        let aborted = by_name("ECONNABORTED").expect("known");
        assert_eq!(aborted.by_family, [103, 53, 130, 231, 53]);
        let again = by_name("EWOULDBLOCK").expect("known");
        assert_eq!((again.name, again.by_family), ("EAGAIN", [11, 35, 11, 11, 11]));
        // The numbers inherited from early Unix are the same on every architecture.
        for errno in ERRNOS.iter().filter(|errno| errno.here <= 34 && errno.name != "EAGAIN") {
            assert!(errno.by_family.iter().all(|number| *number == errno.here), "{}", errno.name);
        }
    }

    #[test]
    fn codes_inside_the_kernel_stand_for_what_programs_see() {
        assert_eq!(by_number(512).expect("known").name, "EINTR");
        assert_eq!(by_name("ERESTARTSYS").expect("known").name, "EINTR");
    }
}
