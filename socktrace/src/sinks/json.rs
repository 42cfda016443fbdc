//! One JSON object per line. Field names are a public interface: fields are only ever added.

use std::{io, sync::Arc};

use jiff::Timestamp;
use serde::Serialize;
use socktrace_diagnosis::{
    Cause, Diagnosis, Errno, Finding, Severity, WhySent, advice::Namespace, delivered, domain_name,
    level_name, option_name, socket_protocol_name, type_name, why_sent,
};
use socktrace_ebpf::{EventKind, Flags, Protocol, SentReset, Signature, event::parts};

use super::{
    facts,
    object::{Word, Words, add_fields, add_object},
    reason::add_reason,
};
use crate::{
    owner::Service,
    record::{
        Process, Record,
        names::{protocol_name, role_name, signature_family_name, sigpipe_name, state_name},
    },
};

/// A line that reports lost events.
#[derive(Serialize)]
struct Lost {
    event: &'static str,
    count: u64,
}

/// Parts of the last line, as they were written: many lines in a row share them.
#[derive(Default)]
pub(crate) struct LastLine {
    /// The process, and its fields.
    process: Option<(Arc<Process>, Vec<u8>)>,
    /// The service, and its fields.
    service: Option<(Arc<Service>, Vec<u8>)>,
    /// The second of its timestamp, as text.
    second: Option<(i64, String)>,
    /// Buffer for its reason.
    reason: String,
    /// Network namespace of its socket, its process, and where commands about them must run.
    namespace: Option<(u32, Option<u32>, Namespace)>,
}

impl LastLine {
    fn process(&mut self, process: &Arc<Process>) -> io::Result<&[u8]> {
        if self.process.as_ref().is_none_or(|(last, _)| !Arc::ptr_eq(last, process)) {
            let mut fields = Vec::new();
            write_process(&mut fields, Some(process))?;
            self.process = Some((Arc::clone(process), fields));
        }
        Ok(self.process.as_ref().map(|(_, fields)| fields.as_slice()).unwrap_or_default())
    }

    pub(super) fn service(&mut self, service: &Arc<Service>) -> io::Result<&[u8]> {
        if self.service.as_ref().is_none_or(|(last, _)| last != service) {
            let mut fields = Vec::new();
            add_object(&mut fields, &**service)?;
            self.service = Some((Arc::clone(service), fields));
        }
        Ok(self.service.as_ref().map(|(_, fields)| fields.as_slice()).unwrap_or_default())
    }

    /// Place where commands about a record's socket must run.
    fn namespace(&mut self, record: &Record) -> Namespace {
        let netns = record.event.netns;
        let pid = record.process.as_ref().map(|process| process.pid);
        match self.namespace {
            Some((known_netns, known_pid, place)) if (known_netns, known_pid) == (netns, pid) => {
                place
            }
            _ => {
                let place = facts::namespace(netns, pid);
                self.namespace = Some((netns, pid, place));
                place
            }
        }
    }

    /// Writes a time after 1970, always with nanoseconds, so that times can be sorted as text.
    pub(super) fn write_time(&mut self, out: &mut Vec<u8>, time: Timestamp) -> io::Result<()> {
        let second = time.as_second();
        if self.second.as_ref().is_none_or(|(last, _)| *last != second) {
            let whole = Timestamp::from_second(second).map_err(io::Error::other)?;
            self.second = Some((second, whole.to_string().replace('Z', "")));
        }
        let text = self.second.as_ref().map(|(_, text)| text.as_str()).unwrap_or_default();
        out.extend_from_slice(text.as_bytes());
        // The digit in front preserves leading zeros.
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(1_000_000_000 + time.subsec_nanosecond().unsigned_abs());
        out.push(b'.');
        out.extend_from_slice(&digits.as_bytes()[1..]);
        out.push(b'Z');
        Ok(())
    }
}

/// Writes one event as a line.
pub(crate) fn write(out: &mut Vec<u8>, record: &Record, last: &mut LastLine) -> io::Result<()> {
    write_moment(out, record, event_name(record.finding, record.event.signature.kind), last)?;
    if let Some(found) = record.finding.diagnosis() {
        write_diagnosis(out, record, found, last.namespace(record))?;
    }
    if let Finding::ResetSent(reset) = record.finding {
        write_sent_reset(out, record, reset)?;
    }
    out.extend_from_slice(b"}\n");
    Ok(())
}

/// Name of an event: a failure, a call that returns an earlier one, or a retransmission.
pub(crate) fn event_name(finding: Finding, kind: u8) -> &'static str {
    match finding {
        Finding::Failure(_) => "failure",
        Finding::Delivery(found) if kind == EventKind::Accept as u8 => match found.cause {
            Cause::ResetBeforeAccept => "accepted_reset",
            _ => "accepted_failed",
        },
        Finding::Delivery(_) => "delivered",
        Finding::Undelivered(_) => "undelivered",
        Finding::Retransmission => "retransmit",
        Finding::ResetSent(_) => RESET_SENT,
    }
}

