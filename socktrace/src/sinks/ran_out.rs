//! A program's own time limit that ended a call, and what the call waited for.

use std::fmt::Write as _;

use socktrace_diagnosis::Cause;
use socktrace_ebpf::{Flags, TcpState};

use super::reason::duration;
use crate::record::Record;

/// This many probes of a closed window may be in flight, or go unanswered because of
/// `net.ipv4.tcp_invalid_ratelimit`.
const USUAL_PROBES: u8 = 2;

/// Reason of a call that `SO_SNDTIMEO` ended; `None` for others.
pub(super) fn reason(record: &Record, cause: Cause, flags: Flags) -> Option<String> {
    let event = &record.event;
    let limit = match record.send_timeout_ms {
        Some(limit) => format!("SO_SNDTIMEO ({})", duration(limit)),
        None => "SO_SNDTIMEO".to_owned(),
    };
    Some(match cause {
        Cause::ConnectSendTimeout => format!(
            "{} SYN unanswered within {limit}; the attempt goes on",
            // The first SYN and its retransmissions.
            u32::from(event.retransmits) + 1
        ),
        Cause::SendTimeout if record.state == Some(TcpState::SynSent) => {
            format!("not connected within {limit}; the attempt goes on")
        }
        Cause::SendTimeout => format!("no room for more within {limit}{}", waiting(record, flags)),
        _ => return None,
    })
}

/// Data that was written before and still waits, and what it waits for.
fn waiting(record: &Record, flags: Flags) -> String {
    let event = &record.event;
    let mut text = match (event.unacked_bytes, event.unsent_bytes) {
        // The subflows of an MPTCP socket hold its data.
        (0, 0) => return String::new(),
        (0, unsent) => format!(": {unsent} bytes unsent"),
        (unacked, 0) => format!(": {unacked} bytes unacknowledged"),
        (unacked, unsent) => format!(": {unacked} bytes unacknowledged, {unsent} unsent"),
    };
    if !flags.has(Flags::ZERO_WINDOW) {
        // Writing to a string cannot fail.
        let _ = match event.retransmits {
            0 => text.write_str(", the peer's window is open"),
            times => write!(text, ", sent again {times} times"),
        };
        return text;
    }
    text.push_str(", the peer's window is closed");
    let _ = match event.probes {
        0..=USUAL_PROBES => text.write_str(": its program does not read"),
        probes => write!(text, " and {probes} probes unanswered"),
    };
    text
}

#[cfg(test)]
mod tests {
    use socktrace_ebpf::Event;

    use super::*;
    use crate::record::tests::{record, reset_event};

    fn said(event: Event, state: TcpState, cause: Cause, flags: Flags) -> String {
        let record = record(event);
        let record = Record { state: Some(state), send_timeout_ms: Some(500), ..record };
        reason(&record, cause, flags).expect("a limit")
    }

    #[test]
    fn a_write_says_what_it_waited_for() {
        let said = |event, flags| said(event, TcpState::Established, Cause::SendTimeout, flags);
        let event = Event { unsent_bytes: 2_000, ..reset_event() };
        let unsent = "no room for more within SO_SNDTIMEO (500 ms): 2000 bytes unsent, ";
        assert_eq!(
            said(event, Flags::ZERO_WINDOW),
            format!("{unsent}the peer's window is closed: its program does not read")
        );
        assert_eq!(
            said(Event { probes: 4, ..event }, Flags::ZERO_WINDOW),
            format!("{unsent}the peer's window is closed and 4 probes unanswered")
        );
        let event = Event { unacked_bytes: 70, ..reset_event() };
        let unacked = "no room for more within SO_SNDTIMEO (500 ms): 70 bytes unacknowledged, ";
        assert_eq!(said(event, Flags::empty()), format!("{unacked}the peer's window is open"));
        let event = Event { retransmits: 3, ..event };
        assert_eq!(said(event, Flags::empty()), format!("{unacked}sent again 3 times"));
        assert_eq!(
            said(reset_event(), Flags::empty()),
            "no room for more within SO_SNDTIMEO (500 ms)"
        );
    }

    #[test]
    fn an_attempt_to_connect_goes_on() {
        let said = |event, cause| said(event, TcpState::SynSent, cause, Flags::empty());
        assert_eq!(
            said(Event { retransmits: 1, ..reset_event() }, Cause::ConnectSendTimeout),
            "2 SYN unanswered within SO_SNDTIMEO (500 ms); the attempt goes on"
        );
        assert_eq!(
            said(reset_event(), Cause::SendTimeout),
            "not connected within SO_SNDTIMEO (500 ms); the attempt goes on"
        );
    }
}
