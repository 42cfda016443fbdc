//! Listeners and their accept queues, as the daemon reads them.

use crate::Address;

/// Number of listeners tracked.
pub const LISTENERS: usize = 1_024;

/// Bytes that the kernel side stores per listener.
pub const LISTENER_BYTES: usize = 112;

/// Minimum time between two reports of a listener, in nanoseconds: its drops in between are summed up.
pub const EPISODE_NS: u64 = 60_000_000_000;

/// State of a listener at one moment.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListenerState {
    /// Its address in the kernel, by which it is stored.
    pub key: u64,
    /// Cgroup, as in [`crate::Event::cgroup_id`], of the process that called listen, or has
    /// accepted late since.
    pub cgroup_id: u64,
    /// Address that it is bound to.
    pub local: Address,
    /// Connections waiting to be accepted.
    pub waiting: u32,
    /// Limit of its queue, which holds one connection more.
    pub limit: u32,
    /// Segments that it has dropped (`sk_drops`).
    pub drops: u32,
    /// Inode of its network namespace.
    pub netns: u32,
    /// Id of the process whose cgroup is `cgroup_id`.
    pub tgid: u32,
    /// Its port, in host byte order.
    pub port: u16,
    /// A [`crate::Family`].
    pub family: u8,
    /// 0 if it no longer listens.
    pub listens: u8,
}

const _: () = assert!(size_of::<ListenerState>() == 56 && align_of::<ListenerState>() == 8);

impl ListenerState {
    /// Decodes consecutive listeners from these bytes; a truncated last one is skipped.
    pub fn all_from_bytes(bytes: &[u8]) -> impl Iterator<Item = Self> {
        bytes.chunks_exact(size_of::<Self>()).map(|chunk| {
            // SAFETY: the slice is as long as this type, whose fields are integers and arrays of
            // integers, so that any bit pattern is valid; `read_unaligned` requires no alignment.
            unsafe { chunk.as_ptr().cast::<Self>().read_unaligned() }
        })
    }

    /// Whether its queue is full (`sk_acceptq_is_full`).
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.waiting > self.limit
    }
}
