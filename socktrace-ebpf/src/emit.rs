//! Counting of signatures, also by owner, and streaming of events that pass the filters.

use aya_ebpf::helpers::generated::bpf_ktime_get_boot_ns;
use socktrace_ebpf::{
    Counter, Event, FarEnd, NamedEvent, Signature,
    event::{parts, unsettled},
};

use crate::{
    draft,
    filter::{self, Verdict},
    flood::{self, Fate},
    offsets, owned_tally,
    recipient::{Answer, Question},
    subject::Subject,
    tally,
};

/// Counts `signature`, then sends an event unless filters drop it. `locate` finds the connection,
/// `question` the process, and `describe` completes the event.
///
/// The count is exact. If the ring buffer is full, the event is lost and counted as lost.
#[inline(always)]
pub(crate) fn emit(
    signature: &Signature,
    question: Question,
    locate: impl FnOnce(&mut Subject),
    describe: impl FnOnce(&mut Event),
) {
    emit_if(true, signature, question, locate, describe);
}

/// Like [`emit`], for a Unix socket: `describe` may also write the path and the far end.
#[inline(always)]
pub(crate) fn emit_unix(
    signature: &Signature,
    question: Question,
    locate: impl FnOnce(&mut Subject),
    describe: impl FnOnce(&mut NamedEvent),
) {
    emit_named_if(true, signature, question, locate, |named| {
        (named.path.length, named.far_end) = (0, FarEnd::default());
        named.event.parts |= parts::UNIX;
        describe(named);
    });
}

/// Counts `signature`, and sends the event only if it is `wanted`.
#[inline(always)]
pub(crate) fn emit_if(
    wanted: bool,
    signature: &Signature,
    question: Question,
    locate: impl FnOnce(&mut Subject),
    describe: impl FnOnce(&mut Event),
) {
    emit_named_if(wanted, signature, question, locate, |named| describe(&mut named.event));
}

/// Streams an event that is in no count of failures, unless filters drop it. Its kind is judged
/// first: most events that get here are expected, and no filter includes them.
#[inline(always)]
pub(crate) fn stream_uncounted(
    signature: &Signature,
    question: Question,
    locate: impl FnOnce(&mut Subject),
    describe: impl FnOnce(&mut Event),
) {
    if offsets::STREAM.get() != 1 {
        return;
    }
    let kind = Signature { kind: signature.kind, ..Signature::default() };
    if filter::judge_signature(&kind) == filter::DROP {
        return;
    }
    let meaning = filter::judge_signature(signature);
    if meaning == filter::DROP {
        return;
    }
    let mut subject = Subject::NOTHING;
    locate(&mut subject);
    if filter::drops(signature, &subject) {
        return;
    }
    let answer = question.ask();
    let decision = match answer.judge() {
        filter::DROP => Decision::leave_out(answer),
        service => Decision::admit(answer, meaning, service),
    };
    decision.carry_out(signature, &subject, |named| describe(&mut named.event));
}

#[inline(always)]
fn emit_named_if(
    wanted: bool,
    signature: &Signature,
    question: Question,
    locate: impl FnOnce(&mut Subject),
    describe: impl FnOnce(&mut NamedEvent),
) {
    let wanted = wanted && offsets::STREAM.get() == 1;
    let filters_counts = offsets::FILTER_COUNTS.get() == 1;
    let counts_owned = offsets::OWNED_COUNTS.get() == 1 && owned_tally::is_counted(signature);
    let mut subject = Subject::NOTHING;
    if wanted || filters_counts || (counts_owned && offsets::SERVICE_PORTS.get() == 1) {
        locate(&mut subject);
    }
    // Constant once the programs are loaded: to the verifier the other function is dead code.
    let decision = if filters_counts {
        filter_then_count(wanted, counts_owned, signature, &subject, question)
    } else {
        count_then_filter(wanted, counts_owned, signature, &subject, question)
    };
    decision.carry_out(signature, &subject, describe);
}

/// Verdict on an event.
struct Decision {
    is_admitted: bool,
    answer: Answer,
    /// Bits as in [`Event::unsettled`].
    unsettled: u8,
    /// Whether the daemon must see every such event: it counts them, or judges the process.
    is_single: bool,
}

