//! Short reason at the end of a line, with the numbers of this very failure.

use std::borrow::Cow;

use nix::libc;
use socktrace_diagnosis::{Call, Cause, Diagnosis, Errno, Finding, level_name, option_name};
use socktrace_ebpf::{EventKind, Flags, Origin, Protocol, Sigpipe};

use super::{
    accept_queue, by_whom, datagram, end_of_file, gave_up, icmp, no_socket, ran_out, refused_call,
    remarks, reset_sent, unix, was_reset,
};
use crate::record::{Arguments, Record};

const NANOS_PER_MILLI: u64 = 1_000_000;

/// Longer than most reasons, in bytes.
const USUAL: usize = 128;

/// Describes in a few words what happened.
pub(crate) fn reason(record: &Record) -> String {
    let mut text = String::with_capacity(USUAL);
    add_reason(&mut text, record);
    text
}

/// Adds that description to a text.
pub(crate) fn add_reason(text: &mut String, record: &Record) {
    match record.finding {
        Finding::Failure(found) => {
            text.push_str(&failure(record, found));
            remarks::add(text, record, found.cause);
            by_whom::add(text, record, found.cause);
            text.push_str(&sigpipe_clause(record, found));
        }
        Finding::Delivery(found) if found.call == Call::Write && is_write(record) => {
            text.push_str(&delivery(record, found));
        }
        Finding::Delivery(found) => {
            text.push_str("accepted a connection ");
            text.push_str(fate(found.cause));
            text.push_str("; its next ");
            text.push_str(call_name(found.call));
            text.push_str(" fails with ");
            text.push_str(&found.errno.text());
        }
        Finding::Undelivered(found) => {
            text.push_str(&undelivered(record, found));
            text.push_str(": ");
            text.push_str(found.cause.summary());
        }
        Finding::Retransmission => text.push_str(&retransmission(record)),
        Finding::ResetSent(reset) => reset_sent::add(text, record, reset),
    }
}

/// Later event of the failure in the previous line.
pub(super) fn continuation(record: &Record) -> String {
    match record.finding {
        Finding::Failure(found) | Finding::Delivery(found) if is_write(record) => format!(
            "write returned {} {} later{}",
            found.errno,
            duration(record.event.since_first_ns / NANOS_PER_MILLI),
            sigpipe_clause(record, found)
        ),
        Finding::Undelivered(found) => undelivered(record, found),
        Finding::Delivery(found) => {
            format!("accepted; its next {} fails with {}", call_name(found.call), found.errno)
        }
        _ => reason(record),
    }
}

/// State of a connection when it was accepted.
pub(super) const fn fate(cause: Cause) -> &'static str {
    match cause {
        Cause::ResetBeforeAccept => "that was already reset",
        Cause::UnreachableBeforeAccept | Cause::UnreachableReported => {
            "whose client had been reported unreachable"
        }
        _ => "that had already failed",
    }
}

fn is_write(record: &Record) -> bool {
    record.event.signature.kind == EventKind::Write as u8
}

/// Reason of a write that delivers a failure.
fn delivery(record: &Record, found: Diagnosis) -> String {
    format!(
        "write returned {} {} after {}{}",
        found.errno,
        duration(record.event.since_first_ns / NANOS_PER_MILLI),
        found.cause.summary(),
        sigpipe_clause(record, found)
    )
}

/// Reason of a close that finds the errno of a failure in the socket.
fn undelivered(record: &Record, found: Diagnosis) -> String {
    format!(
        "closed {} later, before any call had returned {}",
        duration(record.event.since_first_ns / NANOS_PER_MILLI),
        found.errno
    )
}

fn retransmission(record: &Record) -> String {
    format!(
        "retransmission {} of {} bytes, next in {}",
        record.event.retransmits,
        record.event.unacked_bytes,
        duration(record.rto_ms)
    )
}

