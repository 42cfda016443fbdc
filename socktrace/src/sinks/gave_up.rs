//! The timer that gave a connection up, and what led to it.

use socktrace_diagnosis::Cause;
use socktrace_ebpf::Flags;

use super::{
    not_sent,
    reason::{duration, icmp_clause},
};
use crate::record::Record;

/// Reason of a failure that a timer caused; `None` for others.
pub(super) fn reason(record: &Record, cause: Cause, flags: Flags) -> Option<String> {
    let event = &record.event;
    Some(match cause {
        Cause::ConnectTimeout => format!(
            "{} SYN unanswered in {}",
            // The first SYN and its retransmissions.
            u32::from(event.retransmits) + 1,
            duration(u64::from(event.elapsed_ms))
        ),
        Cause::ConnectSendFailed => not_sent::connecting(record),
        Cause::SendFailedLocally => not_sent::connected(record),
        Cause::UnreachableTimeout if !flags.has(Flags::RETRANSMITTED) => format!(
            "{} in {}{}",
            match event.unsent_bytes {
                0 => format!("{} keepalive probes unanswered", event.probes),
                unsent => format!("{unsent} bytes unsent, {} probes unanswered", event.probes),
            },
            waited(record),
            icmp_clause(record)
        ),
        Cause::RetransmitTimeout | Cause::UnreachableTimeout => format!(
            "{} bytes unacknowledged after {} retransmissions in {}{}",
            event.unacked_bytes,
            event.retransmits,
            duration(u64::from(event.elapsed_ms)),
            icmp_clause(record)
        ),
        Cause::UserTimeout => format!(
            "{} bytes not taken by the peer for {}, TCP_USER_TIMEOUT is {}",
            event.unacked_bytes.max(event.unsent_bytes),
            waited(record),
            duration(u64::from(event.user_timeout_ms))
        ),
        Cause::KeepaliveTimeout => format!(
            "{} keepalive probes unanswered, peer silent for {}; the limit was {}",
            event.probes,
            duration(record.silent_ms),
            // If it is set, their number does not count (`tcp_keepalive_timer`).
            match event.user_timeout_ms {
                0 => "their number (TCP_KEEPCNT)".to_owned(),
                limit => format!(
                    "TCP_USER_TIMEOUT of {}, and not their number",
                    duration(u64::from(limit))
                ),
            }
        ),
        Cause::ZeroWindowTimeout => format!(
            "window closed, {} probes unanswered, {} bytes unsent, peer silent for {}",
            event.probes,
            event.unsent_bytes,
            duration(record.silent_ms)
        ),
        _ => return None,
    })
}

/// Time that the timer had waited when it gave up: since its first try, or else since the peer was
/// last heard.
pub(super) fn waited(record: &Record) -> String {
    match record.event.elapsed_ms {
        0 => duration(record.silent_ms),
        elapsed => duration(u64::from(elapsed)),
    }
}
