//! Exact counts: of signatures, and of what the kernel side had to drop.

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

/// Adds to a map value.
///
/// Atomically, although the value may belong to this CPU: a program in process context can be
/// interrupted by softirq, which may run the same code on the same value.
///
/// # Safety
/// `value` points into a map value that the current program looked up.
#[inline(always)]
pub(crate) unsafe fn add(value: *mut u64, amount: u64) {
    // SAFETY: the caller's contract. The instruction is BPF's atomic add (BPF_XADD), which every
    // kernel with BPF has; the target offers no `AtomicU64::fetch_add`.
    unsafe {
        asm!("lock *(u64 *)({value} + 0) += {amount}", value = in(reg) value, amount = in(reg) amount);
    }
}

/// Adds to a value of an array map; a slot that the array lacks is ignored.
#[inline(always)]
pub(crate) fn add_to<const N: usize>(array: &PerCpuArray<u64, N>, slot: usize, amount: u64) {
    if let Some(value) = array.get_ptr_mut(slot as u32) {
        // SAFETY: just looked up.
        unsafe { add(value, amount) };
    }
}

/// Counts one occurrence of `signature`. Never fails: what does not fit is counted as overflow.
#[inline(always)]
pub(crate) fn count(signature: &Signature) {
    let [flags, where_from, rest] = signature.to_words().map(u64::from);
    count_signature(flags, where_from, rest);
}

/// A global function: the verifier walks it once per program, whatever the paths to it, and allows
/// only numbers as arguments.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn count_signature(flags: u64, where_from: u64, rest: u64) -> u64 {
    let signature = Signature::from_words([flags as u32, where_from as u32, rest as u32]);
    let signature = &signature.counted();
    if let Some(value) = TALLIES.get_ptr_mut(signature) {
        // SAFETY: just looked up.
        unsafe { add(value, 1) };
        return 0;
    }
    // First occurrence. NOEXIST, so that a count made meanwhile on another CPU is not overwritten;
    // which of the two insertions won does not matter to the lookup that follows.
    let _lost_race = TALLIES.insert(signature, 0, u64::from(BPF_NOEXIST));
    match TALLIES.get_ptr_mut(signature) {
        // SAFETY: just looked up.
        Some(value) => unsafe { add(value, 1) },
        None => bump(Counter::TallyOverflow),
    }
    0
}

/// Increments a counter of the kernel side's own operation.
#[inline(never)]
pub(crate) fn bump(counter: Counter) {
    add_one(counter as usize);
}

/// Not inlined: the kernel copies a program for each array lookup in it (`do_misc_fixups`).
#[inline(never)]
fn add_one(slot: usize) {
    add_to(&COUNTERS, slot, 1);
}
