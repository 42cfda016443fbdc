//! Counts a signature, also by owner, and streams the event, as far as filters ask for it.

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

/// Counts `signature`, then tries to send an event about the connection that `locate` finds and the
/// process that `question` finds, which `describe` completes, unless filters drop it.
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

/// The same about a Unix socket, of which `describe` may write path and far end too.
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

/// Counts `signature`, and sends the event only when it is `wanted`.
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

/// Streams an event that is in no count of failures, unless filters drop it: by its kind first of all, as
/// most that come here are expected, and nobody has asked for those.
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
    // A constant once the programs are loaded: to the verifier the other function is dead code.
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
    /// As [`Event::unsettled`].
    unsettled: u8,
    /// Whether the daemon has to see it: it counts it, or judges the process.
    is_single: bool,
}

impl Decision {
    /// It is not streamed.
    #[inline(always)]
    fn leave_out(answer: Answer) -> Self {
        Self { is_admitted: false, answer, unsettled: 0, is_single: false }
    }

    #[inline(always)]
    fn admit(answer: Answer, meaning: Verdict, service: Verdict) -> Self {
        let unsettled = (unsettled::SERVICE * filter::is_unsettled(service))
            | (unsettled::SIGNATURE * filter::is_unsettled(meaning));
        // What the daemon judges by signature and cgroup it can judge of a whole flood.
        let is_single = service == filter::UNSETTLED_PROCESS
            || (service != filter::PASS
                && (offsets::FILTER_COUNTS.get() == 1 || offsets::FLOODS_BY_CGROUP.get() == 0));
        Self { is_admitted: true, answer, unsettled, is_single }
    }

    /// Streams it if it is admitted, or counts it in a flood.
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

    /// Counts it, if it is part of a flood.
    #[inline(always)]
    fn count_in_flood(&self, signature: &Signature, subject: &Subject) -> Fate {
        if !flood::is_counted() || self.is_single {
            return flood::STREAMED;
        }
        flood::count(signature, subject, self.answer)
    }
}

/// Counts everything: filters narrow the stream alone.
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
    // Last, as it takes the longest.
    if !counts_owned {
        answer = question.ask();
    }
    match answer.judge() {
        filter::DROP => Decision::leave_out(answer),
        service => Decision::admit(answer, meaning, service),
    }
}

/// Counts what passes the filters, by signature: the daemon leaves out causes that they do not ask for
/// when it reads the counts. An event whose service only the daemon can judge is streamed, also if
/// nobody wants to see it, and counted there.
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
    // Last, as it takes the longest.
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
        // No slot: as many programs as there are slots are at it on this processor.
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
