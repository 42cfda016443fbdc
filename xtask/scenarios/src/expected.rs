//! What socktrace must say about one failure.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant, SystemTime},
};

use nix::errno::Errno;
use serde_json::Value;

use socktrace_diagnosis::{Cause, Severity};

use super::{
    claim::Claim,
    known::{Fault, NO_WINDOW_YET},
    names_reset_reasons,
    process::{self, Process},
    socket::{Ends, Role},
    tcp_reset_has_segment, usual,
};

const FIRST_ERRNO: &str = "first_errno";
const SINCE_FIRST: &str = "since_first_ms";

/// Fields that are null in every line but those whose scenario names a value.
const USUALLY_NULL: [&str; 17] = [
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
    "fd",
];

/// Fields that are 0 likewise.
const USUALLY_ZERO: [&str; 4] = ["retransmits", "probes", "user_timeout_ms", "unsent_bytes"];

/// The timeout of a connection before its round-trip time is known, in milliseconds (RFC 6298).
const INITIAL_RTO: u64 = 1_000;

/// The least timeout in Linux, in milliseconds.
const LEAST_RTO: u64 = 200;

/// Clocks that are read one after the other may differ by so much.
const CLOCK_SKEW: Duration = Duration::from_millis(20);

/// While something was made to fail.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    began: SystemTime,
    clock: Instant,
}

impl Span {
    pub(super) fn begin() -> Self {
        Self { began: SystemTime::now(), clock: Instant::now() }
    }

    /// A span that began with 1970.
    #[cfg(test)]
    pub(super) fn at_epoch() -> Self {
        Self { began: SystemTime::UNIX_EPOCH, ..Self::begin() }
    }

    /// When something of this span may have happened.
    fn bounds(&self) -> Claim {
        let now = self.began + self.clock.elapsed();
        Claim::Between(self.began - CLOCK_SKEW, now + CLOCK_SKEW)
    }

    /// How long something of this span may have taken, in milliseconds.
    fn at_most(&self) -> Claim {
        let elapsed = (self.clock.elapsed() + CLOCK_SKEW).as_millis();
        Claim::Within(0, u64::try_from(elapsed).unwrap_or(u64::MAX))
    }
}

