//! A socket option that was refused: the key of their counts.

use crate::EventKind;

/// Number of distinct refusals of options that can be counted by option. There are some 200 options
/// that sockets of TCP take, each refused for one or two reasons.
pub const SOCKOPT_ENTRIES: usize = 512;

/// Which option was refused, and how.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sockopt {
    /// As in `setsockopt`; [`Sockopt::OTHER`] when it is none of the kernel's.
    pub level: i32,
    /// Likewise.
    pub option: i32,
    /// What the call returned.
    pub errno: u16,
    /// [`EventKind::Setsockopt`] or [`EventKind::Getsockopt`].
    pub kind: u8,
    /// As [`crate::Signature::protocol`].
    pub protocol: u8,
}

const _: () = assert!(size_of::<Sockopt>() == 12 && align_of::<Sockopt>() == 4);

impl Sockopt {
    /// Stands for every number that the kernel has no use for, so that programs which try numbers at
    /// random do not use the room up.
    pub const OTHER: i32 = -1;

    /// The kernel's levels (`SOL_*`) and options end well below these.
    const LEVELS: u32 = 320;
    const OPTIONS: u32 = 256;

    /// A refusal.
    #[must_use]
    #[inline]
    pub const fn new(kind: EventKind, protocol: u8, level: i32, option: i32, errno: u16) -> Self {
        let level = bounded(level, Self::LEVELS);
        let option = if level == Self::OTHER { level } else { bounded(option, Self::OPTIONS) };
        Self { level, option, errno, kind: kind as u8, protocol }
    }

    /// Reads it back from a key.
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

const fn bounded(number: i32, limit: u32) -> i32 {
    if number.cast_unsigned() < limit { number } else { Sockopt::OTHER }
}
