//! Which processes are followed, on request: those that the daemon names, and all that they start.

use aya_ebpf::{
    btf_maps::{HashMap, LruHashMap},
    helpers::{bpf_get_current_pid_tgid, generated::bpf_ktime_get_boot_ns},
    macros::btf_map,
};
use socktrace_ebpf::{Counter, FOLLOWED_ENTRIES, criteria::mode};

use crate::{offsets, tally};

/// Processes that live, by their number, and when each began, in nanoseconds since boot. The daemon
/// adds the first ones.
#[btf_map]
static FOLLOWED: HashMap<u32, u64, FOLLOWED_ENTRIES> = HashMap::new();

/// Processes that have ended, as their sockets may fail later. The ones that were not looked up for the
/// longest make room.
#[btf_map]
static FOLLOWED_ENDED: LruHashMap<u32, Lifetime, FOLLOWED_ENTRIES> = LruHashMap::new();

/// When a process was there, in nanoseconds since boot.
#[repr(C)]
#[derive(Clone, Copy)]
struct Lifetime {
    since_ns: u64,
    until_ns: u64,
}

/// How long a process closes its sockets for after the hook of its end has run, at most. By then its
/// number is not given to another: numbers are given in turn (`alloc_pid`).
const CLOSING_NS: u64 = 5_000_000_000;

/// Whether only the failures of processes that are followed are reported.
#[inline(always)]
pub(crate) fn is_asked() -> bool {
    offsets::FILTER_FOLLOWED.get() != mode::ANY
}

/// Whether a process is followed, or was, that had this number at this time since boot.
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

/// The current process has started one with this number, which has begun at this time and has not run yet.
#[inline(always)]
pub(crate) fn started(tgid: u32, since_ns: u64) {
    let parent = (bpf_get_current_pid_tgid() >> 32) as u32;
    // SAFETY: only asked whether it is there.
    if unsafe { FOLLOWED.get(parent) }.is_some() && FOLLOWED.insert(tgid, since_ns, 0).is_err() {
        tally::bump(Counter::FollowedFull);
    }
}

/// The last thread of a process ends. It still has its sockets.
#[inline(always)]
pub(crate) fn ended(tgid: u32) {
    // SAFETY: read at once.
    let Some(since_ns) = (unsafe { FOLLOWED.get(tgid) }).copied() else {
        return;
    };
    // SAFETY: the helper takes nothing and cannot fail.
    let until_ns = unsafe { bpf_ktime_get_boot_ns() } + CLOSING_NS;
    // Of this kind of map it makes room by itself.
    let _known = FOLLOWED_ENDED.insert(tgid, Lifetime { since_ns, until_ns }, 0);
    let _gone = FOLLOWED.remove(tgid);
}
