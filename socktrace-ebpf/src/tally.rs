//! Exact counts: of signatures, and of what the kernel side itself had to drop.

use core::arch::asm;

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    btf_maps::{PerCpuArray, PerCpuHashMap},
    macros::btf_map,
};
use socktrace_ebpf::{Counter, Signature, TALLY_ENTRIES};

#[btf_map]
static TALLIES: PerCpuHashMap<Signature, u64, TALLY_ENTRIES> = PerCpuHashMap::new();

#[btf_map]
static COUNTERS: PerCpuArray<u64, { Counter::ALL.len() }> = PerCpuArray::new();

/// Adds one to a map value.
///
/// Atomically, although the value belongs to this CPU: a program in process context can be
/// interrupted by softirq, which may run the same code on the same value.
///
/// # Safety
/// `value` points into a map value that the current program looked up.
#[inline(always)]
unsafe fn increment(value: *mut u64) {
    // SAFETY: the caller's contract. The instruction is BPF's atomic add (BPF_XADD), which every
    // kernel with BPF has; the target offers no `AtomicU64::fetch_add`.
    unsafe {
        asm!("lock *(u64 *)({value} + 0) += {one}", value = in(reg) value, one = in(reg) 1_u64);
    }
}

/// Counts one occurrence of `signature`. Never fails: what does not fit goes to the overflow.
#[inline(always)]
pub(crate) fn count(signature: &Signature) {
    if let Some(value) = TALLIES.get_ptr_mut(signature) {
        // SAFETY: just looked up.
        unsafe { increment(value) };
        return;
    }
    // First sight. NOEXIST, so that a count made meanwhile on another CPU is not overwritten;
    // which of the two insertions won does not matter to the look-up that follows.
    let _lost_race = TALLIES.insert(signature, 0, u64::from(BPF_NOEXIST));
    match TALLIES.get_ptr_mut(signature) {
        // SAFETY: just looked up.
        Some(value) => unsafe { increment(value) },
        None => bump(Counter::TallyOverflow),
    }
}

/// Adds one to a counter of the kernel side's own.
#[inline(always)]
pub(crate) fn bump(counter: Counter) {
    if let Some(value) = COUNTERS.get_ptr_mut(counter as u32) {
        // SAFETY: just looked up.
        unsafe { increment(value) };
    }
}
