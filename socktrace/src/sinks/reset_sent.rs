//! Reason why this host sent an RST, with the numbers of this very one.

use std::fmt::Write as _;

use socktrace_diagnosis::why_sent;
use socktrace_ebpf::SentReset;

use crate::record::Record;

/// Adds why this host sent the RST.
pub(super) fn add(text: &mut String, record: &Record, reset: SentReset) {
    text.push_str("sent RST: ");
    text.push_str(why_sent(reset).summary);
    let number = match reset {
        SentReset::UnreadData => write!(text, "; {} bytes unread", record.event.unread_bytes),
        SentReset::Keepalive => write!(text, "; {} were sent", record.event.probes),
        _ => Ok(()),
    };
    // Writing to memory cannot fail.
    number.unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use socktrace_diagnosis::diagnose;
    use socktrace_ebpf::EventKind;

    use crate::{
        record::tests::{record, reset_event},
        sinks::reason::reason,
    };

    use super::*;

    #[test]
    fn it_says_how_much_was_not_read() {
        let mut event = reset_event();
        event.signature.kind = EventKind::ResetSent as u8;
        event.signature.origin = SentReset::UnreadData as u8;
        event.unread_bytes = 5;
        let record = record(event);
        assert_eq!(record.finding, diagnose(event.signature));
        assert_eq!(
            reason(&record),
            "sent RST: the program closed the connection before it had read all data; \
             5 bytes unread"
        );
    }
}
