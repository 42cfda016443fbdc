//! Reason for reporting an end of file: what became of the request.

use std::borrow::Cow;

use socktrace_diagnosis::Cause;
use socktrace_ebpf::{Flags, TcpState};

use crate::record::Record;

/// Fate of the request when the peer closed while it owed an answer.
pub(super) fn reason(record: &Record, flags: Flags) -> Cow<'static, str> {
    let waiting = record.event.unacked_bytes.saturating_add(record.event.unsent_bytes);
    let half_closed = record.state != Some(TcpState::Established);
    if flags.has(Flags::NO_DATA) {
        "the peer closed before either end had sent anything; a read returns 0".into()
    } else if waiting > u32::from(half_closed) {
        format!(
            "the peer had closed before the request came: {waiting} bytes are unacknowledged; a read \
             returns 0"
        )
        .into()
    } else if flags.has(Flags::FAREWELL) {
        "the peer had the request and closed at once, unless that was a farewell; a read returns 0"
            .into()
    } else if flags.has(Flags::ACKED) && half_closed {
        "the peer had the request and closed without an answer: it may take a shutdown of sending \
         for the end; a read returns 0"
            .into()
    } else if flags.has(Flags::ACKED) {
        "the peer had the request, all of it acknowledged, and closed without an answer; a read \
         returns 0"
            .into()
    } else {
        Cause::PrematureEof.summary().into()
    }
}
