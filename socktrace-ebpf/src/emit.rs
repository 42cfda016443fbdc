//! Counts a signature, also by owner, filters, and streams the event: in this order, always.

use aya_ebpf::{btf_maps::RingBuf, helpers::generated::bpf_ktime_get_boot_ns, macros::btf_map};
use socktrace_ebpf::{Counter, Event, RING_BYTES, Signature, event::unsettled, facts::ABSENT};

use crate::{
    filter, offsets, owned_tally,
    recipient::{Answer, Question},
    subject::Subject,
    tally,
};

#[btf_map]
static EVENTS: RingBuf<Event, RING_BYTES> = RingBuf::new();

/// Counts `signature`, then tries to send an event about what `locate` tells and whom
/// `question` finds, which `describe` completes, unless filters leave it out.
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
///
/// Where filters narrow the counts, they come first: then what they leave out is not counted, and
/// what only the daemon can judge is sent to be counted there.
#[inline(always)]
pub(crate) fn emit_if(
    wanted: bool,
    signature: &Signature,
    question: Question,
    locate: impl FnOnce(&mut Subject),
    describe: impl FnOnce(&mut Event),
) {
    let wanted = wanted && offsets::STREAM.get() == 1;
    let counts_all = offsets::FILTER_COUNTS.get() == 0;
    let counts_owned = offsets::OWNED_COUNTS.get() == 1 && owned_tally::is_counted(signature);
    let mut subject = Subject::NOTHING;
    if wanted || !counts_all || (counts_owned && offsets::SERVICE_PORTS.get() == 1) {
        locate(&mut subject);
    }
    let mut answer = Answer::NONE;
    if counts_all {
        tally::count(signature);
        if counts_owned {
            answer = question.ask();
            answer.count(signature, &subject);
        }
        if !wanted {
            return;
        }
    }
    let meaning = filter::judge_signature(signature);
    if meaning == filter::DROP && counts_all {
        return;
    }
    if filter::drops(signature, &subject) {
        return;
    }
    // Last, as it takes the longest.
    let filters = offsets::FILTER.get() != 0;
    if !(counts_all && counts_owned) && (filters || counts_owned) {
        answer = question.ask();
    }
    let service = answer.judge();
    if service == filter::DROP {
        return;
    }
    let is_counted = counts_all || service == filter::PASS;
    if !counts_all && is_counted {
        tally::count(signature);
        if counts_owned {
            answer.count(signature, &subject);
        }
        if !wanted {
            return;
        }
    }
    if meaning == filter::DROP && is_counted {
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
    event.unsettled = (unsettled::SERVICE * filter::is_unsettled(service))
        | (unsettled::SIGNATURE * filter::is_unsettled(meaning));
    event.rst_reason = ABSENT;
    event.fd = -1;
    subject.describe(event);
    describe(event);
    question.tell(event, answer);
    entry.submit(0);
}
