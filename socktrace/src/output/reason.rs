//! The short human reason at the end of a line, with the numbers of this very failure.

use socktrace_ebpf::Flags;

use super::Record;
use crate::diagnosis::{Call, Cause, Diagnosis, Finding};

/// Says in a few words what happened.
pub(crate) fn reason(record: &Record) -> String {
    match record.finding {
        Finding::Failure(diagnosis) => failure(record, diagnosis),
        Finding::Delivery(diagnosis) => format!(
            "accepted a connection that was already reset; its next {} fails with {}",
            call_name(diagnosis.call),
            diagnosis.errno
        ),
        Finding::Retransmission => "retransmission timeout".to_owned(),
    }
}

fn failure(record: &Record, diagnosis: Diagnosis) -> String {
    let event = &record.event;
    match diagnosis.cause {
        Cause::ConnectTimeout => format!(
            "{} SYN unanswered in {}",
            // The first SYN and its retransmissions.
            u32::from(event.retransmits) + 1,
            duration(u64::from(event.elapsed_ms))
        ),
        Cause::RetransmitTimeout | Cause::UnreachableTimeout => format!(
            "{} bytes unacknowledged after {} retransmissions in {}",
            event.unacked_bytes,
            event.retransmits,
            duration(u64::from(event.elapsed_ms))
        ),
        Cause::UserTimeout => format!(
            "{} bytes not taken by the peer for {}, TCP_USER_TIMEOUT is {}",
            event.unacked_bytes.max(event.unsent_bytes),
            duration(record.silent_ms.max(u64::from(event.elapsed_ms))),
            duration(u64::from(event.user_timeout_ms))
        ),
        Cause::KeepaliveTimeout => format!(
            "{} keepalive probes unanswered, peer silent for {}",
            event.probes,
            duration(record.silent_ms)
        ),
        Cause::ZeroWindowTimeout => format!(
            "window closed, {} probes unanswered, {} bytes unsent, peer silent for {}",
            event.probes,
            event.unsent_bytes,
            duration(record.silent_ms)
        ),
        Cause::ResetWhileClosing if Flags(event.signature.flags).has(Flags::ORPHAN) => {
            "RST after this side had closed; no program is waiting".to_owned()
        }
        Cause::Other => format!(
            "unexplained: {} in {} (hook {}, origin {}, flags {:#x})",
            diagnosis.errno,
            record.state.map_or("unknown state", super::names::state_name),
            event.signature.hook,
            event.signature.origin,
            event.signature.flags
        ),
        cause => cause.summary().to_owned(),
    }
}

const fn call_name(call: Call) -> &'static str {
    match call {
        Call::Connect => "connect",
        Call::ReadOrWrite => "read or write",
        Call::Write => "write",
        Call::None => "call",
    }
}

/// Milliseconds as a person says them: `870 ms`, `3.1 s`, `15 min 39 s`.
fn duration(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        _ => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1_000),
    }
}

#[cfg(test)]
mod tests {
    use socktrace_ebpf::{Event, Origin, TcpState};

    use super::*;
    use crate::output::record::tests::{record, reset_event};

    fn timer_event(state: TcpState, origin: Origin, flags: Flags) -> Event {
        let mut event = reset_event();
        event.signature.origin = origin as u8;
        event.signature.state = state as u8;
        event.signature.flags = flags.0;
        event.signature.errno = u16::try_from(nix::libc::ETIMEDOUT).expect("small");
        event
    }

    #[test]
    fn durations_read_as_people_say_them() {
        assert_eq!(duration(0), "0 ms");
        assert_eq!(duration(999), "999 ms");
        assert_eq!(duration(3_140), "3.1 s");
        assert_eq!(duration(939_000), "15 min 39 s");
    }

    #[test]
    fn a_give_up_tells_its_numbers() {
        let event = Event {
            retransmits: 6,
            elapsed_ms: 127_000,
            ..timer_event(TcpState::SynSent, Origin::RetransmitTimer, Flags::RETRANSMITTED)
        };
        assert_eq!(reason(&record(event)), "7 SYN unanswered in 2 min 7 s");

        let event = Event {
            retransmits: 15,
            elapsed_ms: 939_000,
            unacked_bytes: 2_048,
            ..timer_event(TcpState::Established, Origin::RetransmitTimer, Flags::RETRANSMITTED)
        };
        assert_eq!(
            reason(&record(event)),
            "2048 bytes unacknowledged after 15 retransmissions in 15 min 39 s"
        );
    }

    #[test]
    fn the_unexplained_keeps_its_raw_facts() {
        let event = timer_event(TcpState::Established, Origin::Other, Flags::empty());
        assert_eq!(
            reason(&record(event)),
            "unexplained: ETIMEDOUT in ESTABLISHED (hook 1, origin 0, flags 0x0)"
        );
    }
}
