//! One JSON object a line. Field names are a public interface: they are only ever added to.

use std::{
    borrow::Cow,
    io::{self, Write},
    net::IpAddr,
};

use serde::Serialize;
use socktrace_ebpf::{Flags, Hook};

use super::{
    Record,
    names::{family_name, role_name, sigpipe_name, state_name},
    reason::reason,
};
use crate::{
    diagnosis::{Cause, Diagnosis, Errno, Finding, level_name, option_name},
    owner::Service,
};

/// What every line about a connection says; all there is for a retransmission timeout, which is no
/// failure and so has no errno and no cause.
#[derive(Serialize)]
struct Moment<'a> {
    /// When, in UTC, RFC 3339.
    time: String,
    /// `failure`; `accepted_reset` and `delivered` when an accept or a write meets a failure that
    /// was told before; `retransmit`.
    event: &'static str,
    family: &'static str,
    /// TCP state before the event.
    state: &'static str,
    /// This end; null, as the other one, where a call's descriptor leads to no socket.
    local: Option<IpAddr>,
    local_port: u16,
    remote: Option<IpAddr>,
    remote_port: u16,
    /// Name of `remote`; null if unknown or not asked for.
    remote_name: Option<&'a str>,
    /// What this host is in the connection, `client` or `server`; null if unknown.
    role: Option<&'static str>,
    /// Port of the listening side, where the role is known.
    service_port: Option<u16>,
    /// Process that was operating on the socket, else the one that waits for it, else the one that
    /// opened it; null if unknown.
    pid: Option<u32>,
    /// How it is known: `caller`, it was operating on the socket; `waiter`, it was waiting for it;
    /// `holder`, it had opened or used it and still had it; `opener`, it had opened or used it, and
    /// whether it still had it is not known.
    owner_source: Option<&'static str>,
    /// Command name of the thread, and of the process.
    comm: Option<&'a str>,
    process_comm: Option<&'a str>,
    /// Path of the executable; only the last part of it where the process has gone, or may not be
    /// asked.
    exe: Option<&'a str>,
    /// Its real user.
    uid: Option<u32>,
    /// The shortest name of the service it belongs to.
    service: Option<Cow<'a, str>>,
    /// That service in full, or why none is known.
    #[serde(flatten)]
    owner: &'a Service,
    /// Inode of the network namespace.
    netns: u32,
    /// Consecutive retransmissions of one segment.
    retransmits: u8,
    rto_ms: u64,
    /// Since the first retransmission.
    elapsed_ms: u32,
    unacked_bytes: u32,
    reason: String,
}

impl<'a> Moment<'a> {
    fn new(record: &'a Record, event: &'static str) -> Self {
        let raw = &record.event;
        let process = record.process.as_ref();
        Self {
            time: record.time.to_string(),
            event,
            family: family_name(record.family),
            state: record.state.map_or("unknown", state_name),
            local: record.family.map(|_| record.local.ip()),
            local_port: record.local.port(),
            remote: record.family.map(|_| record.remote.ip()),
            remote_port: record.remote.port(),
            remote_name: record.remote_name.as_deref(),
            role: record.role.map(role_name),
            service_port: record.service_port(),
            pid: process.map(|process| process.pid),
            owner_source: process.map(|process| process.source),
            comm: process.map(|process| process.comm.as_str()),
            process_comm: process.and_then(|process| process.leader_comm.as_deref()),
            exe: process.and_then(|process| process.exe.as_deref()),
            uid: process.map(|process| process.uid),
            service: record.service.label(),
            owner: &record.service,
            netns: raw.netns,
            retransmits: raw.retransmits,
            rto_ms: record.rto_ms,
            elapsed_ms: raw.elapsed_ms,
            unacked_bytes: raw.unacked_bytes,
            reason: reason(record),
        }
    }
}

