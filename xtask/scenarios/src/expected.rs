//! What socktrace must say about one failure.

use std::net::SocketAddr;

use nix::errno::Errno;
use serde_json::Value;

use super::{names_reset_reasons, socket::Ends};

/// Fields that are null in every line but those whose scenario names a value.
const NULL_UNLESS_TOLD: [&str; 14] = [
    "sigpipe",
    FIRST_ERRNO,
    "icmp_type",
    "icmp_code",
    "router",
    "level",
    "option",
    "service",
    "unit",
    "user",
    "user_unit",
    "container",
    "outer_container",
    "pod",
];

const FIRST_ERRNO: &str = "first_errno";

/// What one line of the stream must say.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    pub(super) event: &'static str,
    pub(super) cause: &'static str,
    /// The errno that the program really got; of a socket nobody holds, the one the kernel set.
    errno: i32,
    pub(super) call: &'static str,
    pub(super) protocol: &'static str,
    /// None where there is no socket.
    local: Option<SocketAddr>,
    /// None where the socket has no peer.
    remote: Option<SocketAddr>,
    process: Process,
    /// Other fields, by name.
    fields: Vec<(&'static str, Value)>,
}

/// Which process the line must name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Process {
    /// None: nobody has accepted the connection.
    None,
    /// The one with this number.
    Id(u32),
    /// One of two that both have the socket.
    Either(u32, u32),
}

impl Expected {
    /// A failure of a connection, or of an attempt to make one, that this process holds.
    pub(super) fn failure(cause: &'static str, call: &'static str, errno: i32, ends: Ends) -> Self {
        let process = Process::Id(std::process::id());
        let (local, remote) = (Some(ends.local), Some(ends.remote));
        let fields = Vec::new();
        let protocol = "tcp";
        Self { event: "failure", cause, errno, call, protocol, local, remote, process, fields }
    }

    /// A failure of a socket without a peer.
    pub(super) fn alone(
        cause: &'static str,
        call: &'static str,
        errno: i32,
        local: SocketAddr,
    ) -> Self {
        let ends = Ends::new(local, local);
        Self { remote: None, ..Self::failure(cause, call, errno, ends) }
    }

    /// A call whose descriptor leads to no socket.
    pub(super) fn no_socket(cause: &'static str, call: &'static str, errno: i32) -> Self {
        let nowhere = SocketAddr::from(([0; 4], 0));
        let (protocol, local) = ("unknown", None);
        Self { protocol, local, ..Self::alone(cause, call, errno, nowhere) }
    }

    /// A subflow of an MPTCP connection failed with this errno, which no program gets.
    pub(super) fn subflow(errno: i32, ends: Ends) -> Self {
        Self::failure("subflow_failed", "none", errno, ends).noise()
    }

    /// The accept of a connection that was reset before.
    pub(super) fn accepted_reset(call: &'static str, errno: i32, ends: Ends) -> Self {
        let failure = Self::failure("reset_before_accept", call, errno, ends);
        Self { event: "accepted_reset", ..failure }
    }

    /// A write that returns the errno of a failure that was told before.
    pub(super) fn delivered(cause: &'static str, errno: i32, ends: Ends) -> Self {
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
        Self { process: Process::None, ..self }
    }

    /// Another process operated on the socket.
    pub(super) fn by(self, process: u32) -> Self {
        Self { process: Process::Id(process), ..self }
    }

    /// Another process operated on the socket, or the kernel did on its behalf when it had let go of
    /// the socket: then the one that has opened it, and still has it, is named.
    pub(super) fn by_or_opener(self, process: u32) -> Self {
        Self { process: Process::Either(process, std::process::id()), ..self }
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
    pub(super) fn reset_by(self, process: u32, name: &'static str, reason: &'static str) -> Self {
        let reason = if names_reset_reasons() { reason.into() } else { Value::Null };
        self.with("peer_pid", process).with("peer_comm", name).with("rst_reason", reason)
    }

    /// Nothing to worry about: shown only to who asks for all.
    pub(super) fn noise(self) -> Self {
        self.with("severity", "expected")
    }

    /// A field that says this, whatever was expected of it before.
    pub(super) fn with(mut self, field: &'static str, value: impl Into<Value>) -> Self {
        self.fields.retain(|(told, _)| *told != field);
        self.fields.push((field, value.into()));
        self
    }

    /// Cause and family, such as `reset_by_peer/ipv4`; none without a family.
    pub(super) fn covers(&self) -> Option<String> {
        self.local.map(|_| format!("{}/{}", self.cause, self.family()))
    }

    fn family(&self) -> &'static str {
        match self.local {
            Some(SocketAddr::V4(_)) => "ipv4",
            Some(SocketAddr::V6(_)) => "ipv6",
            None => "unknown",
        }
    }

    /// How `line` differs from what is expected; `None` when it is about something else.
    pub(super) fn differences(&self, line: &Value) -> Option<Vec<String>> {
        let end = |address: &str, port: &str| -> Option<SocketAddr> {
            let port = u16::try_from(line[port].as_u64()?).ok()?;
            Some(SocketAddr::new(line[address].as_str()?.parse().ok()?, port))
        };
        let remote = end("remote", "remote_port");
        if line["event"] != self.event
            || end("local", "local_port") != self.local
            || self.remote.is_some_and(|expected| Some(expected) != remote)
        {
            return None;
        }
        let mut found = Vec::new();
        let mut compare = |field: &str, got: &Value| {
            let said = &line[field];
            if said != got {
                found.push(format!("{field}: socktrace said {said}, the program saw {got}"));
            }
        };
        compare("errno", &name(self.errno).into());
        compare("errno_number", &self.errno.into());
        compare("cause", &self.cause.into());
        compare("call", &self.call.into());
        compare("protocol", &self.protocol.into());
        compare("family", &self.family().into());
        compare(
            "pid",
            &match self.process {
                Process::None => Value::Null,
                Process::Id(id) => id.into(),
                Process::Either(_, other) if line["pid"] == other => other.into(),
                Process::Either(one, _) => one.into(),
            },
        );
        for (field, value) in &self.fields {
            compare(field, value);
        }
        // Scenarios run in the root of all cgroups.
        let (cgroup, unknown) = match self.process {
            Process::None => (Value::Null, "not_accepted".into()),
            Process::Id(_) | Process::Either(..) => ("/".into(), Value::Null),
        };
        let told = |field: &str| self.fields.iter().any(|(told, _)| *told == field);
        for (field, value) in [("cgroup", cgroup), ("owner_unknown", unknown)] {
            if !told(field) {
                compare(field, &value);
            }
        }
        for field in NULL_UNLESS_TOLD.into_iter().filter(|field| !told(field)) {
            compare(field, &Value::Null);
        }
        if line["since_first_ms"].is_u64() != told(FIRST_ERRNO) {
            found.push(format!("since_first_ms: socktrace said {}", line["since_first_ms"]));
        }
        Some(found)
    }
}

/// An errno's name; `none` for 0.
fn name(errno: i32) -> String {
    if errno == 0 { "none".to_owned() } else { format!("{:?}", Errno::from_raw(errno)) }
}
