//! Counts a signature and streams its event: in this order, always.

use aya_ebpf::{btf_maps::RingBuf, helpers::generated::bpf_ktime_get_boot_ns, macros::btf_map};
use socktrace_ebpf::{Counter, Event, RING_BYTES, Signature, facts::ABSENT};

use crate::{offsets, tally};

#[btf_map]
static EVENTS: RingBuf<Event, RING_BYTES> = RingBuf::new();

/// Counts `signature`, then tries to send an event that `fill` completes.
///
/// The count is exact; the event is lost, and that counted, when the ring buffer is full.
#[inline(always)]
pub(crate) fn emit(signature: &Signature, fill: impl FnOnce(&mut Event)) {
    emit_if(true, signature, fill);
}

/// Counts `signature`, and sends the event only when it is `wanted`.
#[inline(always)]
pub(crate) fn emit_if(wanted: bool, signature: &Signature, fill: impl FnOnce(&mut Event)) {
    tally::count(signature);
    if !wanted || offsets::STREAM.get() == 0 {
        return;
    }
    let Some(mut entry) = EVENTS.reserve(0) else {
        tally::bump(Counter::EventsLost);
        return;
    };
    let event = entry.write(Event::default());
    // SAFETY: the helper takes nothing and cannot fail.
    event.boot_ns = unsafe { bpf_ktime_get_boot_ns() };
    event.signature = *signature;
    event.rst_reason = ABSENT;
    event.fd = -1;
    fill(event);
    entry.submit(0);
}
