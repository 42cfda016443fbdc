//! Special circumstances of a reset.

use std::borrow::Cow;

use socktrace_diagnosis::Cause;
use socktrace_ebpf::Flags;

use super::reason::duration;
use crate::record::Record;

/// Describes a reset, if the summary of its cause does not say it all; `None` for others.
pub(super) fn reason(record: &Record, cause: Cause, flags: Flags) -> Option<Cow<'static, str>> {
    let event = &record.event;
    Some(match cause {
        Cause::ResetWithoutAnswer => format!(
            "the peer acknowledged nothing after its SYN-ACK, not one of {} bytes sent {} times in {}: \
             its accept queue is probably full",
            event.unacked_bytes,
            // The first transmission and its retransmissions.
            u32::from(event.retransmits) + 1,
            duration(u64::from(event.elapsed_ms))
        ).into(),
        Cause::ResetByPeer if flags.has(Flags::UNANSWERED) && record.sender.is_none() => format!(
            "{}, and had acknowledged nothing since its SYN-ACK: its accept queue may be full \
             (tcp_abort_on_overflow)",
            cause.summary()
        ).into(),
        Cause::ResetByPeer if flags.has(Flags::RECEIVING) => {
            "the peer sent RST while this side, which had shut down sending, waited for its answer".into()
        }
        Cause::ResetByPeer if flags.has(Flags::ACKED) => match record.sender {
            Some(_) => "the peer had shut down sending, and now sent RST".into(),
            None => "the peer had shut down sending, and now sent RST: it closed with our data unread, \
                     or with SO_LINGER 0"
                .into(),
        },
        Cause::ResetAfterPeerClose if event.probes > 0 && event.unacked_bytes == 0 => {
            "the peer had closed, and answered a keepalive or window probe with RST".into()
        }
        Cause::ResetWhileClosing if flags.has(Flags::ORPHAN) => {
            "reset after this side had closed; no program is waiting".into()
        }
        _ => return None,
    })
}