/// Name of the event in which this host sent an RST.
pub(super) const RESET_SENT: &str = "reset_sent";

/// Begins an object with the fields of every line about a connection. A retransmission timeout has
/// no others: it is not a failure, and so has no errno and no cause.
fn write_moment(
    out: &mut Vec<u8>,
    record: &Record,
    event: &'static str,
    last: &mut LastLine,
) -> io::Result<()> {
    let raw = &record.event;
    // Time in UTC, as in RFC 3339.
    out.extend_from_slice(b"{\"time\":\"");
    last.write_time(out, record.time)?;
    out.push(b'"');
    add_fields!(out, {
        // `failure`; `accepted_reset` and `accepted_failed` when an accept meets a reset, or
        // another failure, that was reported before; `delivered` when a write does; `undelivered`
        // when the socket is closed and no call had returned its errno; `retransmit`; `reset_sent`
        // when this host sends an RST.
        "event": Word(event),
        // `tcp`, `mptcp`, `udp` or `unix`, as the program opened the socket; `unknown` if a call's
        // descriptor leads to no socket. A subflow of an MPTCP socket is a TCP socket. For an errno
        // that was stored in a socket for its next call, and for a socket that could not be
        // created, also `vsock`, `netlink`, `packet`, `icmp`, `raw`, `sctp` and `other`.
        "protocol": Word(protocol_name(Protocol::try_from(raw.signature.protocol).ok())),
        // `ipv4` or `ipv6`; for a socket that could not be created also `unix`, `netlink` and so
        // on.
        "family": Word(signature_family_name(raw.signature)),
        // TCP state before the event.
        "state": Word(record.state.map_or("unknown", state_name)),
        // This end; null, like the other end, if there is no socket.
        "local": record.family.map(|_| record.local.ip()),
        "local_port": record.local.port(),
        "remote": record.family.map(|_| record.remote.ip()),
        "remote_port": record.remote.port(),
        // Path of a Unix socket, or its abstract name after `@`, with unprintable characters
        // escaped; null for a socket without a name, and for other kinds of sockets.
        "path": record.path.as_deref(),
        // Name of `remote`; null if unknown or not requested.
        "remote_name": record.remote_name.as_deref(),
        // This host's role in the connection, `client` or `server`; null if unknown.
        "role": record.role.map(|role| Word(role_name(role))),
        // Port of the listening side, if the role is known.
        "service_port": record.service_port(),
        // Name of the connection, the same at both ends, even across address translation; null if
        // unknown, as before the peer has answered and after the program has dissolved the
        // connection.
        "flow": record.flow,
    });
    match &record.process {
        Some(process) => out.extend_from_slice(last.process(process)?),
        None => write_process(out, None)?,
    }
    add_fields!(out, {
        // Real user id, even if the process has gone, or the socket has none.
        "uid": raw.has_user().then_some(raw.uid),
        // Shortest name of the process's service.
        "service": record.service.label(),
    });
    // That service in full, or the reason why none is known.
    out.extend_from_slice(last.service(&record.service)?);
    add_fields!(out, {
        // Inode of the network namespace.
        "netns": raw.netns,
        // Consecutive retransmissions of one segment.
        "retransmits": raw.retransmits,
        "rto_ms": record.rto_ms,
        // Since the first retransmission, or the first probe for data that waits to be sent.
        "elapsed_ms": raw.elapsed_ms,
        "unacked_bytes": raw.unacked_bytes,
    });
    last.reason.clear();
    add_reason(&mut last.reason, record);
    add_fields!(out, { "reason": last.reason, });
    Ok(())
}

/// Adds the process that was operating on the socket; otherwise the one that waits for it, or else
/// the one that opened it; null if unknown.
fn write_process(out: &mut Vec<u8>, process: Option<&Arc<Process>>) -> io::Result<()> {
    add_fields!(out, process => process {
        "pid": process.pid,
        // How it was found: `caller`, it was operating on the socket; `waiter`, it was waiting for
        // it; `holder`, it had opened or used it and still held it; `opener`, it had opened or used
        // it, and whether it still held it is unknown.
        "owner_source": Word(process.source),
        // Command name of the thread, and of the process.
        "comm": process.comm,
        "process_comm": process.leader_comm,
        // Path of the executable; only the last part if the process has gone, or may not be
        // inspected.
        "exe": process.exe.as_deref(),
    });
    Ok(())
}