/// What one line of the stream must say: each field of it.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    pub(super) event: &'static str,
    pub(super) cause: Cause,
    /// The errno that the program really got; of a socket nobody holds, the one the kernel set.
    errno: i32,
    pub(super) call: &'static str,
    pub(super) protocol: &'static str,
    /// None where there is no socket.
    local: Option<SocketAddr>,
    /// None where the socket has no peer.
    remote: Option<SocketAddr>,
    /// How this end was opened, where the call or the state leave that open.
    role: Option<Role>,
    /// The processes that the line may name: by chance one of these, none where nobody has accepted
    /// the connection.
    processes: Vec<Process>,
    /// Inode of the network namespace.
    netns: u64,
    /// Process of this host that sent the RST, its name, and the kernel's word for why.
    sender: Option<(u32, String, &'static str)>,
    /// Other fields, by name.
    fields: Vec<(&'static str, Claim)>,
    /// Why the line may be missing.
    pub(super) optional: Option<&'static str>,
    /// Fields that are known to be wrong, and what they are.
    known: Vec<(&'static Fault, &'static str, Claim)>,
    /// Those of them that are right by kprobe.
    right_by_kprobe: Vec<&'static str>,
}

impl Expected {
    /// A failure of a connection, or of an attempt to make one, that this thread made.
    pub(super) fn failure(cause: Cause, call: &'static str, errno: i32, ends: Ends) -> Self {
        Self {
            event: "failure",
            cause,
            errno,
            call,
            protocol: "tcp",
            local: Some(ends.local),
            remote: Some(ends.remote),
            role: ends.role,
            processes: vec![Process::this()],
            netns: process::network_namespace(),
            sender: None,
            fields: Vec::new(),
            optional: None,
            known: Vec::new(),
            right_by_kprobe: Vec::new(),
        }
    }

    /// A failure of a socket without a peer.
    pub(super) fn alone(cause: Cause, call: &'static str, errno: i32, local: SocketAddr) -> Self {
        let ends = Ends::new(local, local);
        Self { remote: None, ..Self::failure(cause, call, errno, ends) }
    }

    /// A call whose descriptor leads to no socket.
    pub(super) fn no_socket(cause: Cause, call: &'static str, errno: i32) -> Self {
        let nowhere = SocketAddr::from(([0; 4], 0));
        let failure = Self::alone(cause, call, errno, nowhere).state("unknown");
        Self { protocol: "unknown", local: None, netns: 0, ..failure }
    }

    /// A subflow of an MPTCP connection failed with this errno, which no program gets.
    pub(super) fn subflow(errno: i32, ends: Ends) -> Self {
        Self::failure(Cause::SubflowFailed, "none", errno, ends)
    }

    /// The accept of a connection that was reset before.
    pub(super) fn accepted_reset(call: &'static str, errno: i32, ends: Ends) -> Self {
        let failure = Self::failure(Cause::ResetBeforeAccept, call, errno, ends).state("CLOSE");
        Self { event: "accepted_reset", ..failure }
    }

    /// A write that returns the errno of a failure that was told before.
    pub(super) fn delivered(cause: Cause, errno: i32, ends: Ends) -> Self {
        Self { event: "delivered", ..Self::failure(cause, "write", errno, ends) }.first(errno)
    }

    /// The socket is one of MPTCP.
    pub(super) fn mptcp(self) -> Self {
        Self { protocol: "mptcp", ..self }
    }

    /// The port at the other end.
    pub(super) fn remote_port(&self) -> Option<u16> {
        self.remote.map(|remote| remote.port())
    }

    /// Nobody has accepted the connection, so no process can be named.
    pub(super) fn unaccepted(self) -> Self {
        Self { processes: Vec::new(), ..self }
    }

    /// Another process operated on the socket, or has it.
    pub(super) fn by(self, process: Process) -> Self {
        Self { processes: vec![process], ..self }
    }

    /// This process, or by chance another.
    pub(super) fn or_by(mut self, process: Process) -> Self {
        self.processes.push(process);
        self
    }

    /// The process is known in one of these ways.
    pub(super) fn known_as(mut self, sources: &'static [&'static str]) -> Self {
        for process in &mut self.processes {
            process.sources = sources;
        }
        self
    }

    /// The state before the failure, where it is not the usual one of the cause.
    pub(super) fn state(self, state: &'static str) -> Self {
        self.with("state", state)
    }

    /// What the kernel side sees, where it is not just what the cause says.
    pub(super) fn flags(self, flags: &[&'static str]) -> Self {
        self.with("flags", flags)
    }

    /// What became of the process that wrote.
    pub(super) fn sigpipe(self, verdict: &'static str) -> Self {
        self.with("sigpipe", verdict)
    }

    /// The errno with which the socket failed first.
    pub(super) fn first(self, errno: i32) -> Self {
        self.with(FIRST_ERRNO, name(errno))
    }

    /// The ICMP message that was the reason, and who sent it.
    pub(super) fn icmp(self, kind: u8, code: u8, router: SocketAddr) -> Self {
        let router = router.ip().to_canonical().to_string();
        self.with("icmp_type", kind).with("icmp_code", code).with("router", router)
    }

    /// The socket option that was refused.
    pub(super) fn option(self, level: &'static str, option: &'static str) -> Self {
        self.with("level", level).with("option", option)
    }

    /// The process of this host that sent the RST, by number and name, and the kernel's word for
    /// why it did.
    pub(super) fn reset_by(self, process: u32, name: &str, reason: &'static str) -> Self {
        Self { sender: Some((process, name.to_owned(), reason)), ..self }
    }

    /// This thread sent the RST itself, at the other end.
    pub(super) fn reset_here(self, reason: &'static str) -> Self {
        let Process { pid, comm, .. } = Process::this();
        self.reset_by(pid, &comm, reason)
    }

    /// A field that says this, whatever was expected of it before.
    pub(super) fn with(self, field: &'static str, value: impl Into<Value>) -> Self {
        self.claim(field, Claim::is(value))
    }

    /// A number from the first to the second.
    pub(super) fn within(self, field: &'static str, low: u64, high: u64) -> Self {
        self.claim(field, Claim::Within(low, high))
    }

    /// A number of milliseconds that is a time measured, or up to so much less.
    pub(super) fn lasted(self, field: &'static str, measured: Duration, less: Duration) -> Self {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.within(field, ms(measured.saturating_sub(less)), ms(measured + CLOCK_SKEW))
    }

    fn claim(mut self, field: &'static str, claim: Claim) -> Self {
        self.fields.retain(|(claimed, _)| *claimed != field);
        self.fields.push((field, claim));
        self
    }

    /// The line may be missing.
    pub(super) fn optional(self, why: &'static str) -> Self {
        Self { optional: Some(why), ..self }
    }

    /// A field is known to be wrong: it says this.
    pub(super) fn known(
        mut self,
        fault: &'static Fault,
        field: &'static str,
        claim: Claim,
    ) -> Self {
        self.known.retain(|(_, known, _)| *known != field);
        self.known.push((fault, field, claim));
        self
    }

    /// A field that is known to be wrong is right where kprobes see the failure.
    pub(super) fn right_by_kprobe(mut self, field: &'static str) -> Self {
        self.right_by_kprobe.push(field);
        self
    }

    /// Kprobes see the failure.
    pub(super) fn seen_by_kprobe(mut self) -> Self {
        let right = &self.right_by_kprobe;
        self.known.retain(|(_, field, _)| !right.contains(field));
        self
    }

    /// What the kernel side sees of a connect: these flags, and a closed window though no peer has
    /// answered.
    pub(super) fn connecting(self, flags: &[&'static str], shown: &[&'static str]) -> Self {
        self.flags(flags).known(&NO_WINDOW_YET, "flags", Claim::is(shown))
    }

    /// A process is named that is known to be the wrong one: this.
    pub(super) fn known_process(mut self, fault: &'static Fault, shown: &Process) -> Self {
        let right = &self.processes;
        let is_right = |(field, claim): &(&'static str, Claim)| {
            let mut right = right.iter().flat_map(|process| process.claims(&[]));
            right.any(|(other, right)| other == *field && right == *claim)
        };
        let shown = shown.claims(&["caller"]).into_iter().filter(|shown| !is_right(shown));
        self.known.extend(shown.map(|(field, claim)| (fault, field, claim)).collect::<Vec<_>>());
        self
    }

    /// No sender of the RST is named, which is known to be wrong.
    pub(super) fn known_without_sender(self, fault: &'static Fault) -> Self {
        ["peer_pid", "peer_comm", "rst_reason"]
            .into_iter()
            .fold(self, |failure, field| failure.known(fault, field, Claim::Is(Value::Null)))
            .known(fault, "reason", Claim::TEXT)
    }

    /// A closed socket that has stayed a whole one until its peer wrote on, and ends by that.
    ///
    /// When the peer acknowledges the FIN, `tcp_rcv_state_process` (5.10 to 7.3) makes a closed socket
    /// a small one for `TIME_WAIT`, which answers data by RST and has nothing to tell. If the closing
    /// program still holds the socket, which it does between the end of `__tcp_close` and
    /// `release_sock`, the socket stays as it is in `FIN_WAIT2`. The data then end it.
    pub(super) fn busy_end(ends: Ends) -> Self {
        // Without the segment, the reset by data cannot be told from one by RST.
        let (cause, flags) = if tcp_reset_has_segment() {
            (Cause::DataAfterShutdown, &["orphan", "no_rst"][..])
        } else {
            (Cause::ResetWhileClosing, &["orphan"][..])
        };
        let end = Self::failure(cause, "none", Errno::ECONNRESET as i32, ends);
        end.orphan(flags)
            .optional("the closing program still held the socket when the FIN was acknowledged")
    }

    /// The last FIN of some orderly end on loopback is answered by RST.
    ///
    /// Seen once, on 5.10 and a busy host, and not provoked since in 48,000 connections. The likely way:
    /// the FIN comes just as the other end becomes `TIME_WAIT`. `inet_twsk_hashdance` hashes the new
    /// socket before anybody can take a reference to it, and a look-up on another processor finds none.
    /// Nobody waits for this connection any more.
    pub(super) fn lost_end(loopback: SocketAddr) -> Self {
        const ANY_PORT: (u64, u64) = (1, u16::MAX as u64);
        let ends = Ends::new(loopback, loopback);
        let end = Self::failure(Cause::ResetWhileClosing, "none", Errno::ECONNRESET as i32, ends);
        let end = ["local_port", "remote_port", "service_port"]
            .into_iter()
            .fold(end, |end, port| end.within(port, ANY_PORT.0, ANY_PORT.1));
        end.orphan(&["orphan"])
            .state("LAST_ACK")
            .claim("role", Claim::OneOf(vec!["client".into(), "server".into()]))
            .within("unacked_bytes", 0, 1)
            .optional("the last FIN came just as the other end became TIME_WAIT")
    }

    /// Tasks cannot be read, so that neither who waits for a socket is known, nor who still has it,
    /// nor more of a process than what helpers of BPF say.
    pub(super) fn without_tasks(self) -> Self {
        let sources: &[_] = if self.is_call() { &["caller"] } else { &["caller", "opener"] };
        self.known_as(sources).with("process_comm", Value::Null).with("exe", Value::Null)
    }

    /// No program holds the socket any more: the one that opened it is named.
    pub(super) fn orphan(self, flags: &[&'static str]) -> Self {
        let unknown = self.with("process_comm", Value::Null).with("exe", Value::Null);
        unknown.flags(flags).known_as(&["opener"])
    }

    /// The faults that it shows.
    pub(super) fn faults(&self) -> impl Iterator<Item = &'static Fault> {
        self.known.iter().map(|(fault, ..)| *fault)
    }

    /// Cause and family, such as `reset_by_peer/ipv4`; none without a family, and of what may be
    /// missing.
    pub(super) fn covers(&self) -> Option<String> {
        let told = self.local.filter(|_| self.optional.is_none());
        told.map(|_| format!("{}/{}", self.cause, self.family()))
    }

    fn family(&self) -> &'static str {
        match self.local {
            Some(SocketAddr::V4(_)) => "ipv4",
            Some(SocketAddr::V6(_)) => "ipv6",
            None => "unknown",
        }
    }

    /// How `line` differs from what is expected; `None` when it is about something else.
    pub(super) fn differences(&self, line: &Value, span: &Span) -> Option<Vec<String>> {
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
        (!is_about_another).then(|| self.compare(&claims, line))
    }

    /// Whether `line` is what is expected but for the sender of the RST, whom it does not name.
    pub(super) fn is_without_sender(&self, line: &Value, span: &Span) -> bool {
        let nobody = Self { sender: None, ..self.clone() };
        self.sender.is_some()
            && nobody.differences(line, span).is_some_and(|found| found.is_empty())
    }

    fn compare(&self, claims: &[(&'static str, Claim)], line: &Value) -> Vec<String> {
        let mut found = Vec::new();
        for (field, claim) in claims {
            let Some(said) = line.get(*field) else {
                found.push(format!("{field} is missing, right is {claim}"));
                continue;
            };
            let known = self.known.iter().find(|(_, known, _)| known == field);
            match known {
                None if claim.admits(said) => {}
                None => found.push(format!("{field}: socktrace said {said}, right is {claim}")),
                Some(_) if claim.admits(said) => {
                    found.push(format!("{field} is right: it is not known to be wrong any more"));
                }
                Some((.., shown)) if shown.admits(said) => {}
                Some((.., shown)) => found.push(format!(
                    "{field}: socktrace said {said}, right is {claim}, and known {shown}"
                )),
            }
        }
        let fields = line.as_object().into_iter().flat_map(serde_json::Map::keys);
        for field in fields.filter(|field| !claims.iter().any(|(claimed, _)| claimed == field)) {
            found.push(format!("{field} is unaccounted for: socktrace said {}", line[field]));
        }
        found
    }

    /// What each field must be but those about the process, before the scenario's own.
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
            ("reason", self.reason()),
            ("advice", Claim::is(self.cause.advice())),
        ];
        claims.extend(self.ends());
        claims.extend(self.sender());
        // Scenarios run in the root of all cgroups.
        let (cgroup, unknown) = if self.processes.is_empty() {
            (None, Some("not_accepted"))
        } else {
            (Some("/"), None)
        };
        claims.extend([("cgroup", text(cgroup)), ("owner_unknown", text(unknown))]);
        claims.extend(USUALLY_NULL.map(|field| (field, Claim::Is(Value::Null))));
        claims.extend(USUALLY_ZERO.map(|field| (field, Claim::is(0))));
        // The SYN counts as a byte.
        let is_connecting = self.is_connecting();
        claims.push(("unacked_bytes", Claim::is(u32::from(is_connecting))));
        // Of a connect, it is the time since the first SYN.
        let is_attempt = is_connecting || self.cause == Cause::ConnectRetriedAfterFailure;
        claims.push(("elapsed_ms", if is_attempt { span.at_most() } else { Claim::is(0) }));
        if self.is_claimed(FIRST_ERRNO) {
            claims.retain(|(field, _)| *field != SINCE_FIRST);
            claims.push((SINCE_FIRST, span.at_most()));
        }
        claims
    }

    fn is_claimed(&self, field: &str) -> bool {
        self.fields.iter().any(|(claimed, _)| *claimed == field)
    }

    fn ends(&self) -> [(&'static str, Claim); 4] {
        let ip = |end: Option<SocketAddr>| Claim::is(end.map(|end| end.ip().to_string()));
        let port = |end: Option<SocketAddr>| Claim::is(end.map_or(0, |end| end.port()));
        // No peer is the unspecified address.
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

    fn reason(&self) -> Claim {
        const SENT_BY: &str = "sent by";
        match &self.sender {
            Some((pid, comm, _)) if self.event == "failure" => {
                Claim::Text { with: format!("{SENT_BY} {comm}[{pid}]"), without: None }
            }
            _ => Claim::Text { with: String::new(), without: Some(SENT_BY) },
        }
    }

    /// Nobody minds what no program gets.
    fn severity(&self) -> &'static str {
        let severity =
            if self.call == "none" { Severity::Expected } else { self.cause.row().severity };
        severity.id()
    }

    /// What the call and the cause leave open, the scenario says.
    fn role(&self) -> Option<Role> {
        match (self.call, self.cause) {
            ("accept" | "listen", _) | (_, Cause::ResetBeforeAccept) => Some(Role::Server),
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
        self.remote.is_some() && !self.is_attempt()
    }

    /// Whether the SYN waits for an answer.
    fn is_connecting(&self) -> bool {
        const STATE: &str = "SYN_SENT";
        let said = self.fields.iter().find(|(field, _)| *field == "state");
        match said {
            Some((_, claim)) => claim.admits(&STATE.into()),
            None => usual::state(self.cause) == STATE,
        }
    }

    /// Whether it is about an attempt to connect.
    fn is_attempt(&self) -> bool {
        self.call == "connect" || self.cause.id().starts_with("connect_")
    }

    fn rto(&self) -> Claim {
        match (self.local, self.is_connected()) {
            (None, _) => Claim::is(0),
            (_, connected) if !connected || self.is_connecting() => Claim::is(INITIAL_RTO),
            _ => Claim::Within(LEAST_RTO, INITIAL_RTO),
        }
    }

    fn usual_flags(&self) -> Claim {
        let mut flags = usual::flags(self.cause).to_vec();
        if self.event != "failure" {
            flags.push("delivery");
        }
        Claim::is(flags)
    }

    /// How the process is usually known: a call is its caller's; what a segment or a timer does
    /// concerns whoever waits for the socket or has it, and a caller whose call it comes in.
    fn usual_sources(&self) -> &'static [&'static str] {
        if self.is_call() { &["caller"] } else { &["caller", "waiter", "holder"] }
    }

    /// Whether a call of the process failed, not what a segment or a timer ended.
    fn is_call(&self) -> bool {
        self.event != "failure"
            || matches!(
                self.call,
                "accept" | "bind" | "listen" | "setsockopt" | "getsockopt" | "write"
            ) && self.cause != Cause::ResetAfterPeerClose
            || matches!(
                self.cause,
                Cause::ConnectNoRoute
                    | Cause::ConnectLocal
                    | Cause::ConnectRetriedAfterFailure
                    | Cause::ConnectCancelled
                    | Cause::Interrupted
            )
    }
}

/// An errno's name; `none` for 0.
fn name(errno: i32) -> String {
    if errno == 0 { "none".to_owned() } else { format!("{:?}", Errno::from_raw(errno)) }
}
