//! One JSON object a line. Field names are a public interface: they are only ever added to.

use std::{
    io::{self, Write as _},
    sync::Arc,
};

use serde::Serialize;
use socktrace_diagnosis::{
    Cause, Diagnosis, Errno, Finding, domain_name, level_name, option_name, socket_protocol_name,
    type_name,
};
use socktrace_ebpf::{EventKind, Flags, Protocol};

use super::{
    object::{add_fields, add_object},
    reason::reason,
};
use crate::{
    owner::Service,
    record::{
        Record,
        names::{protocol_name, role_name, signature_family_name, sigpipe_name, state_name},
    },
};

/// A line that tells of lost events.
#[derive(Serialize)]
struct Lost {
    event: &'static str,
    count: u64,
}

/// The service of the last line, and its fields: many lines in a row are about the same.
#[derive(Default)]
pub(crate) struct LastService(Option<(Arc<Service>, Vec<u8>)>);

impl LastService {
    fn fields(&mut self, service: &Arc<Service>) -> io::Result<&[u8]> {
        if self.0.as_ref().is_none_or(|(last, _)| last != service) {
            let mut fields = Vec::new();
            add_object(&mut fields, &**service)?;
            self.0 = Some((Arc::clone(service), fields));
        }
        Ok(self.0.as_ref().map(|(_, fields)| fields.as_slice()).unwrap_or_default())
    }
}

/// Writes one event as a line.
pub(crate) fn write(out: &mut Vec<u8>, record: &Record, last: &mut LastService) -> io::Result<()> {
    match record.finding {
        Finding::Failure(found) => {
            write_moment(out, record, "failure", last)?;
            write_diagnosis(out, record, found)?;
        }
        Finding::Delivery(found) => {
            let accepted = record.event.signature.kind == EventKind::Accept as u8;
            let event = if accepted { "accepted_reset" } else { "delivered" };
            write_moment(out, record, event, last)?;
            write_diagnosis(out, record, found)?;
        }
        Finding::Retransmission => write_moment(out, record, "retransmit", last)?,
    }
    out.extend_from_slice(b"}\n");
    Ok(())
}

/// Begins an object with what every line about a connection says; all there is for a retransmission
/// timeout, which is no failure and so has no errno and no cause.
fn write_moment(
    out: &mut Vec<u8>,
    record: &Record,
    event: &'static str,
    last: &mut LastService,
) -> io::Result<()> {
    let raw = &record.event;
    let process = record.process.as_ref();
    // When, in UTC, RFC 3339.
    write!(out, "{{\"time\":\"{}\"", record.time)?;
    add_fields!(out, {
        // `failure`; `accepted_reset` and `delivered` when an accept or a write meets a failure that
        // was told before; `retransmit`.
        "event": event,
        // `tcp` or `mptcp`, as the program opened the socket; `unknown` where a call's descriptor leads
        // to no socket. A subflow of an MPTCP socket is a socket of TCP. Of a socket that could not be
        // made also `udp`, `unix`, `netlink`, `packet`, `vsock`, `icmp`, `raw`, `sctp` and `other`.
        "protocol": protocol_name(Protocol::try_from(raw.signature.protocol).ok()),
        // `ipv4` or `ipv6`; of a socket that could not be made also `unix`, `netlink` and so on.
        "family": signature_family_name(raw.signature),
        // TCP state before the event.
        "state": record.state.map_or("unknown", state_name),
        // This end; null, as the other one, where there is no socket.
        "local": record.family.map(|_| record.local.ip()),
        "local_port": record.local.port(),
        "remote": record.family.map(|_| record.remote.ip()),
        "remote_port": record.remote.port(),
        // Name of `remote`; null if unknown or not asked for.
        "remote_name": record.remote_name.as_deref(),
        // What this host is in the connection, `client` or `server`; null if unknown.
        "role": record.role.map(role_name),
        // Port of the listening side, where the role is known.
        "service_port": record.service_port(),
        // Process that was operating on the socket, else the one that waits for it, else the one
        // that opened it; null if unknown.
        "pid": process.map(|process| process.pid),
        // How it is known: `caller`, it was operating on the socket; `waiter`, it was waiting for
        // it; `holder`, it had opened or used it and still had it; `opener`, it had opened or used
        // it, and whether it still had it is not known.
        "owner_source": process.map(|process| process.source),
        // Command name of the thread, and of the process.
        "comm": process.map(|process| process.comm.as_str()),
        "process_comm": process.and_then(|process| process.leader_comm.as_deref()),
        // Path of the executable; only the last part of it where the process has gone, or may not
        // be asked.
        "exe": process.and_then(|process| process.exe.as_deref()),
        // Its real user; also of a process that has gone.
        "uid": (raw.tgid != 0).then_some(raw.uid),
        // The shortest name of the service it belongs to.
        "service": record.service.label(),
    });
    // That service in full, or why none is known.
    out.extend_from_slice(last.fields(&record.service)?);
    add_fields!(out, {
        // Inode of the network namespace.
        "netns": raw.netns,
        // Consecutive retransmissions of one segment.
        "retransmits": raw.retransmits,
        "rto_ms": record.rto_ms,
        // Since the first retransmission.
        "elapsed_ms": raw.elapsed_ms,
        "unacked_bytes": raw.unacked_bytes,
        "reason": reason(record),
    });
    Ok(())
}

