//! Advice on what to look at first, by cause, errno and other facts about a failure.
//!
//! The table of causes has generic advice. This module adapts it to one failure: with its port,
//! peer and process, and with commands that are useful in this case, run in the socket's network
//! namespace. It does not repeat the reason, which says what happened.

mod calls;
mod connecting;
mod datagrams;
mod icmp;
mod resets;
mod sending;
#[cfg(test)]
mod tests;
mod timeouts;
mod unix;

use std::{
    borrow::Cow,
    fmt,
    net::{IpAddr, SocketAddr},
};

use nix::libc;
use socktrace_ebpf::{AcceptQueue, Flags, Given, Protocol, Role, SocketCall};

use crate::{Call, Cause, Diagnosis, Errno};

/// Facts about a failure in addition to its diagnosis; [`Self::default`] has none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts<'a> {
    /// Flags that the kernel side set.
    pub flags: Flags,
    /// The protocol that the socket was opened with.
    pub protocol: Option<Protocol>,
    /// This host's role in the connection.
    pub role: Option<Role>,
    /// The local end; for bind, the requested address.
    pub local: Option<SocketAddr>,
    /// The remote end; for connect, the requested address.
    pub remote: Option<SocketAddr>,
    /// Network namespace in which network commands must run.
    pub namespace: Namespace,
    /// The process that gets the errno.
    pub pid: Option<u32>,
    /// The ICMP message behind the errno.
    pub icmp: Option<Icmp>,
    /// The process of this host that sent the RST.
    pub sender: Option<Program<'a>>,
    /// The process of this host that killed the socket.
    pub killer: Option<Program<'a>>,
    /// Errno of the last transmission, if it failed on this host.
    pub send_errno: Option<Errno>,
    /// Level and number of a socket option.
    pub option: Option<(i32, i32)>,
    /// Arguments of `socket`.
    pub socket: Option<SocketCall>,
    /// Whether unread data from the peer is queued in the socket.
    pub has_unread: bool,
    /// Whether full-sized segments were lost and a small one arrived.
    pub full_sized_lost: bool,
    /// Whether the socket has a key for TCP MD5 signatures.
    pub has_md5_key: bool,
    /// The path of a Unix socket, or its abstract name after `@`.
    pub path: Option<&'a str>,
    /// The process of this host whose listener's queue was full.
    pub listener: Option<Program<'a>>,
    /// The address argument of connect or bind.
    pub given: Option<Given>,
    /// A listener's queue.
    pub accept_queue: Option<AcceptQueue>,
}

/// The network namespace of a socket, relative to the daemon's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Namespace {
    /// The daemon's own, or unknown.
    #[default]
    Own,
    /// That of this process.
    Of(u32),
    /// Another one with this inode, for which no process is known.
    Other(u32),
}

impl Namespace {
    /// Returns a network command that runs in this namespace.
    #[must_use]
    pub fn command(self, command: impl fmt::Display) -> String {
        match self {
            Self::Own => command.to_string(),
            Self::Of(pid) => format!("nsenter -t {pid} -n {command}"),
            Self::Other(inode) => {
                format!("{command} (in network namespace {inode}, see lsns -t net)")
            }
        }
    }
}

/// An ICMP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Icmp {
    /// Its type.
    pub kind: u8,
    /// Its code.
    pub code: u8,
    /// Address of the sender.
    pub router: IpAddr,
}

/// A process of this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Program<'a> {
    /// Process id.
    pub pid: u32,
    /// Command name.
    pub comm: &'a str,
    /// The kernel's reason for sending an RST.
    pub reason: Option<&'a str>,
    /// Whether it sent the RST by closing a listener, to a queued connection.
    pub by_listener: bool,
}

impl fmt::Display for Program<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.comm, self.pid)
    }
}

/// Advice for a socket that was closed before any call returned its errno.
pub const UNDELIVERED: &str = "no call failed by it: look at the program only if it should have \
                               noticed, as when it closes without a last read or SO_ERROR";