fn failure(record: &Record, diagnosis: Diagnosis) -> Cow<'static, str> {
    let event = &record.event;
    let flags = Flags(event.signature.flags);
    if let Some(words) = unix::reason(record, diagnosis.cause, diagnosis.errno) {
        return words.into();
    }
    if let Some(words) = datagram::reason(record, diagnosis.cause) {
        return words.into();
    }
    if let Some(words) = of_another_protocol(record, diagnosis.cause) {
        return words.into();
    }
    if let Some(words) = was_reset::reason(record, diagnosis.cause, flags) {
        return words;
    }
    if let Some(words) = gave_up::reason(record, diagnosis.cause, flags) {
        return words.into();
    }
    if let Some(words) = ran_out::reason(record, diagnosis.cause, flags) {
        return words.into();
    }
    let text = match diagnosis.cause {
        Cause::ConnectLocal | Cause::AcceptFailed | Cause::BindFailed | Cause::ListenFailed
            if flags.has(Flags::POLICY) =>
        {
            format!(
                "a security module (SELinux, AppArmor, Landlock, ...) or a BPF program forbids {}",
                call_name(diagnosis.call)
            )
        }
        Cause::SocketFailed => match record.socket_call() {
            Some(call) => no_socket::reason(call, diagnosis.errno),
            None => return diagnosis.cause.summary().into(),
        },
        Cause::BindFailed | Cause::ConnectLocal | Cause::ConnectNoRoute => {
            match refused_call::reason(record, diagnosis.cause, diagnosis.errno) {
                Some(reason) => reason,
                None => return diagnosis.cause.summary().into(),
            }
        }
        Cause::AcceptFailed if flags.has(Flags::NEVER_LISTENED) => {
            return "the socket that accept was called on never listened".into();
        }
        Cause::ConnectCancelled if diagnosis.call == Call::Connect => {
            return "the program shut the socket down while it was still connecting".into();
        }
        Cause::WriteUnconnected if event.signature.origin == Origin::Dissolved as u8 => format!(
            "the program itself had dissolved the connection (connect with AF_UNSPEC) {} before it \
             wrote on",
            duration(event.since_first_ns / NANOS_PER_MILLI)
        ),
        Cause::ConnectRefusedIcmp
        | Cause::ConnectUnreachable
        | Cause::ConnectCancelled
        | Cause::UnreachableBeforeAccept
        | Cause::UnreachableReported => {
            format!("{}{}", diagnosis.cause.summary(), icmp_clause(record))
        }
        Cause::WriteAfterReset | Cause::WriteAfterTimeout | Cause::WriteAfterUnreachable => {
            format!(
                "wrote on {} after {}",
                duration(event.since_first_ns / NANOS_PER_MILLI),
                Errno(event.first_errno)
            )
        }
        Cause::SockoptRejected => {
            let Arguments { fd, level, option } = record.arguments;
            format!(
                "{}({}, {}){}",
                diagnosis.call.id(),
                level_name(level),
                option_name(level, option),
                match (fd, i32::from(event.signature.errno)) {
                    (Some(fd), libc::EBADF) => format!(": descriptor {fd} is not open"),
                    (Some(fd), libc::ENOTSOCK) => format!(": descriptor {fd} is not a socket"),
                    _ => String::new(),
                }
            )
        }
        Cause::AcceptQueueOverflow => return accept_queue::reason(record),
        Cause::PrematureEof => return end_of_file::reason(record, flags),
        Cause::Other => format!(
            "unexplained: {} in {} (hook {}, origin {}, flags {:#x})",
            diagnosis.errno,
            record.state.map_or("unknown state", crate::record::names::state_name),
            event.signature.kind,
            event.signature.origin,
            event.signature.flags
        ),
        cause => return cause.summary().into(),
    };
    text.into()
}

/// Meaning of a TCP cause in another protocol, where TCP's wording does not fit.
fn of_another_protocol(record: &Record, cause: Cause) -> Option<&'static str> {
    if record.is_of(Protocol::Vsock) {
        return match cause {
            Cause::ConnectRefused => {
                Some("nobody listens at the vsock port, or the machine has gone")
            }
            Cause::ConnectTimeout => Some("the other machine did not answer the connect"),
            Cause::ResetByPeer => Some("the other machine has gone, or was moved to another host"),
            _ => None,
        };
    }
    let is_packets = [Protocol::Raw, Protocol::Icmp, Protocol::Sctp].map(|it| record.is_of(it));
    (cause == Cause::UnreachableReported && is_packets.contains(&true))
        .then_some("the network reported the peer unreachable; the next call fails")
}