/// Adds the meaning of a failure, or of a flood of them.
pub(super) fn write_meaning(
    out: &mut Vec<u8>,
    diagnosis: Diagnosis,
    signature: Signature,
) -> io::Result<()> {
    add_fields!(out, {
        // Name of the errno that the program gets, and its number on this machine.
        "errno": diagnosis.errno,
        "errno_number": diagnosis.errno.number(),
        "cause": Word(diagnosis.cause.id()),
        "direction": Word(diagnosis.direction.id()),
        // Call that delivers the errno.
        "call": Word(diagnosis.call.id()),
        // Whether a call has returned the errno: true if one was seen to; false if the errno was
        // still in the socket when that was closed, or nobody holds the socket; null while it waits
        // for a call. Reads and `SO_ERROR` are not watched.
        "delivered": delivered(signature),
        "severity": Word(diagnosis.severity.id()),
    });
    Ok(())
}

/// Adds the fields that only a line about a sent RST has.
fn write_sent_reset(out: &mut Vec<u8>, record: &Record, reset: SentReset) -> io::Result<()> {
    let WhySent { id, answered_by, .. } = why_sent(reset);
    add_fields!(out, {
        "severity": Word(Severity::Expected.id()),
        // Why it was sent, even if the kernel has no name for that.
        "sent_because": Word(id),
        // Kind of socket that answered a segment with it: `full`, `time_wait`, `request`,
        // `listener` or `none`; null if a socket sent it of its own accord.
        "answered_by": answered_by.map(Word),
        // The kernel's name for the reason.
        "rst_reason": record.sent_reason.as_deref(),
        "unread_bytes": record.event.unread_bytes,
    });
    add_fields!(out, record.rst => rst {
        "rst_seq": rst.seq,
        "rst_ack": rst.ack,
    });
    Ok(())
}

/// Adds the fields that only a line about a failure has.
fn write_diagnosis(
    out: &mut Vec<u8>,
    record: &Record,
    diagnosis: Diagnosis,
    namespace: Namespace,
) -> io::Result<()> {
    let raw = &record.event;
    let is_option = diagnosis.cause == Cause::SockoptRejected;
    let is_later = raw.first_errno != 0;
    let flags = Flags(raw.signature.flags);
    let flags = Flags::NAMES.iter().filter(|(flag, _)| flags.has(*flag));
    write_meaning(out, diagnosis, raw.signature)?;
    add_fields!(out, {
        "tid": record.process.as_ref().map(|process| process.tid),
        // Unanswered window or keepalive probes.
        "probes": raw.probes,
        // Since the peer's last segment.
        "silent_ms": record.silent_ms,
        // `TCP_USER_TIMEOUT`, 0 when unset.
        "user_timeout_ms": raw.user_timeout_ms,
        // `SO_SNDTIMEO`, if it ended the call.
        "send_timeout_ms": record.send_timeout_ms,
        "unsent_bytes": raw.unsent_bytes,
        // Received, but not read by the program.
        "unread_bytes": raw.unread_bytes,
        // Whether a segment arrived although full-sized ones before it did not.
        "full_sized_lost": raw.parts & parts::FULL_SIZED_LOST != 0,
        // Whether the socket has a key for TCP MD5 signatures.
        "md5_key": raw.parts & parts::MD5_KEY != 0,
        // Number of transmissions by timers that failed on this host since one last left it, and
        // the errno of the latest.
        "send_tries": (raw.send_tries != 0).then_some(raw.send_tries),
        "send_errno": record.send_errno(),
        // What SIGPIPE does to the process; null unless a write failed with EPIPE.
        "sigpipe": sigpipe_name(diagnosis.sigpipe).map(Word),
    });
    // On a later call, the errno of the socket's first failure, and milliseconds since then.
    add_fields!(out, is_later.then_some(raw) => raw {
        "first_errno": Errno(raw.first_errno),
        "since_first_ms": raw.since_first_ns / 1_000_000,
    });
    // ICMP message behind the errno, and its sender.
    add_fields!(out, record.icmp => icmp {
        "icmp_type": icmp.kind,
        "icmp_code": icmp.code,
        "router": icmp.router,
    });
    // Level and name of a rejected socket option.
    add_fields!(out, is_option.then_some(record.arguments) => call {
        "level": level_name(call.level),
        "option": option_name(call.level, call.option),
    });
    // Arguments for a socket that could not be created, as the program passed them.
    add_fields!(out, record.socket_call() => call {
        "socket_family": domain_name(call.family),
        "socket_type": type_name(call.socket_type),
        "socket_protocol": socket_protocol_name(call.family, call.protocol),
    });
    // Number of handshake packets that the listener has dropped since the last line about it.
    add_fields!(out, record.accept_queue() => queue {
        "dropped": queue.dropped,
    });
    // Number of connections waiting to be accepted, and the limit; one more than the limit may
    // wait.
    add_fields!(out, record.queue() => queue {
        "accept_queue": queue.0,
        "accept_queue_limit": queue.1,
    });
    // Number of datagrams waiting for their receiver, and the limit; one more than the limit may
    // wait.
    add_fields!(out, record.receive_queue() => queue {
        "receive_queue": queue.0,
        "receive_queue_limit": queue.1,
    });
    // Process on this host that sent the RST, closed the other end of a Unix socket, or had a full
    // queue.
    add_fields!(out, record.peer() => peer {
        "peer_pid": peer.0,
        "peer_comm": peer.1,
    });
    add_fields!(out, {
        // The kernel's name of the reason for the RST.
        "rst_reason": record.sender.as_ref().and_then(|sender| sender.reason.as_deref()),
        // Shortest name of that process's service, for Unix sockets.
        "peer_service": record.peer_service.as_ref().and_then(|service| service.label()),
    });
    // Sequence number and acknowledgement in the header of the RST; before Linux 5.11 the numbers
    // that this end expected.
    add_fields!(out, record.rst => rst {
        "rst_seq": rst.seq,
        "rst_ack": rst.ack,
    });
    // Remaining TTL, or hop limit, of the RST and of the segment that completed the handshake.
    add_fields!(out, record.hops => hops {
        "rst_ttl": hops.rst,
        "handshake_ttl": hops.handshake,
    });
    // Process that had the kernel kill the socket, for example by `ss -K`.
    add_fields!(out, &record.killer => killer {
        "killer_pid": killer.pid,
        "killer_comm": &*killer.comm,
    });
    add_fields!(out, {
        // Descriptor of the call, if it leads to no socket.
        "fd": record.arguments.fd,
        // Further observations of the kernel programs.
        "flags": Words(flags.map(|(_, name)| *name)),
        // What to check first, with commands that show something in this case.
        "advice": facts::advice_on(
            record.finding,
            diagnosis,
            &facts::of(record, namespace, diagnosis.cause),
        ),
    });
    Ok(())
}

