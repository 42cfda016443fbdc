//! Processes followed on request: the ones that the daemon names, and all that they start.

use aya_ebpf::{
    btf_maps::{HashMap, LruHashMap},
    helpers::{bpf_get_current_pid_tgid, generated::bpf_ktime_get_boot_ns},
    macros::btf_map,
};
use socktrace_ebpf::{Counter, FOLLOWED_ENTRIES, criteria::mode};

use crate::{offsets, tally};

/// Live processes by id, and when each began, in nanoseconds since boot. The daemon adds the first ones.
#[btf_map]
static FOLLOWED: HashMap<u32, u64, FOLLOWED_ENTRIES> = HashMap::new();

/// Processes that have ended, because their sockets may fail later. The least recently looked up
/// are evicted.
#[btf_map]
static FOLLOWED_ENDED: LruHashMap<u32, Lifetime, FOLLOWED_ENTRIES> = LruHashMap::new();

/// Lifetime of a process, in nanoseconds since boot.
#[repr(C)]
#[derive(Clone, Copy)]
struct Lifetime {
    since_ns: u64,
    until_ns: u64,
}

/// Maximum time that a process takes to close its sockets after the hook on its exit has run. Its
/// id is not reused within this time: ids are assigned in turn (`alloc_pid`).
const CLOSING_NS: u64 = 5_000_000_000;

/// Whether only failures of followed processes are reported.
#[inline(always)]
pub(crate) fn is_asked() -> bool {
    offsets::FILTER_FOLLOWED.get() != mode::ANY
}

/// Whether the process with this id at this time since boot is, or was, followed.
#[inline(always)]
pub(crate) fn has(tgid: u32, at_ns: u64) -> bool {
    // SAFETY: read at once.
    if let Some(since_ns) = unsafe { FOLLOWED.get(tgid) } {
        return *since_ns <= at_ns;
    }
    // SAFETY: read at once, too.
    match unsafe { FOLLOWED_ENDED.get(tgid) } {
        Some(ended) => ended.since_ns <= at_ns && at_ns <= ended.until_ns,
        None => false,
    }
}

/// Records that the current process has started another, which has not run yet.
#[inline(always)]
pub(crate) fn started(tgid: u32, since_ns: u64) {
    let parent = (bpf_get_current_pid_tgid() >> 32) as u32;
    // SAFETY: only its presence is checked.
    if unsafe { FOLLOWED.get(parent) }.is_some() && FOLLOWED.insert(tgid, since_ns, 0).is_err() {
        tally::bump(Counter::FollowedFull);
    }
}

/// Records the exit of a process's last thread. The process still has its sockets.
#[inline(always)]
pub(crate) fn ended(tgid: u32) {
    // SAFETY: read at once.
    let Some(since_ns) = (unsafe { FOLLOWED.get(tgid) }).copied() else {
        return;
    };
    // SAFETY: the helper takes nothing and cannot fail.
    let until_ns = unsafe { bpf_ktime_get_boot_ns() } + CLOSING_NS;
    // An LRU map evicts entries to make room.
    let _known = FOLLOWED_ENDED.insert(tgid, Lifetime { since_ns, until_ns }, 0);
    let _gone = FOLLOWED.remove(tgid);
}
