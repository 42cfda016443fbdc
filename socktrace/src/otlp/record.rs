//! Events as log records, named by OpenTelemetry's semantic conventions.

use std::{path::Path, time::SystemTime};

use jiff::Timestamp;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, SeverityNumber};
use socktrace_diagnosis::{Diagnosis, Finding, Severity, delivered, why_sent};
use socktrace_ebpf::{Protocol, Role, Signature, Sigpipe, TcpState};

use super::{
    attributes::{Attributes, text},
    redact::redact,
};
use crate::{
    record::{
        Flood, Record,
        names::{protocol_name, role_name, signature_family_name, sigpipe_name},
    },
    sinks::{event_name, flood_reason, reason},
};

/// Event name for lost events.
const EVENTS_LOST: &str = "socktrace.events.lost";

/// Name of the log record for an event. `None` if the event is not logged: retransmissions are only
/// counted.
fn record_name(event: &str) -> Option<&'static str> {
    Some(match event {
        "failure" => "socktrace.socket.failure",
        "reset_sent" => "socktrace.reset.sent",
        "delivered" => "socktrace.socket.delivered",
        "undelivered" => "socktrace.socket.undelivered",
        "accepted_reset" => "socktrace.accept.reset",
        "accepted_failed" => "socktrace.accept.failed",
        _ => return None,
    })
}

/// Converts an event to a log record. `is_redacted` omits addresses.
pub(super) fn of_record(record: &Record, is_redacted: bool) -> Option<LogRecord> {
    let raw = &record.event;
    let name = record_name(event_name(record.finding, raw.signature.kind))?;
    let mut attributes = Attributes::default();
    add_meaning(&mut attributes, record.finding, raw.signature);
    add_socket(&mut attributes, raw.signature, record.state, record.role);
    if record.family.is_some() {
        add_ends(&mut attributes, record, is_redacted);
    }
    if !is_redacted {
        attributes.known("socktrace.path", record.path.as_deref());
    }
    attributes.known("socktrace.flow", record.flow.map(|flow| flow.to_string()));
    if let Some(rst) = record.rst {
        attributes.number("socktrace.rst.seq", rst.seq);
        attributes.number("socktrace.rst.ack", rst.ack);
    }
    let sent_because = match record.finding {
        Finding::ResetSent(reset) => Some(why_sent(reset).id),
        _ => record.sender.as_ref().and_then(|sender| sender.reason.as_deref()),
    };
    attributes.known("socktrace.rst.reason", sent_because);
    if let Some(icmp) = &record.icmp {
        attributes.number("socktrace.icmp.type", icmp.kind);
        attributes.number("socktrace.icmp.code", icmp.code);
        if !is_redacted {
            attributes.text("socktrace.icmp.router", icmp.router.to_string());
        }
    }
    attributes.number("socktrace.netns", raw.netns);
    add_process(&mut attributes, record);
    let mut body = reason(record);
    if is_redacted {
        body = redact(body, record);
    }
    Some(log_record(name, record.time, severity(record.finding), body, attributes))
}

/// Converts a flood to a log record. Details of its individual events are not known.
pub(super) fn of_flood(flood: &Flood, is_redacted: bool) -> Option<LogRecord> {
    let name = record_name(event_name(flood.finding, flood.signature.kind))?;
    let mut attributes = Attributes::default();
    attributes.count("socktrace.repeated", flood.count);
    attributes.count("socktrace.repeated.ms", flood.span_ms);
    add_meaning(&mut attributes, flood.finding, flood.signature);
    add_socket(&mut attributes, flood.signature, flood.state, flood.role);
    if !is_redacted {
        attributes.known("network.peer.address", flood.remote.map(|remote| remote.to_string()));
    }
    let server_port = flood.role.and(flood.service_port);
    attributes.known_number("server.port", server_port);
    if let Some(process) = &flood.process {
        attributes.number("process.pid", process.pid);
        attributes.number("process.real_user.id", process.uid);
        attributes.text("thread.name", process.comm.as_str());
        add_executable(&mut attributes, process.exe.as_deref(), None);
    }
    attributes.known("socktrace.systemd.unit", flood.service.unit.as_deref());
    attributes.known("process.linux.cgroup", flood.service.cgroup.as_deref());
    let severity = severity(flood.finding);
    Some(log_record(name, flood.time, severity, flood_reason(flood), attributes))
}

/// Log record that reports a number of lost events.
pub(super) fn of_lost(count: u64, why: &str) -> LogRecord {
    let mut attributes = Attributes::default();
    attributes.count("socktrace.lost.count", count);
    attributes.text("socktrace.lost.reason", why);
    let body = format!("{count} events are missing here; they are counted in the metrics");
    log_record(EVENTS_LOST, Timestamp::now(), SeverityNumber::Warn, body, attributes)
}

fn log_record(
    name: &str,
    time: Timestamp,
    severity: SeverityNumber,
    body: String,
    Attributes(attributes): Attributes,
) -> LogRecord {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    LogRecord {
        time_unix_nano: u64::try_from(time.as_nanosecond()).unwrap_or(0),
        observed_time_unix_nano: u64::try_from(now.as_nanos()).unwrap_or(0),
        severity_number: severity as i32,
        severity_text: severity_text(severity).to_owned(),
        body: Some(text(body)),
        attributes,
        event_name: name.to_owned(),
        ..LogRecord::default()
    }
}

