//! Claims of an expectation about each field of a line, and the differences of a line from them.

use std::net::{IpAddr, SocketAddr};

use nix::libc;
use serde_json::Value;

use socktrace_diagnosis::{Cause, Severity, advice::UNDELIVERED as UNDELIVERED_ADVICE};

use super::{Expected, FIRST_ERRNO, UDP, UNDELIVERED, name};
use crate::{claim::Claim, names_reset_reasons, process::Process, socket::Role, span::Span, usual};

/// Flags of an accept on a socket that never listened.
const NEVER: [&str; 1] = ["never_listened"];

const SINCE_FIRST: &str = "since_first_ms";

/// Fields that are null unless the scenario sets a value.
const USUALLY_NULL: [&str; 32] = [
    "rst_ttl",
    "handshake_ttl",
    "path",
    "peer_service",
    "remote_name",
    "service",
    "unit",
    "user",
    "user_unit",
    "container",
    "outer_container",
    "pod",
    "sigpipe",
    FIRST_ERRNO,
    SINCE_FIRST,
    "icmp_type",
    "icmp_code",
    "router",
    "level",
    "option",
    "socket_family",
    "socket_type",
    "socket_protocol",
    "send_tries",
    "send_errno",
    "send_timeout_ms",
    "fd",
    "dropped",
    "accept_queue",
    "accept_queue_limit",
    "receive_queue",
    "receive_queue_limit",
];

/// Fields that are 0 unless the scenario sets a value.
const USUALLY_ZERO: [&str; 5] =
    ["retransmits", "probes", "user_timeout_ms", "unsent_bytes", "unread_bytes"];

/// Fields that are false unless the scenario sets a value.
const USUALLY_FALSE: [&str; 2] = ["full_sized_lost", "md5_key"];

/// Retransmission timeout before the round-trip time is known, in milliseconds (RFC 6298).
const INITIAL_RTO: u64 = 1_000;

/// Minimum retransmission timeout in Linux, in milliseconds.
const LEAST_RTO: u64 = 200;

impl Expected {
    /// Differences of `line` from the expectation; `None` if it is about something else.
    pub(crate) fn differences(&self, line: &Value, span: &Span) -> Option<Vec<String>> {
        if !self.may_be_about(line) {
            return None;
        }
        let mut claims = self.claims(span);
        let by_process = |process: &Process| {
            let claims = process.claims(self.usual_sources());
            claims.iter().filter(|(field, claim)| !claim.admits(&line[*field])).count()
        };
        let process = self.processes.iter().min_by_key(|process| by_process(process));
        let about_process =
            process.map_or_else(Process::no_claims, |process| process.claims(self.usual_sources()));
        claims.splice(0..0, about_process);
        for (field, claim) in &self.fields {
            claims.retain(|(claimed, _)| claimed != field);
            claims.push((field, claim.clone()));
        }
        let local = ["event", "local", "local_port"];
        let remote = ["remote", "remote_port"].iter().filter(|_| self.remote.is_some());
        let is_about_another = local.iter().chain(remote).any(|about| {
            claims.iter().any(|(field, claim)| field == about && !claim.admits(&line[*field]))
        });
        (!is_about_another).then(|| Self::compare(&claims, line))
    }

    /// A quick check that saves comparing every field for most pairs of expectations and lines.
    fn may_be_about(&self, line: &Value) -> bool {
        let port = self.local.map_or(0, |local| local.port());
        line["event"] == self.event && (self.is_claimed("local_port") || line["local_port"] == port)
    }

    /// Whether `line` is as expected except that it does not name the sender of the RST.
    pub(crate) fn is_without_sender(&self, line: &Value, span: &Span) -> bool {
        let nobody = Self { sender: None, ..self.clone() };
        self.sender.is_some()
            && nobody.differences(line, span).is_some_and(|found| found.is_empty())
    }