/// Goes on with what only a line about a failure says.
fn write_diagnosis(out: &mut Vec<u8>, record: &Record, diagnosis: Diagnosis) -> io::Result<()> {
    let raw = &record.event;
    let sender = record.sender.as_ref();
    let is_option = diagnosis.cause == Cause::SockoptRejected;
    let call = record.socket_call();
    let is_later = raw.first_errno != 0;
    let flags = Flags(raw.signature.flags);
    let flags = Flags::NAMES.iter().filter(|(flag, _)| flags.has(*flag));
    add_fields!(out, {
        // Name of the errno the program gets, and its number on this machine.
        "errno": diagnosis.errno,
        "errno_number": diagnosis.errno.number(),
        "cause": diagnosis.cause.id(),
        "direction": diagnosis.direction.id(),
        // Which call delivers the errno.
        "call": diagnosis.call.id(),
        "severity": diagnosis.severity.id(),
        "tid": record.process.as_ref().map(|process| process.tid),
        // Window or keepalive probes without an answer.
        "probes": raw.probes,
        // Since the peer's last acknowledgement.
        "silent_ms": record.silent_ms,
        // `TCP_USER_TIMEOUT`, 0 when unset.
        "user_timeout_ms": raw.user_timeout_ms,
        "unsent_bytes": raw.unsent_bytes,
        // What becomes of the process by SIGPIPE; null unless a write failed with EPIPE.
        "sigpipe": sigpipe_name(diagnosis.sigpipe),
        // Errno of the socket's first failure, on a later call, and milliseconds since that failure.
        "first_errno": is_later.then_some(Errno(raw.first_errno)),
        "since_first_ms": is_later.then_some(raw.since_first_ns / 1_000_000),
        // The ICMP message behind the errno, and who sent it.
        "icmp_type": record.icmp.map(|icmp| icmp.kind),
        "icmp_code": record.icmp.map(|icmp| icmp.code),
        "router": record.icmp.map(|icmp| icmp.router),
        // Level and name of a rejected socket option.
        "level": is_option.then(|| level_name(raw.level)),
        "option": is_option.then(|| option_name(raw.level, raw.option)),
        // What a socket was to be that could not be made, as the program wrote it.
        "socket_family": call.map(|call| domain_name(call.family)),
        "socket_type": call.map(|call| type_name(call.socket_type)),
        "socket_protocol": call.map(|call| socket_protocol_name(call.family, call.protocol)),
        // Process of this host that sent the RST, and the kernel's word for why.
        "peer_pid": sender.map(|sender| sender.pid),
        "peer_comm": sender.map(|sender| sender.comm.as_str()),
        "rst_reason": sender.and_then(|sender| sender.reason.as_deref()),
        // Process that had the kernel kill the socket, as by ss -K.
        "killer_pid": record.killer.as_ref().map(|killer| killer.pid),
        "killer_comm": record.killer.as_ref().map(|killer| killer.comm.as_str()),
        // Descriptor of the call, where the kernel names no socket.
        "fd": (raw.fd >= 0).then_some(raw.fd),
        // What else the kernel side saw.
        "flags": flags.map(|(_, name)| *name).collect::<Vec<_>>(),
        "advice": diagnosis.cause.advice(),
    });
    Ok(())
}

/// Tells that events were lost on the way here.
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
        write(&mut out, &record, &mut LastService::default()).expect("memory");
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
    fn lost_events_are_told_in_the_stream() {
        let mut out = Vec::new();
        lost(&mut out, 7).expect("memory");
        assert_eq!(String::from_utf8(out).expect("text"), "{\"event\":\"lost\",\"count\":7}\n");
    }
}
