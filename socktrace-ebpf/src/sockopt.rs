//! Refused socket options: the key of their counts.

/// Number of distinct refusals of options that can be counted by option: more than a program can
/// cause. There are [`Sockopt::new`]'s 280 options, for TCP and MPTCP, to set and to get. Each can
/// fail with at most three errnos whatever it is (a bad address, a bad length, no such option), and
/// some with others.
pub const SOCKOPT_ENTRIES: usize = 4 * 1024;

/// Refused option, and how it was refused.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sockopt {
    /// As in `setsockopt`; [`Sockopt::OTHER`] if the kernel has no such level.
    pub level: i32,
    /// As in `setsockopt`; [`Sockopt::OTHER`] if the kernel has no such option.
    pub option: i32,
    /// Errno that the call returned.
    pub errno: u16,
    /// [`EventKind::Setsockopt`](crate::EventKind::Setsockopt) or `Getsockopt`.
    pub kind: u8,
    /// As in [`crate::Signature::protocol`].
    pub protocol: u8,
}

const _: () = assert!(size_of::<Sockopt>() == 12 && align_of::<Sockopt>() == 4);

impl Sockopt {
    /// Stands for every number that the kernel does not use, so that programs that try random
    /// numbers do not use up the room.
    pub const OTHER: i32 = -1;

    /// Key of a refusal.
    #[must_use]
    #[inline]
    pub const fn new(kind: u8, protocol: u8, level: i32, option: i32, errno: u16) -> Self {
        let (level, options) = known(level);
        let option = if option.cast_unsigned() < options { option } else { Self::OTHER };
        Self { level, option, errno, kind, protocol }
    }

    /// Decodes a key.
    #[must_use]
    pub fn from_bytes(bytes: [u8; size_of::<Self>()]) -> Self {
        let [l0, l1, l2, l3, o0, o1, o2, o3, e0, e1, kind, protocol] = bytes;
        Self {
            level: i32::from_ne_bytes([l0, l1, l2, l3]),
            option: i32::from_ne_bytes([o0, o1, o2, o3]),
            errno: u16::from_ne_bytes([e0, e1]),
            kind,
            protocol,
        }
    }
}

/// A level that TCP and MPTCP sockets have, and the number above its options
/// (`include/uapi/linux/`: `in.h`, `tcp.h`, `in6.h`, `tls.h`, `mptcp.h`; `asm-generic/socket.h`;
/// with some room for future ones); or a level that is requested by mistake, and has no options.
#[inline]
const fn known(level: i32) -> (i32, u32) {
    match level {
        // `SOL_IP`, up to `SO_ORIGINAL_DST`; `SOL_IPV6`, up to `IP6T_SO_ORIGINAL_DST`.
        0 | 41 => (level, 81),
        // `SOL_SOCKET`.
        1 => (level, 88),
        // `SOL_TCP`.
        6 => (level, 48),
        // `SOL_TLS`, `SOL_MPTCP`.
        282 | 284 => (level, 5),
        // `SOL_UDP`, `SOL_ICMPV6`, `SOL_SCTP`, `SOL_RAW`, `IPPROTO_MPTCP`.
        17 | 58 | 132 | 255 | 262 => (level, 0),
        _ => (Sockopt::OTHER, 0),
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::collections::BTreeSet;

    use super::*;
    use crate::{EventKind, Protocol};

    #[test]
    fn there_is_room_for_all_that_a_program_can_have_refused() {
        const ERRNOS: usize = 3;
        let mut refusals = BTreeSet::new();
        for kind in [EventKind::Setsockopt, EventKind::Getsockopt] {
            for protocol in [Protocol::Tcp, Protocol::Mptcp] {
                for (level, option) in
                    (-1..400).flat_map(|level| (-1..400).map(move |o| (level, o)))
                {
                    refusals.insert(Sockopt::new(kind as u8, protocol as u8, level, option, 0));
                }
            }
        }
        assert!(refusals.len() * ERRNOS < SOCKOPT_ENTRIES, "{}", refusals.len());
    }
}