/// A line about a failure.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    moment: Moment<'a>,
    /// Name of the errno the program gets.
    errno: String,
    /// Its number on this machine.
    errno_number: u16,
    cause: &'static str,
    direction: &'static str,
    /// Which call delivers the errno.
    call: &'static str,
    severity: &'static str,
    tid: Option<u32>,
    /// Window or keepalive probes without an answer.
    probes: u8,
    /// Since the peer's last acknowledgement.
    silent_ms: u64,
    /// `TCP_USER_TIMEOUT`, 0 when unset.
    user_timeout_ms: u32,
    unsent_bytes: u32,
    /// What becomes of the process by SIGPIPE; null unless a write failed with EPIPE.
    sigpipe: Option<&'static str>,
    /// Errno of the socket's first failure, on a later call.
    first_errno: Option<String>,
    /// Milliseconds since that failure.
    since_first_ms: Option<u64>,
    /// The ICMP message behind the errno, and who sent it.
    icmp_type: Option<u8>,
    icmp_code: Option<u8>,
    router: Option<IpAddr>,
    /// Level and name of a rejected socket option.
    level: Option<String>,
    option: Option<String>,
    /// Process of this host that sent the RST, and the kernel's word for why.
    peer_pid: Option<u32>,
    peer_comm: Option<&'a str>,
    rst_reason: Option<&'a str>,
    /// Descriptor of the call, where the kernel names no socket.
    fd: Option<i32>,
    /// What else the kernel side saw.
    flags: Vec<&'static str>,
    advice: &'static str,
}

/// A line that tells of lost events.
#[derive(Serialize)]
struct Lost {
    event: &'static str,
    count: u64,
}

/// Writes one event as a line.
pub(crate) fn write(out: &mut impl Write, record: &Record) -> io::Result<()> {
    match record.finding {
        Finding::Failure(found) => write_diagnosis(out, record, "failure", found),
        Finding::Delivery(found) => {
            let accepted = record.event.signature.hook == Hook::InetCskAccept as u8;
            let event = if accepted { "accepted_reset" } else { "delivered" };
            write_diagnosis(out, record, event, found)
        }
        Finding::Retransmission => write_line(out, &Moment::new(record, "retransmit")),
    }
}

fn write_diagnosis(
    out: &mut impl Write,
    record: &Record,
    event: &'static str,
    diagnosis: Diagnosis,
) -> io::Result<()> {
    let raw = &record.event;
    let sender = record.sender.as_ref();
    let option = (diagnosis.cause == Cause::SockoptRejected)
        .then(|| (level_name(raw.level), option_name(raw.level, raw.option)));
    let flags = Flags(raw.signature.flags);
    let line = Line {
        moment: Moment::new(record, event),
        errno: diagnosis.errno.name(),
        errno_number: diagnosis.errno.number(),
        cause: diagnosis.cause.id(),
        direction: diagnosis.direction.id(),
        call: diagnosis.call.id(),
        severity: diagnosis.severity.id(),
        tid: record.process.as_ref().map(|process| process.tid),
        probes: raw.probes,
        silent_ms: record.silent_ms,
        user_timeout_ms: raw.user_timeout_ms,
        unsent_bytes: raw.unsent_bytes,
        sigpipe: sigpipe_name(diagnosis.sigpipe),
        first_errno: (raw.first_errno != 0).then(|| Errno(raw.first_errno).name()),
        since_first_ms: (raw.first_errno != 0).then_some(raw.since_first_ns / 1_000_000),
        icmp_type: record.icmp.map(|icmp| icmp.kind),
        icmp_code: record.icmp.map(|icmp| icmp.code),
        router: record.icmp.map(|icmp| icmp.router),
        level: option.as_ref().map(|(level, _)| level.clone()),
        option: option.map(|(_, option)| option),
        peer_pid: sender.map(|sender| sender.pid),
        peer_comm: sender.map(|sender| sender.comm.as_str()),
        rst_reason: sender.and_then(|sender| sender.reason.as_deref()),
        fd: (raw.fd >= 0).then_some(raw.fd),
        flags: Flags::NAMES
            .iter()
            .filter(|(flag, _)| flags.has(*flag))
            .map(|(_, name)| *name)
            .collect(),
        advice: diagnosis.cause.advice(),
    };
    write_line(out, &line)
}

/// Tells that events were lost on the way here.
pub(crate) fn lost(out: &mut impl Write, count: u64) -> io::Result<()> {
    write_line(out, &Lost { event: "lost", count })
}

fn write_line(out: &mut impl Write, line: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::output::record::tests::{record, reset_event};

    #[test]
    fn a_line_is_one_object_with_the_documented_names() {
        let mut out = Vec::new();
        let mut record = record(reset_event());
        record.service = Arc::new(Service::from_cgroup_path("/system.slice/web.service"));
        write(&mut out, &record).expect("memory");
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