    fn compare(claims: &[(&'static str, Claim)], line: &Value) -> Vec<String> {
        let mut found = Vec::new();
        for (field, claim) in claims {
            let Some(said) = line.get(*field) else {
                found.push(format!("{field} is missing, right is {claim}"));
                continue;
            };
            if !claim.admits(said) {
                found.push(format!("{field}: socktrace said {said}, right is {claim}"));
            }
        }
        let fields = line.as_object().into_iter().flat_map(serde_json::Map::keys);
        for field in fields.filter(|field| !claims.iter().any(|(claimed, _)| claimed == field)) {
            found.push(format!("{field} is unaccounted for: socktrace said {}", line[field]));
        }
        found
    }

    /// Claims for all fields except those about the process, before the scenario's own claims.
    fn claims(&self, span: &Span) -> Vec<(&'static str, Claim)> {
        let text = |text: Option<&str>| Claim::is(text);
        let mut claims = vec![
            ("time", span.bounds()),
            ("event", Claim::is(self.event)),
            ("errno", Claim::is(name(self.errno))),
            ("errno_number", Claim::is(self.errno)),
            ("cause", Claim::is(self.cause.id())),
            ("direction", Claim::is(self.cause.row().direction.id())),
            ("call", Claim::is(self.call)),
            ("delivered", Claim::is(self.is_delivered())),
            ("protocol", Claim::is(self.protocol)),
            ("severity", Claim::is(self.severity())),
            ("family", Claim::is(self.family())),
            ("state", Claim::is(usual::state(self.cause))),
            ("role", text(self.role().map(Role::name))),
            ("service_port", self.service_port()),
            ("netns", Claim::is(self.netns)),
            ("rto_ms", self.rto()),
            ("silent_ms", if self.is_connected() { span.at_most() } else { Claim::is(0) }),
            ("flags", self.usual_flags()),
            ("flow", self.flow()),
            ("reason", self.usual_reason()),
            ("advice", self.advice()),
        ];
        claims.extend(self.ends());
        claims.extend(self.sender());
        claims.extend(["rst_seq", "rst_ack"].map(|field| (field, self.rst())));
        claims.extend(self.killer());
        // Scenarios run in the root cgroup.
        let (cgroup, unknown) = if self.processes.is_empty() {
            (None, Some("not_accepted"))
        } else {
            (Some("/"), None)
        };
        claims.extend([("cgroup", text(cgroup)), ("owner_unknown", text(unknown))]);
        claims.extend(USUALLY_NULL.map(|field| (field, Claim::Is(Value::Null))));
        claims.extend(USUALLY_ZERO.map(|field| (field, Claim::is(0))));
        claims.extend(USUALLY_FALSE.map(|field| (field, Claim::is(false))));
        // The SYN counts as a byte.
        let is_connecting = self.is_connecting();
        let has_sent_syn = is_connecting && self.event == "failure";
        claims.push(("unacked_bytes", Claim::is(u32::from(has_sent_syn))));
        // For a connect, this is the time since the first SYN.
        let is_attempt = is_connecting || self.cause == Cause::ConnectRetriedAfterFailure;
        claims.push(("elapsed_ms", if is_attempt { span.at_most() } else { Claim::is(0) }));
        if self.is_claimed(FIRST_ERRNO) {
            claims.retain(|(field, _)| *field != SINCE_FIRST);
            claims.push((SINCE_FIRST, span.at_most()));
        }
        claims
    }

    fn is_claimed(&self, field: &str) -> bool {
        self.said(field).is_some()
    }

    /// The scenario's own claim for a field.
    fn said(&self, field: &str) -> Option<&Claim> {
        self.fields.iter().find(|(claimed, _)| *claimed == field).map(|(_, claim)| claim)
    }

    fn ends(&self) -> [(&'static str, Claim); 4] {
        let ip = |end: Option<SocketAddr>| Claim::is(end.map(|end| end.ip().to_string()));
        let port = |end: Option<SocketAddr>| Claim::is(end.map_or(0, |end| end.port()));
        // A missing peer is shown as the unspecified address.
        let remote = self.remote.or(self.local.map(|local| match local.ip() {
            IpAddr::V4(_) => SocketAddr::from(([0; 4], 0)),
            IpAddr::V6(_) => SocketAddr::from(([0; 16], 0)),
        }));
        [
            ("local", ip(self.local)),
            ("local_port", port(self.local)),
            ("remote", ip(remote)),
            ("remote_port", port(remote)),
        ]
    }

    fn sender(&self) -> [(&'static str, Claim); 3] {
        let (pid, comm, reason) = match &self.sender {
            None => (None, None, None),
            Some((pid, comm, reason)) => {
                (Some(*pid), Some(comm.as_str()), names_reset_reasons().then_some(*reason))
            }
        };
        [
            ("peer_pid", Claim::is(pid)),
            ("peer_comm", Claim::is(comm)),
            ("rst_reason", Claim::is(reason)),
        ]
    }

    /// A TCP connection has an ID as soon as it knows its peer's sequence number.
    fn flow(&self) -> Claim {
        let is_known = self.is_connected() && !self.is_connecting();
        // A simultaneous open: both ends have sent a SYN, and both SYNs have arrived.
        let has_met = self.said("state").is_some_and(|state| state.admits(&"SYN_RECV".into()));
        if self.protocol == "tcp" && (is_known || has_met) {
            Claim::Flow
        } else {
            Claim::Is(Value::Null)
        }
    }

    /// A sequence number of the RST, if one ended the connection.
    fn rst(&self) -> Claim {
        let is_by_rst = match self.cause {
            // With other errnos, it failed by an ICMP error or a timeout.
            Cause::SubflowFailed => {
                matches!(self.errno, libc::ECONNRESET | libc::ECONNREFUSED | libc::EPIPE)
            }
            Cause::ConnectRefused => true,
            cause => cause.id().starts_with("reset_"),
        };
        let is_news = self.event == "failure" && !self.is_call();
        if is_by_rst && is_news && ["tcp", "mptcp"].contains(&self.protocol) {
            Claim::Within(0, u32::MAX.into())
        } else {
            Claim::Is(Value::Null)
        }
    }

    fn killer(&self) -> [(&'static str, Claim); 2] {
        let (pid, comm) = self.killer.as_ref().map(|(pid, comm)| (*pid, comm.as_str())).unzip();
        [("killer_pid", Claim::is(pid)), ("killer_comm", Claim::is(comm))]
    }

    fn usual_reason(&self) -> Claim {
        const SENT_BY: &str = "sent by";
        if let Some((pid, comm)) = &self.killer {
            let clause =
                if self.cause == Cause::AbortedLocally { "program, by" } else { "; killed by" };
            return Claim::Text { with: format!("{clause} {comm}[{pid}]"), without: Some(SENT_BY) };
        }
        match &self.sender {
            Some((pid, comm, _)) if self.by_listener => Claim::Text {
                with: format!(
                    "; the listener of {comm}[{pid}] closed with this connection in its queue"
                ),
                without: Some(SENT_BY),
            },
            Some((pid, comm, _)) if self.event == "failure" => {
                Claim::Text { with: format!("{SENT_BY} {comm}[{pid}]"), without: None }
            }
            _ => Claim::Text { with: String::new(), without: Some(SENT_BY) },
        }
    }

    /// The part of the advice that distinguishes this case from others, where the harness knows it.
    /// The tests of the diagnosis check every word.
    fn advice(&self) -> Claim {
        let with = |part: String| Claim::Text { with: part, without: None };
        let port = self.local.map_or(0, |local| local.port());
        match (self.cause, self.errno, self.remote) {
            _ if self.event == UNDELIVERED => Claim::is(UNDELIVERED_ADVICE),
            (Cause::BindFailed, libc::EADDRINUSE, _) if port != 0 => {
                with(format!("ss -tanpB 'sport = :{port}'"))
            }
            (Cause::ListenFailed, libc::EADDRINUSE, _) => {
                with(format!("ss -tlnp 'sport = :{port}'"))
            }
            (Cause::ConnectNoRoute, libc::EHOSTUNREACH, _) => with("type unreachable".to_owned()),
            (Cause::ConnectRefused, _, Some(remote))
                if remote.ip().is_loopback()
                    || Some(remote.ip()) == self.local.map(|local| local.ip()) =>
            {
                with("ss -tlnp".to_owned())
            }
            (Cause::ConnectRefused, _, Some(remote)) => {
                with(format!("on {}: is the service running", remote.ip()))
            }
            (Cause::ResetByPeer, ..) => match &self.sender {
                Some((pid, comm, _)) if self.by_listener => {
                    with(format!("{comm}[{pid}] was stopped or restarted"))
                }
                Some((pid, comm, _)) => with(format!("the log of {comm}[{pid}]")),
                _ => Claim::TEXT,
            },
            (
                Cause::ConnectCancelled
                | Cause::ConnectRetriedAfterFailure
                | Cause::ListenerClosed
                | Cause::ResetWhileClosing
                | Cause::DataAfterShutdown
                | Cause::SubflowFailed
                | Cause::ResetAfterPeerClose
                | Cause::WriteAfterReset
                | Cause::WriteAfterTimeout
                | Cause::WriteAfterUnreachable
                | Cause::WriteAfterShutdown
                | Cause::WriteUnconnected,
                ..,
            ) => Claim::is(self.cause.advice()),
            _ => Claim::TEXT,
        }
    }

    /// Errors that no program gets are of severity "expected".
    fn severity(&self) -> &'static str {
        let is_nobodys = self.call == "none" && self.event != UNDELIVERED;
        let severity = if is_nobodys { Severity::Expected } else { self.cause.row().severity };
        severity.id()
    }

    /// Whether a call was seen to return the errno; unknown while the errno is pending.
    fn is_delivered(&self) -> Option<bool> {
        match self.event {
            "delivered" => Some(true),
            "accepted_reset" | "accepted_failed" => None,
            _ if self.call == "none" => Some(false),
            _ => self.is_call().then_some(true),
        }
    }

    /// The scenario says what the call and the cause do not determine.
    fn role(&self) -> Option<Role> {
        match (self.call, self.cause) {
            ("accept", _)
                if self.said("flags").is_some_and(|it| it.admits(&Value::from(NEVER.to_vec()))) =>
            {
                None
            }
            ("accept" | "listen", _)
            | (_, Cause::ResetBeforeAccept | Cause::UnreachableBeforeAccept) => Some(Role::Server),
            _ if self.is_attempt() => Some(Role::Client),
            ("bind", _) => None,
            _ => self.role,
        }
    }

    fn service_port(&self) -> Claim {
        let end = match self.role() {
            Some(Role::Client) => self.remote,
            Some(Role::Server) => self.local,
            None => None,
        };
        Claim::is(end.map(|end| end.port()).filter(|port| *port != 0))
    }

    /// Whether the socket is or was connected.
    fn is_connected(&self) -> bool {
        self.remote.is_some() && !self.is_attempt() && self.protocol != UDP
    }

    /// Whether the SYN is unanswered.
    fn is_connecting(&self) -> bool {
        const STATE: &str = "SYN_SENT";
        match self.said("state") {
            Some(claim) => claim.admits(&STATE.into()),
            None => usual::state(self.cause) == STATE,
        }
    }

    /// Whether this is about a connection attempt.
    fn is_attempt(&self) -> bool {
        self.call == "connect" || self.cause.id().starts_with("connect_")
    }

    fn rto(&self) -> Claim {
        match (self.local, self.is_connected()) {
            (None, _) => Claim::is(0),
            _ if self.protocol == UDP => Claim::is(0),
            (_, connected) if !connected || self.is_connecting() => Claim::is(INITIAL_RTO),
            _ => Claim::Within(LEAST_RTO, INITIAL_RTO),
        }
    }

    fn usual_flags(&self) -> Claim {
        let mut flags = usual::flags(self.cause).to_vec();
        if !["failure", UNDELIVERED].contains(&self.event) {
            flags.push("delivery");
        }
        Claim::is(flags)
    }

    /// Usual sources of the process. A failing call belongs to its caller. A failure by a segment or a
    /// timer concerns the waiter or holder of the socket, and the caller if it arrives during a call.
    fn usual_sources(&self) -> &'static [&'static str] {
        if self.is_call() { &["caller"] } else { &["caller", "waiter", "holder"] }
    }

    /// Whether a call of the process failed, rather than a segment or a timer ending the connection.
    pub(super) fn is_call(&self) -> bool {
        self.event != "failure"
            || matches!(
                self.call,
                "socket" | "accept" | "bind" | "listen" | "setsockopt" | "getsockopt" | "write"
            ) && !self.cause.id().starts_with("reset_")
                // It comes from a sending call that connects and waits.
                && self.cause != Cause::ConnectRefused
            || matches!(
                self.cause,
                Cause::ConnectNoRoute
                    | Cause::ConnectLocal
                    | Cause::ConnectRetriedAfterFailure
                    | Cause::ConnectCancelled
                    | Cause::ConnectSendTimeout
                    | Cause::Interrupted
            )
    }
}
