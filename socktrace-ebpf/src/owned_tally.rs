//! Counts of failures by owner: by the cgroup of the process and, on request, by the port of the service.

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    btf_maps::{HashMap, RingBuf},
    macros::btf_map,
};
use socktrace_ebpf::{
    Counter, EventKind, Flags, NEWCOMER_BYTES, OWNED_PER_SERIES, Owned, SERIES, Signature,
    TALLY_ENTRIES,
};

use crate::tally::{self, add};

/// Counts by owner. The daemon sets the map's size, and removes owners that have gone.
#[btf_map]
static OWNED: HashMap<Owned, u64, { SERIES * OWNED_PER_SERIES }> = HashMap::new();

/// Counts that found no room in `OWNED`.
#[btf_map]
static OTHERS: HashMap<Signature, u64, TALLY_ENTRIES> = HashMap::new();

/// Cgroups that are counted for the first time: the daemon looks up their names before they are gone.
#[btf_map]
static NEWCOMERS: RingBuf<u64, NEWCOMER_BYTES> = RingBuf::new();

/// Whether this event is counted by owner: a retransmission, which a connection survives, is not.
#[inline(always)]
pub(crate) fn is_counted(signature: &Signature) -> bool {
    signature.kind != EventKind::Retransmission as u8
}

/// Counts a failure, unless the call delivers one that was counted before. Never fails: a failure
/// whose owner finds no room is counted among the others.
#[inline(always)]
pub(crate) fn count(owned: &Owned) {
    if Flags(owned.signature.flags).has(Flags::DELIVERY) {
        return;
    }
    count_by(owned, 1);
}

/// Adds to the count of an owner.
#[inline(always)]
pub(crate) fn count_by(owned: &Owned, amount: u64) {
    if let Some(value) = OWNED.get_ptr_mut(owned) {
        // SAFETY: just looked up.
        unsafe { add(value, amount) };
        return;
    }
    // NOEXIST, so that a count made meanwhile on another CPU is not overwritten.
    let is_new = OWNED.insert(owned, 0, u64::from(BPF_NOEXIST)).is_ok();
    let Some(value) = OWNED.get_ptr_mut(owned) else {
        count_other(&owned.signature, amount);
        return;
    };
    // SAFETY: just looked up.
    unsafe { add(value, amount) };
    if is_new && owned.cgroup_id != 0 {
        // If there is no room, it is looked up at the next scrape.
        if let Some(mut entry) = NEWCOMERS.reserve(0) {
            entry.write(owned.cgroup_id);
            entry.submit(0);
        }
    }
}

#[inline(always)]
fn count_other(signature: &Signature, amount: u64) {
    let _known = OTHERS.insert(signature, 0, u64::from(BPF_NOEXIST));
    match OTHERS.get_ptr_mut(signature) {
        // SAFETY: just looked up.
        Some(value) => unsafe { add(value, amount) },
        None => tally::bump(Counter::TallyOverflow),
    }
}