impl Decision {
    /// Verdict on an event that is not streamed.
    #[inline(always)]
    fn leave_out(answer: Answer) -> Self {
        Self { is_admitted: false, answer, unsettled: 0, is_single: false }
    }

    #[inline(always)]
    fn admit(answer: Answer, meaning: Verdict, service: Verdict) -> Self {
        let unsettled = (unsettled::SERVICE * filter::is_unsettled(service))
            | (unsettled::SIGNATURE * filter::is_unsettled(meaning));
        // The daemon can judge a whole flood by signature and cgroup.
        let is_single = service == filter::UNSETTLED_PROCESS
            || (service != filter::PASS
                && (offsets::FILTER_COUNTS.get() == 1 || offsets::FLOODS_BY_CGROUP.get() == 0));
        Self { is_admitted: true, answer, unsettled, is_single }
    }

    /// Streams the event if it is admitted, or counts it in a flood.
    #[inline(always)]
    fn carry_out(
        &self,
        signature: &Signature,
        subject: &Subject,
        describe: impl FnOnce(&mut NamedEvent),
    ) {
        if self.is_admitted {
            let fate = self.count_in_flood(signature, subject);
            if fate != flood::COUNTED {
                stream(signature, subject, self, fate, describe);
            }
        }
        self.answer.release();
    }

    /// Counts the event if it is part of a flood.
    #[inline(always)]
    fn count_in_flood(&self, signature: &Signature, subject: &Subject) -> Fate {
        if !flood::is_counted() || self.is_single {
            return flood::STREAMED;
        }
        flood::count(signature, subject, self.answer)
    }
}

/// Counts everything: filters narrow only the stream.
#[inline(always)]
fn count_then_filter(
    wanted: bool,
    counts_owned: bool,
    signature: &Signature,
    subject: &Subject,
    question: Question,
) -> Decision {
    let mut answer = Answer::NONE;
    tally::count(signature);
    if counts_owned {
        answer = question.ask();
        answer.count(signature, subject);
    }
    if !wanted {
        return Decision::leave_out(answer);
    }
    let meaning = filter::judge_signature(signature);
    if meaning == filter::DROP || filter::drops(signature, subject) {
        return Decision::leave_out(answer);
    }
    // Last, because it takes the longest.
    if !counts_owned {
        answer = question.ask();
    }
    match answer.judge() {
        filter::DROP => Decision::leave_out(answer),
        service => Decision::admit(answer, meaning, service),
    }
}

/// Counts by signature what passes the filters. The daemon drops causes that the filters exclude
/// when it reads the counts. An event whose service only the daemon can judge is streamed, even if
/// nobody wants to see it, and counted by the daemon.
#[inline(always)]
fn filter_then_count(
    wanted: bool,
    counts_owned: bool,
    signature: &Signature,
    subject: &Subject,
    question: Question,
) -> Decision {
    let meaning = filter::judge_signature(signature);
    if filter::drops(signature, subject) {
        return Decision::leave_out(Answer::NONE);
    }
    // Last, because it takes the longest.
    let answer = question.ask();
    let service = answer.judge();
    if service == filter::DROP {
        return Decision::leave_out(answer);
    }
    if service == filter::PASS {
        tally::count(signature);
        if counts_owned {
            answer.count(signature, subject);
        }
        if !wanted || meaning == filter::DROP {
            return Decision::leave_out(answer);
        }
    }
    Decision::admit(answer, meaning, service)
}

/// Sends an event, which `describe` completes.
#[inline(always)]
fn stream(
    signature: &Signature,
    subject: &Subject,
    decision: &Decision,
    fate: Fate,
    describe: impl FnOnce(&mut NamedEvent),
) {
    let Some(named) = draft::begin(decision.answer) else {
        // No slot: as many programs as there are slots are running on this CPU.
        tally::bump(Counter::EventsLost);
        return;
    };
    let event = &mut named.event;
    event.parts |= parts::WATCH_REPEATS * fate as u8;
    // SAFETY: the helper takes nothing and cannot fail.
    event.boot_ns = unsafe { bpf_ktime_get_boot_ns() };
    event.signature = *signature;
    event.unsettled = decision.unsettled;
    subject.describe(event);
    describe(named);
    draft::send(decision.answer);
}