fn severity(finding: Finding) -> SeverityNumber {
    let Some(found) = finding.diagnosis() else { return SeverityNumber::Info };
    if found.sigpipe == Sigpipe::Kills {
        return SeverityNumber::Fatal;
    }
    match found.severity {
        Severity::Expected => SeverityNumber::Info,
        Severity::Notable => SeverityNumber::Warn,
        Severity::Failure => SeverityNumber::Error,
    }
}

const fn severity_text(severity: SeverityNumber) -> &'static str {
    match severity {
        SeverityNumber::Fatal => "FATAL",
        SeverityNumber::Error => "ERROR",
        SeverityNumber::Warn => "WARN",
        _ => "INFO",
    }
}

/// Adds the diagnosis.
fn add_meaning(attributes: &mut Attributes, finding: Finding, signature: Signature) {
    let Some(found) = finding.diagnosis() else { return };
    let Diagnosis { cause, errno, direction, call, severity, sigpipe } = found;
    attributes.text("error.type", errno.text());
    attributes.text("socktrace.cause", cause.id());
    attributes.text("socktrace.direction", direction.id());
    attributes.text("socktrace.call", call.id());
    attributes.text("socktrace.severity", severity.id());
    if let Some(is_delivered) = delivered(signature) {
        attributes.flag("socktrace.delivered", is_delivered);
    }
    attributes.known("socktrace.sigpipe", sigpipe_name(sigpipe));
}

/// Adds the kind of socket.
fn add_socket(
    attributes: &mut Attributes,
    signature: Signature,
    state: Option<TcpState>,
    role: Option<Role>,
) {
    let protocol = Protocol::try_from(signature.protocol).ok();
    attributes.text("network.transport", protocol_name(protocol));
    let family = signature_family_name(signature);
    if ["ipv4", "ipv6"].contains(&family) {
        attributes.text("network.type", family);
    }
    if matches!(protocol, Some(Protocol::Tcp | Protocol::Mptcp)) {
        attributes.known("network.connection.state", state.map(connection_state));
    }
    attributes.known("socktrace.role", role.map(role_name));
}

/// The TCP state in the semantic conventions' spelling.
const fn connection_state(state: TcpState) -> &'static str {
    match state {
        TcpState::Established => "established",
        TcpState::SynSent => "syn_sent",
        TcpState::SynRecv | TcpState::NewSynRecv => "syn_received",
        TcpState::FinWait1 => "fin_wait_1",
        TcpState::FinWait2 => "fin_wait_2",
        TcpState::TimeWait => "time_wait",
        TcpState::Close => "closed",
        TcpState::CloseWait => "close_wait",
        TcpState::LastAck => "last_ack",
        TcpState::Listen => "listen",
        TcpState::Closing => "closing",
    }
}

/// Adds addresses and ports, as local and peer and, if the role is known, as client and server.
fn add_ends(attributes: &mut Attributes, record: &Record, is_redacted: bool) {
    let ends = match record.role {
        Some(Role::Client) => [(record.local, "client"), (record.remote, "server")],
        Some(Role::Server) => [(record.remote, "client"), (record.local, "server")],
        None => [(record.local, ""), (record.remote, "")],
    };
    let places = [(record.local, "network.local"), (record.remote, "network.peer")];
    for (end, name) in places.into_iter().chain(ends).filter(|(_, name)| !name.is_empty()) {
        if !is_redacted {
            attributes.text(&format!("{name}.address"), end.ip().to_string());
        }
        if end.port() != 0 {
            attributes.number(&format!("{name}.port"), end.port());
        }
    }
}

/// Adds the socket's owner, and other processes involved.
fn add_process(attributes: &mut Attributes, record: &Record) {
    if let Some(process) = &record.process {
        attributes.number("process.pid", process.pid);
        attributes.number("thread.id", process.tid);
        attributes.text("thread.name", process.comm.as_str());
        add_executable(attributes, process.exe.as_deref(), process.leader_comm.as_deref());
        attributes.text("socktrace.owner.source", process.source);
    }
    if record.event.has_user() {
        attributes.number("process.real_user.id", record.event.uid);
    }
    attributes.known("process.linux.cgroup", record.service.cgroup.as_deref());
    attributes.known("socktrace.systemd.unit", record.service.unit.as_deref());
    if let Some((pid, comm)) = record.peer() {
        attributes.number("socktrace.peer.pid", pid);
        attributes.text("socktrace.peer.name", comm);
    }
    let peer_service = record.peer_service.as_ref().and_then(|service| service.label());
    attributes.known("socktrace.peer.service", peer_service);
    if let Some(killer) = &record.killer {
        attributes.number("socktrace.killer.pid", killer.pid);
        attributes.text("socktrace.killer.name", &*killer.comm);
    }
}

/// Adds the executable, or only its name if the path is unknown.
fn add_executable(attributes: &mut Attributes, exe: Option<&str>, comm: Option<&str>) {
    let name = exe.and_then(|exe| Path::new(exe).file_name()?.to_str()).or(comm);
    attributes.known("process.executable.name", name);
    attributes.known("process.executable.path", exe.filter(|exe| exe.starts_with('/')));
}
