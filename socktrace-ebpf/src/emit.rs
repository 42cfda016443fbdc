//! Counts a signature and streams its event: in this order, always.

use aya_ebpf::{btf_maps::RingBuf, helpers::generated::bpf_ktime_get_boot_ns, macros::btf_map};
use socktrace_ebpf::{Counter, Event, RING_BYTES, Signature, facts::ABSENT};

use crate::{offsets, recipient::Question, subject::Subject, tally};

#[btf_map]
static EVENTS: RingBuf<Event, RING_BYTES> = RingBuf::new();

/// Counts `signature`, then tries to send an event about what `locate` tells and whom
/// `question` finds, which `describe` completes.
///
/// The count is exact; the event is lost, and that counted, when the ring buffer is full.
#[inline(always)]
pub(crate) fn emit(
    signature: &Signature,
    question: Question,
    locate: impl FnOnce(&mut Subject),
    describe: impl FnOnce(&mut Event),
) {
    emit_if(true, signature, question, locate, describe);
}

/// Counts `signature`, and sends the event only when it is `wanted`.
#[inline(always)]
pub(crate) fn emit_if(
    wanted: bool,
    signature: &Signature,
    question: Question,
    locate: impl FnOnce(&mut Subject),
    describe: impl FnOnce(&mut Event),
) {
    tally::count(signature);
    if !wanted || offsets::STREAM.get() == 0 {
        return;
    }
    let mut subject = Subject::NOTHING;
    locate(&mut subject);
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
    subject.describe(event);
    describe(event);
    question.tell(event);
    entry.submit(0);
}
