//! What an entry hook leaves for `tcp_done`: which function is working on the socket.
//!
//! Keyed by socket, not by CPU: when a segment or timer is processed from the socket's backlog,
//! the code runs in process context, can be preempted and can continue on another CPU.

use aya_ebpf::{btf_maps::HashMap, macros::btf_map};
use socktrace_ebpf::{Counter, Flags, Origin, STASH_ENTRIES};

use crate::{load::Load, sock::Sock, tally};

/// A note about a function that is running on a socket.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Note {
    /// The function, an [`Origin`].
    pub(crate) origin: u8,
    /// Whether it had work to do: a retransmission timer with segments in flight.
    pub(crate) fired: u8,
    /// What it knew that `tcp_done` cannot see any more.
    pub(crate) flags: u16,
}

impl Note {
    pub(crate) const NONE: Self = Self { origin: Origin::Other as u8, fired: 0, flags: 0 };

    #[inline(always)]
    pub(crate) fn new(origin: Origin, flags: Flags) -> Self {
        Self { origin: origin as u8, fired: 0, flags: flags.0 as u16 }
    }
}

#[btf_map]
static STASH: HashMap<u64, Note, STASH_ENTRIES> = HashMap::new();

/// Leaves a note for the hooks that follow on this socket.
#[inline(always)]
pub(crate) fn put<L: Load>(sock: Sock<L>, note: Note) {
    if STASH.insert(sock.key(), note, 0).is_err() {
        tally::bump(Counter::StashFull);
    }
}

/// Takes the note on this socket away, if there is one.
#[inline(always)]
pub(crate) fn take<L: Load>(sock: Sock<L>) -> Option<Note> {
    let key = sock.key();
    // SAFETY: copied out before anything can remove or reuse the entry: only hooks on this very
    // socket touch it, and they run one after the other under the socket's lock.
    let note = *unsafe { STASH.get(key) }?;
    let _gone_already = STASH.remove(key);
    Some(note)
}

/// Whether a function is at work on this socket.
#[inline(always)]
pub(crate) fn has<L: Load>(sock: Sock<L>) -> bool {
    STASH.get_ptr(sock.key()).is_some()
}