/// Returns advice on what to look at first.
#[must_use]
pub fn advice(found: Diagnosis, facts: &Facts<'_>) -> Cow<'static, str> {
    special(found, facts).unwrap_or(Cow::Borrowed(found.cause.advice()))
}

/// Advice for this case; `None` where the cause's own advice suffices.
fn special(found: Diagnosis, facts: &Facts<'_>) -> Option<Cow<'static, str>> {
    let errno = i32::from(found.errno.0);
    if facts.flags.has(Flags::POLICY) {
        return Some(policy(found.call, errno).into());
    }
    if facts.protocol == Some(Protocol::Unix)
        && let Some(text) = unix::advice(found.cause, errno, facts)
    {
        return Some(text);
    }
    match found.cause {
        Cause::ResetByPeer | Cause::ResetAfterRetransmit | Cause::ResetAfterPeerClose
            if facts.has_unread =>
        {
            Some(resets::unread(found.cause, facts))
        }
        Cause::RetransmitTimeout | Cause::UserTimeout if facts.full_sized_lost => {
            timeouts::too_large(facts)
        }
        Cause::ConnectTimeout | Cause::RetransmitTimeout | Cause::UserTimeout
            if facts.has_md5_key =>
        {
            timeouts::md5_key(facts)
        }
        Cause::PortUnreachable => datagrams::port(facts),
        Cause::ReceiveQueueFull => datagrams::queue(facts),
        Cause::SendRefused => datagrams::send(errno, facts),
        Cause::ConnectRefused | Cause::ConnectTimeout | Cause::ResetByPeer
            if facts.protocol == Some(Protocol::Vsock) =>
        {
            Some(
                "is the other machine up, and does its program listen at this port (ss -l --vsock there)"
                    .into(),
            )
        }
        Cause::ConnectRefused => connecting::refused(facts),
        Cause::ConnectTimeout | Cause::ConnectSendTimeout => connecting::timeout(facts),
        Cause::SendTimeout if facts.flags.has(Flags::ZERO_WINDOW) => timeouts::zero_window(facts),
        Cause::ConnectNoRoute => connecting::no_route(errno, facts),
        Cause::ConnectLocal => connecting::local(errno, facts),
        Cause::ConnectRefusedIcmp
        | Cause::ConnectUnreachable
        | Cause::UnreachableBeforeAccept
        | Cause::UnreachableTimeout
        | Cause::UnreachableReported => icmp::advice(facts),
        Cause::ResetBeforeAccept => resets::before_accept(facts),
        Cause::ResetByPeer => resets::by_peer(facts),
        Cause::ResetWithoutAnswer => resets::without_answer(facts),
        Cause::ResetAfterRetransmit => resets::after_retransmit(facts),
        Cause::ResetAfterIdle => resets::after_idle(facts),
        Cause::AbortedLocally => resets::killed(facts),
        Cause::PrematureEof => resets::premature_eof(facts),
        Cause::ConnectSendFailed | Cause::SendFailedLocally => sending::advice(facts),
        Cause::RetransmitTimeout => timeouts::retransmit(facts),
        Cause::UserTimeout => timeouts::user(facts),
        Cause::KeepaliveTimeout => timeouts::keepalive(facts),
        Cause::ZeroWindowTimeout => timeouts::zero_window(facts),
        Cause::AcceptResources => calls::resources(errno, facts),
        Cause::AcceptFailed => calls::accept(errno, facts),
        Cause::AcceptQueueOverflow => calls::queue(facts),
        Cause::SockoptRejected => calls::option(errno, facts),
        Cause::SocketFailed => calls::socket(errno, facts),
        Cause::BindFailed => calls::bind(errno, facts),
        Cause::ListenFailed => calls::listen(errno, facts),
        Cause::Interrupted if found.call == Call::Connect => Some(
            "connect goes on in the background: wait until the socket is writable and read \
             SO_ERROR, instead of calling connect again"
                .into(),
        ),
        Cause::WriteFailed => calls::write(errno, facts),
        _ => None,
    }
}

/// A security module or a BPF program forbade the call. cgroup BPF programs apply to `bind` and
/// `connect`, and return EPERM; most security modules return EACCES.
fn policy(call: Call, errno: i32) -> &'static str {
    match (call, errno) {
        (Call::Connect, libc::EPERM) => {
            "bpftool cgroup tree lists the BPF programs of cgroups, as container networks attach \
             them for connect; if there is none, see the log of the security module"
        }
        (Call::Bind, libc::EPERM) => {
            "bpftool cgroup tree lists the BPF programs of cgroups, of which SocketBindDeny= of \
             systemd is one for bind; if there is none, see the log of the security module"
        }
        (_, libc::EPERM) => {
            "bpftool prog list shows BPF programs of the type lsm; if there is none, see the log of \
             the security module"
        }
        _ => {
            "the log of the security module names the rule (journalctl --grep 'avc:|apparmor='); \
             Landlock logs nothing before Linux 6.15"
        }
    }
}

impl Facts<'_> {
    /// Returns a network command that runs in the socket's namespace.
    fn command(&self, command: impl fmt::Display) -> String {
        self.namespace.command(command)
    }

    /// Address of the remote end, if there is one.
    fn peer(&self) -> Option<IpAddr> {
        self.remote.map(|remote| remote.ip()).filter(|address| !address.is_unspecified())
    }

    /// Remote end with its port.
    fn peer_with_port(&self) -> Option<SocketAddr> {
        self.remote.filter(|remote| self.peer().is_some() && remote.port() != 0)
    }

    /// Whether the remote end is known to be on this host.
    fn is_peer_here(&self) -> bool {
        let address = |end: Option<SocketAddr>| end.map(|end| end.ip().to_canonical());
        self.sender.is_some()
            || self.peer().is_some_and(|peer| {
                peer.to_canonical().is_loopback()
                    || Some(peer.to_canonical()) == address(self.local)
            })
    }

    /// Whether an ICMP message came from this host itself.
    fn is_own(&self, message: Icmp) -> bool {
        let router = message.router.to_canonical();
        router.is_loopback() || self.local.is_some_and(|local| local.ip().to_canonical() == router)
    }
}
