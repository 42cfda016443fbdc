//! Listeners and their accept queues, as the daemon looks at them.

use crate::Address;

/// Number of listeners that are remembered.
pub const LISTENERS: usize = 1_024;

/// Bytes that the kernel side remembers of each.
pub const LISTENER_BYTES: usize = 112;

/// A listener is reported at most once in this time, in nanoseconds: what it drops meanwhile is added up.
pub const EPISODE_NS: u64 = 60_000_000_000;

/// A listener at one moment.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListenerState {
    /// Its address in the kernel, by which it is remembered.
    pub key: u64,
    /// As [`crate::Event::cgroup_id`], of the process that called listen, or has accepted late since.
    pub cgroup_id: u64,
    /// The address that it is bound to.
    pub local: Address,
    /// Connections waiting to be accepted.
    pub waiting: u32,
    /// The limit of its queue, which takes one more.
    pub limit: u32,
    /// Segments that it has dropped (`sk_drops`).
    pub drops: u32,
    /// Inode of its network namespace.
    pub netns: u32,
    /// That process.
    pub tgid: u32,
    /// Its port, in host byte order.
    pub port: u16,
    /// A [`crate::Family`].
    pub family: u8,
    /// 0 when it does not listen any more.
    pub listens: u8,
}

const _: () = assert!(size_of::<ListenerState>() == 56 && align_of::<ListenerState>() == 8);

impl ListenerState {
    /// Those that follow each other in these bytes; what is left of one that was cut off is not read.
    pub fn all_from_bytes(bytes: &[u8]) -> impl Iterator<Item = Self> {
        bytes.chunks_exact(size_of::<Self>()).map(|chunk| {
            // SAFETY: the slice is as long as this type, whose fields are integers and arrays of
            // integers, so that any bit pattern is valid; `read_unaligned` asks for no alignment.
            unsafe { chunk.as_ptr().cast::<Self>().read_unaligned() }
        })
    }

    /// Whether its queue takes no more (`sk_acceptq_is_full`).
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.waiting > self.limit
    }
}
