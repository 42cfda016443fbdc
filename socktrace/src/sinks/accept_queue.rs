//! Report of a full accept queue.

use std::borrow::Cow;

use socktrace_diagnosis::Cause;
use socktrace_ebpf::AcceptQueue;

use crate::record::Record;

/// Number of dropped handshake packets, and fill level of the queue.
pub(super) fn reason(record: &Record) -> Cow<'static, str> {
    let Some(queue) = record.accept_queue() else {
        return Cause::AcceptQueueOverflow.summary().into();
    };
    let AcceptQueue { dropped, waiting, limit, accepting } = queue;
    let packets = if dropped == 1 { "packet was" } else { "packets were" };
    if accepting {
        format!(
            "{dropped} handshake {packets} dropped before this accept: the accept queue was full (limit \
             {limit})"
        )
    } else if waiting <= limit {
        format!(
            "{dropped} handshake {packets} dropped since the last report: the accept queue was full \
             (limit {limit})"
        )
    } else {
        format!(
            "{dropped} handshake {packets} dropped: the accept queue is full ({waiting} wait, limit \
             {limit}) and nobody accepts"
        )
    }
    .into()
}

#[cfg(test)]
mod tests {
    use socktrace_ebpf::{Detail, Event, EventKind, TcpState};

    use super::*;
    use crate::{
        record::tests::{record, reset_event},
        sinks::reason::reason,
    };

    fn said(queue: AcceptQueue) -> String {
        let mut event = Event { ..reset_event() };
        event.signature.kind = EventKind::HandshakesDropped as u8;
        event.signature.state = TcpState::Listen as u8;
        (event.signature.errno, event.signature.origin) = (0, 0);
        event.set_detail(Detail::AcceptQueue(queue));
        reason(&record(event))
    }

    #[test]
    fn late_accepts_differ_from_none() {
        let queue = AcceptQueue { dropped: 12, waiting: 129, limit: 128, accepting: false };
        assert_eq!(
            said(queue),
            "12 handshake packets were dropped: the accept queue is full (129 wait, limit 128) and \
             nobody accepts"
        );
        assert_eq!(
            said(AcceptQueue { dropped: 1, accepting: true, ..queue }),
            "1 handshake packet was dropped before this accept: the accept queue was full (limit 128)"
        );
        assert_eq!(
            said(AcceptQueue { waiting: 0, ..queue }),
            "12 handshake packets were dropped since the last report: the accept queue was full (limit \
             128)"
        );
    }
}