/// Reports events that were lost on the way here.
pub(crate) fn lost(out: &mut Vec<u8>, count: u64) -> io::Result<()> {
    serde_json::to_writer(&mut *out, &Lost { event: "lost", count })?;
    out.push(b'\n');
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::record::tests::{record, reset_event};

    #[test]
    fn a_line_is_one_object_with_the_documented_names() {
        let mut out = Vec::new();
        let mut record = record(reset_event());
        record.service = Arc::new(Service::from_cgroup_path("/system.slice/web.service"));
        write(&mut out, &record, &mut LastLine::default()).expect("memory");
        let text = String::from_utf8(out).expect("text");
        assert_eq!(text.matches('\n').count(), 1);
        let line: Value = serde_json::from_str(&text).expect("JSON");
        for (name, value) in [
            ("event", json!("failure")),
            ("errno", json!("ECONNRESET")),
            ("errno_number", json!(nix::libc::ECONNRESET)),
            ("cause", json!("reset_by_peer")),
            ("direction", json!("peer")),
            ("call", json!("read_or_write")),
            ("protocol", json!("tcp")),
            ("family", json!("ipv4")),
            ("state", json!("ESTABLISHED")),
            ("local", json!("10.0.0.7")),
            ("remote_port", json!(50_412)),
            ("pid", json!(81)),
            ("comm", json!("nginx")),
            ("uid", json!(33)),
            ("service", json!("web.service")),
            ("unit", json!("web.service")),
            ("cgroup", json!("/system.slice/web.service")),
            ("container", json!(null)),
            ("pod", json!(null)),
            ("owner_unknown", json!(null)),
        ] {
            assert_eq!(line[name], value, "{name}");
        }
    }

    #[test]
    fn times_have_nine_decimals() {
        let mut last = LastLine::default();
        for (second, nanosecond) in [
            (0, 0),
            (1_700_000_000, 1),
            (1_700_000_000, 120_000_000),
            (1_700_000_000, 0),
            (1_700_000_001, 999_999_999),
            (1_700_000_000, 10_203_040),
        ] {
            let time = Timestamp::new(second, nanosecond).expect("a time");
            let mut out = Vec::new();
            last.write_time(&mut out, time).expect("memory");
            let text = String::from_utf8(out).expect("text");
            assert_eq!(text, format!("{time:.9}"));
        }
    }

    #[test]
    fn lost_events_are_reported_in_the_stream() {
        let mut out = Vec::new();
        lost(&mut out, 7).expect("memory");
        assert_eq!(String::from_utf8(out).expect("text"), "{\"event\":\"lost\",\"count\":7}\n");
    }
}
