//! Reasons why datagrams fail.

use socktrace_diagnosis::Cause;
use socktrace_ebpf::Protocol;

use super::reason::icmp_clause;
use crate::record::Record;

/// The reason, if the cause's summary does not say it all.
pub(super) fn reason(record: &Record, cause: Cause) -> Option<String> {
    let text = match cause {
        Cause::UnreachableReported if record.is_of(Protocol::Udp) => format!(
            "the network reports that a datagram cannot be delivered; the next send or receive fails{}",
            icmp_clause(record)
        ),
        Cause::PortUnreachable => format!(
            "nobody listens at the port that a datagram was sent to; the next send or receive fails{}",
            icmp_clause(record)
        ),
        Cause::ReceiveQueueFull if record.event.unread_bytes != 0 => format!(
            "a datagram was dropped: what waits to be read takes {} bytes of memory already, all that \
             the receive buffer may; no call fails",
            record.event.unread_bytes
        ),
        _ => return None,
    };
    Some(text)
}
