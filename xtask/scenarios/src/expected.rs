//! Expected lines of the stream, one for each failure.

mod claims;

use std::{net::SocketAddr, time::Duration};

use nix::errno::Errno;
use serde_json::Value;

use socktrace_diagnosis::Cause;

use super::{
    claim::Claim,
    process::{self, Process},
    socket::{Ends, Role},
    span::CLOCK_SKEW,
    tcp_reset_has_segment, usual,
};

const FIRST_ERRNO: &str = "first_errno";

/// Name of the UDP protocol in lines.
const UDP: &str = "udp";

/// `event` of a line about a socket that was closed before any call returned its errno.
pub(super) const UNDELIVERED: &str = "undelivered";

/// Expectation for one line of the stream, field by field.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    pub(super) event: &'static str,
    pub(super) cause: Cause,
    /// The errno that the program really got; for a socket that nobody holds, the one that the kernel set.
    errno: i32,
    pub(super) call: &'static str,
    pub(super) protocol: &'static str,
    /// `None` where there is no socket.
    local: Option<SocketAddr>,
    /// Family requested for a socket that could not be created.
    asked_family: Option<&'static str>,
    /// `None` where the socket has no peer.
    remote: Option<SocketAddr>,
    /// How this end was opened, where neither the call nor the state determines it.
    role: Option<Role>,
    /// Processes that the line may name, depending on timing; empty if nobody has accepted the connection.
    processes: Vec<Process>,
    /// Inode of the network namespace.
    netns: u64,
    /// Process of this host that sent the RST, its name, and the kernel's reset reason.
    sender: Option<(u32, String, &'static str)>,
    /// Whether it sent the RST by closing a listener with the connection in its queue.
    by_listener: bool,
    /// Process that had the kernel kill the socket, and its command name.
    killer: Option<(u32, String)>,
    /// Other fields, by name.
    fields: Vec<(&'static str, Claim)>,
    /// Why the line may be missing, if it may.
    pub(super) optional: Option<&'static str>,
}

impl Expected {
    /// A failure, caused by this thread, of a connection or a connection attempt.
    pub(super) fn failure(cause: Cause, call: &'static str, errno: i32, ends: Ends) -> Self {
        Self {
            event: "failure",
            cause,
            errno,
            call,
            protocol: "tcp",
            local: Some(ends.local),
            asked_family: None,
            remote: Some(ends.remote),
            role: ends.role,
            processes: vec![Process::this()],
            netns: process::network_namespace(),
            sender: None,
            killer: None,
            fields: Vec::new(),
            optional: None,
            by_listener: false,
        }
    }

    /// A failure of a socket without a peer.
    pub(super) fn alone(cause: Cause, call: &'static str, errno: i32, local: SocketAddr) -> Self {
        let ends = Ends::new(local, local);
        Self { remote: None, ..Self::failure(cause, call, errno, ends) }
    }

    /// A call on a descriptor that is not a socket.
    pub(super) fn no_socket(cause: Cause, call: &'static str, errno: i32) -> Self {
        let nowhere = SocketAddr::from(([0; 4], 0));
        let failure = Self::alone(cause, call, errno, nowhere).state("unknown");
        Self { protocol: "unknown", local: None, netns: 0, ..failure }
    }

    /// An errno that arrived at a socket of this family and protocol, which has no IP addresses. No
    /// process waited for it; user and cgroup come from the socket.
    pub(super) fn arrived(
        cause: Cause,
        errno: i32,
        family: &'static str,
        protocol: &'static str,
    ) -> Self {
        let failure = Self::no_socket(cause, "read_or_write", errno).state("CLOSE");
        let netns = process::network_namespace();
        Self { protocol, asked_family: Some(family), netns, ..failure }.of_no_process()
    }

    /// No process is known; user and cgroup come from the socket.
    pub(super) fn of_no_process(self) -> Self {
        let nobody = Self { processes: Vec::new(), ..self }.with("uid", 0);
        nobody.with("cgroup", "/").with("owner_unknown", "no_process")
    }

    /// Depending on timing, this process is known too, from one of these sources.
    pub(super) fn or_by_this(self, sources: &'static [&'static str]) -> Self {
        let this = Process { sources, ..Process::this() };
        let mut failure = self.one_of("owner_unknown", vec![Value::Null, "no_process".into()]);
        for (field, claim) in this.claims(sources) {
            let values = match claim {
                Claim::Is(value) => vec![value, Value::Null],
                Claim::OneOf(values) => values.into_iter().chain([Value::Null]).collect(),
                _ => continue,
            };
            failure = failure.one_of(field, values);
        }
        failure
    }

    /// Sets the call that gets the errno.
    pub(super) fn called(self, call: &'static str) -> Self {
        Self { call, ..self }
    }

    /// Sets the protocol, one without timers and ports.
    pub(super) fn of_protocol(self, protocol: &'static str) -> Self {
        Self { protocol, ..self }.with("rto_ms", 0).with("silent_ms", 0)
    }

    /// A socket that could not be created.
    pub(super) fn no_socket_made(errno: i32) -> Self {
        Self::no_socket(Cause::SocketFailed, "socket", errno)
    }

    /// A failure of a Unix socket of this thread.
    pub(super) fn of_unix(cause: Cause, call: &'static str, errno: i32) -> Self {
        let netns = process::network_namespace();
        let failure = Self::no_socket(cause, call, errno).state(usual::state(cause));
        Self { protocol: "unix", asked_family: Some("unix"), netns, ..failure }
    }

    /// Sets the requested family and protocol as lines name them, and the arguments as headers do.
    pub(super) fn asked(
        self,
        family: &'static str,
        protocol: &'static str,
        [domain, socket_type, number]: [&'static str; 3],
    ) -> Self {
        Self { protocol, asked_family: Some(family), ..self }
            .with("socket_family", domain)
            .with("socket_type", socket_type)
            .with("socket_protocol", number)
    }

    /// A subflow of an MPTCP connection that failed with this errno, which no program gets.
    pub(super) fn subflow(errno: i32, ends: Ends) -> Self {
        Self::failure(Cause::SubflowFailed, "none", errno, ends)
    }

    /// Accept of a connection that was already reset.
    pub(super) fn accepted_reset(call: &'static str, errno: i32, ends: Ends) -> Self {
        let failure = Self::failure(Cause::ResetBeforeAccept, call, errno, ends);
        Self { event: "accepted_reset", ..failure }
    }

    /// Accept of a connection that had already failed in another way.
    pub(super) fn accepted_failed(cause: Cause, errno: i32, ends: Ends) -> Self {
        let failure = Self::failure(cause, "read_or_write", errno, ends);
        Self { event: "accepted_failed", ..failure }
    }

    /// A write that returns the errno of a failure that was reported before.
    pub(super) fn delivered(cause: Cause, errno: i32, ends: Ends) -> Self {
        Self { event: "delivered", ..Self::failure(cause, "write", errno, ends) }.first(errno)
    }

    /// Close of a socket whose errno no call had returned.
    pub(super) fn undelivered(cause: Cause, errno: i32, ends: Ends) -> Self {
        Self { event: UNDELIVERED, ..Self::failure(cause, "none", errno, ends) }.first(errno)
    }

    /// Sets the protocol to MPTCP.
    pub(super) fn mptcp(self) -> Self {
        Self { protocol: "mptcp", ..self }
    }

    /// Sets the protocol to UDP.
    pub(super) fn udp(self) -> Self {
        Self { protocol: UDP, ..self }
    }

    /// Port of the remote end.
    pub(super) fn remote_port(&self) -> Option<u16> {
        self.remote.map(|remote| remote.port())
    }

    /// Nobody has accepted the connection, so no process is named.
    pub(super) fn unaccepted(self) -> Self {
        Self { processes: Vec::new(), ..self }
    }

    /// Names another process, which operated on the socket or holds it.
    pub(super) fn by(self, process: Process) -> Self {
        Self { processes: vec![process], ..self }
    }

    /// Allows another process, depending on timing.
    pub(super) fn or_by(mut self, process: Process) -> Self {
        self.processes.push(process);
        self
    }

    /// Names the process that had the kernel kill the socket.
    pub(super) fn killed_by(self, process: u32, name: &str) -> Self {
        Self { killer: Some((process, name.to_owned())), ..self }
    }

    /// Sets the sources from which the process may be known.
    pub(super) fn known_as(mut self, sources: &'static [&'static str]) -> Self {
        for process in &mut self.processes {
            process.sources = sources;
        }
        self
    }

    /// Sets the state before the failure, where it is not the usual one of the cause.
    pub(super) fn state(self, state: &'static str) -> Self {
        self.with("state", state)
    }

    /// Sets the flags, where they are not the usual ones of the cause.
    pub(super) fn flags(self, flags: &[&'static str]) -> Self {
        self.with("flags", flags)
    }

    /// Sets the effect of SIGPIPE on the process that wrote.
    pub(super) fn sigpipe(self, verdict: &'static str) -> Self {
        self.with("sigpipe", verdict)
    }

    /// Sets the errno with which the socket failed first.
    pub(super) fn first(self, errno: i32) -> Self {
        self.with(FIRST_ERRNO, name(errno))
    }

    /// Sets the ICMP message that caused the failure, and its sender.
    pub(super) fn icmp(self, kind: u8, code: u8, router: SocketAddr) -> Self {
        let router = router.ip().to_canonical().to_string();
        self.with("icmp_type", kind).with("icmp_code", code).with("router", router)
    }

    /// Sets the socket option that was refused.
    pub(super) fn option(self, level: &'static str, option: &'static str) -> Self {
        self.with("level", level).with("option", option)
    }

    /// Sets the process of this host that sent the RST, its name, and the kernel's reset reason.
    pub(super) fn reset_by(self, process: u32, name: &str, reason: &'static str) -> Self {
        Self { sender: Some((process, name.to_owned(), reason)), ..self }
    }

    /// This thread sent the RST itself, from the other end.
    pub(super) fn reset_here(self, reason: &'static str) -> Self {
        let Process { pid, comm, .. } = Process::this();
        self.reset_by(pid, &comm, reason)
    }

    /// This thread sent the RST by closing a listener with the connection in its queue.
    pub(super) fn reset_by_listener(self) -> Self {
        Self { by_listener: true, ..self.reset_here("tcp_state") }
    }

    /// Sets a field to this value, overriding any earlier expectation.
    pub(super) fn with(self, field: &'static str, value: impl Into<Value>) -> Self {
        self.claim(field, Claim::is(value))
    }

    /// The reason contains these words.
    pub(super) fn saying(self, words: impl Into<String>) -> Self {
        self.claim("reason", Claim::Text { with: words.into(), without: None })
    }

    /// The advice contains these words.
    pub(super) fn advising(self, words: &str) -> Self {
        self.claim("advice", Claim::Text { with: words.to_owned(), without: None })
    }

    /// The field has one of these values, depending on timing or on the available hooks.
    pub(super) fn one_of(self, field: &'static str, values: Vec<Value>) -> Self {
        self.claim(field, Claim::OneOf(values))
    }

    /// The field is a number in this closed range.
    pub(super) fn within(self, field: &'static str, low: u64, high: u64) -> Self {
        self.claim(field, Claim::Within(low, high))
    }

    /// The field is the measured time in milliseconds, or up to `less` shorter.
    pub(super) fn lasted(self, field: &'static str, measured: Duration, less: Duration) -> Self {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.within(field, ms(measured.saturating_sub(less)), ms(measured + CLOCK_SKEW))
    }

    fn claim(mut self, field: &'static str, claim: Claim) -> Self {
        self.fields.retain(|(claimed, _)| *claimed != field);
        self.fields.push((field, claim));
        self
    }

    /// The line may be missing, for this reason.
    pub(super) fn optional(self, why: &'static str) -> Self {
        Self { optional: Some(why), ..self }
    }

    /// A closed socket that remained a full socket until its peer sent more data, which ended it.
    ///
    /// When the peer acknowledges the FIN, `tcp_rcv_state_process` (5.10 to 7.3) replaces a closed
    /// socket with a `TIME_WAIT` minisock, which answers data with an RST and has nothing to
    /// report. If the closing program still owns the socket, as it does between the end of
    /// `__tcp_close` and `release_sock`, the socket stays in `FIN_WAIT2`. The data then ends it.
    pub(super) fn busy_end(ends: Ends) -> Self {
        // Without the segment, a reset by data cannot be distinguished from one by an RST.
        let (cause, flags) = if tcp_reset_has_segment() {
            (Cause::DataAfterShutdown, &["orphan", "no_rst"][..])
        } else {
            (Cause::ResetWhileClosing, &["orphan"][..])
        };
        let end = Self::failure(cause, "none", Errno::ECONNRESET as i32, ends);
        end.orphan(flags)
            .optional("the closing program still held the socket when the FIN was acknowledged")
    }

    /// The last FIN of an orderly close on loopback is answered with an RST.
    ///
    /// Seen once, on 5.10 and a busy host, and not reproduced since in 48,000 connections. The
    /// likely cause: the FIN arrives just as the other end becomes `TIME_WAIT`.
    /// `inet_twsk_hashdance` hashes the new socket before anyone can take a reference to it, and a
    /// lookup on another processor finds none. Nobody waits for this connection any more.
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

    /// Tasks cannot be read: neither the waiter nor the holder of a socket is known, nor anything
    /// about a process beyond what BPF helpers return.
    pub(super) fn without_tasks(self) -> Self {
        let sources: &[_] = if self.is_call() { &["caller"] } else { &["caller", "opener"] };
        self.known_as(sources).with("process_comm", Value::Null).with("exe", Value::Null)
    }

    /// No program holds the socket any more: the process that opened it is named.
    pub(super) fn orphan(self, flags: &[&'static str]) -> Self {
        self.flags(flags).known_as(&["opener"])
    }

    /// Protocol, cause and family, such as `tcp/reset_by_peer/ipv4`. `None` for a call on a
    /// descriptor that is not a socket, and for a line that may be missing.
    pub(super) fn covers(&self) -> Option<String> {
        let is_due = self.optional.is_none() && self.family() != "unknown";
        is_due.then(|| format!("{}/{}/{}", self.protocol, self.cause, self.family()))
    }

    fn family(&self) -> &'static str {
        match self.local {
            Some(SocketAddr::V4(_)) => "ipv4",
            Some(SocketAddr::V6(_)) => "ipv6",
            None => self.asked_family.unwrap_or("unknown"),
        }
    }
}

/// Name of an errno; `none` for 0.
fn name(errno: i32) -> String {
    if errno == 0 { "none".to_owned() } else { format!("{:?}", Errno::from_raw(errno)) }
}