/// The ICMP message, and its sender.
pub(super) fn icmp_clause(record: &Record) -> String {
    record
        .icmp
        .map_or_else(String::new, |icmp| format!(" ({})", icmp::describe(icmp, record.local.ip())))
}

/// Effect of SIGPIPE on the writer.
fn sigpipe_clause(record: &Record, diagnosis: Diagnosis) -> String {
    let process = record.process.as_ref().map(|process| (process.comm.as_str(), process.pid));
    sigpipe_words(diagnosis.sigpipe, process)
}

/// Effect of SIGPIPE on a process with this command name and id.
pub(super) fn sigpipe_words(sigpipe: Sigpipe, process: Option<(&str, u32)>) -> String {
    match sigpipe {
        Sigpipe::NotRaised | Sigpipe::None => String::new(),
        Sigpipe::Ignored => "; SIGPIPE is ignored".to_owned(),
        Sigpipe::Handled => "; its SIGPIPE handler runs".to_owned(),
        Sigpipe::Blocked => "; SIGPIPE stays pending, being blocked".to_owned(),
        Sigpipe::Discarded => "; SIGPIPE is discarded, being an init's".to_owned(),
        Sigpipe::Kills => process.map_or_else(
            || "; SIGPIPE KILLS THE PROCESS".to_owned(),
            |(comm, pid)| format!("; SIGPIPE KILLS {comm}[{pid}]"),
        ),
    }
}

fn call_name(call: Call) -> &'static str {
    call_words(call.id())
}

/// A call by its id, worded for a sentence.
pub(super) fn call_words(id: &str) -> &'static str {
    match id {
        "connect" => "connect",
        "read_or_write" => "read or write",
        "write" => "write",
        "read" => "read",
        "bind" => "bind",
        "listen" => "listen",
        "accept" => "accept",
        _ => "call",
    }
}

/// Milliseconds in readable form: `870 ms`, `3.1 s`, `15 min 39 s`.
pub(super) fn duration(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        _ => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1_000),
    }
}

#[cfg(test)]
mod tests {
    use socktrace_ebpf::{Detail, Event, TcpState, event::BY_LISTENER, facts::ABSENT};

    use super::*;
    use crate::record::tests::{record, reset_event};

    fn timer_event(state: TcpState, origin: Origin, flags: Flags) -> Event {
        let mut event = reset_event();
        event.signature.origin = origin as u8;
        event.signature.state = state as u8;
        event.signature.flags = flags.0;
        event.signature.errno = u16::try_from(libc::ETIMEDOUT).expect("small");
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
    fn a_give_up_has_its_numbers() {
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
    fn unacknowledged_data_differs_from_acknowledged() {
        let reset = |flags: Flags, retransmits| {
            let mut event =
                Event { retransmits, unacked_bytes: 16, elapsed_ms: 7_000, ..reset_event() };
            event.signature.flags = flags.0;
            reason(&record(event))
        };
        assert_eq!(
            reset(Flags::UNANSWERED.with(Flags::RETRANSMITTED), 4),
            "the peer acknowledged nothing after its SYN-ACK, not one of 16 bytes sent 5 times in 7.0 \
             s: its accept queue is probably full"
        );
        assert!(reset(Flags::UNANSWERED, 0).ends_with("(tcp_abort_on_overflow)"));
        assert!(!reset(Flags::empty(), 0).contains("queue"));
    }

    #[test]
    fn a_listener_that_closed_is_named_as_one() {
        let mut event = reset_event();
        let comm = *b"worker-old\0\0\0\0\0\0";
        let rst_reason = ABSENT ^ BY_LISTENER;
        event.set_detail(Detail::Peer { tgid: 90, comm, rst_reason });
        assert_eq!(
            reason(&record(event)),
            "the peer sent RST on a live connection; the listener of worker-old[90] closed with this \
             connection in its queue"
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
