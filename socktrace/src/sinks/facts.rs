//! Facts about a failure beyond its diagnosis, for advice.

use std::{
    borrow::Cow,
    fs,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::MetadataExt as _,
    sync::LazyLock,
};

use socktrace_diagnosis::{
    Cause, Diagnosis, Finding,
    advice::{self, Facts, Namespace, Program},
};
use socktrace_ebpf::{Flags, Protocol, Role, event::parts};

use crate::record::{Flood, Record};

/// Network namespace of this process.
static OWN: LazyLock<Option<u32>> = LazyLock::new(|| inode("self"));

/// Network namespace of a process; `None` if it has gone or may not be inspected.
fn inode(process: &str) -> Option<u32> {
    let inode = fs::metadata(format!("/proc/{process}/ns/net")).ok()?.ino();
    inode.try_into().ok()
}

/// Place where commands about a socket in this network namespace show something: its process's
/// namespace, if that is the same. A process may hold sockets of other namespaces, and may have
/// gone.
pub(super) fn namespace(netns: u32, pid: Option<u32>) -> Namespace {
    if netns == 0 || OWN.is_none_or(|own| own == netns) {
        return Namespace::Own;
    }
    match pid.filter(|pid| inode(&pid.to_string()) == Some(netns)) {
        Some(pid) => Namespace::Of(pid),
        None => Namespace::Other(netns),
    }
}

/// Facts of one failure.
pub(super) fn of(record: &Record, namespace: Namespace, cause: Cause) -> Facts<'_> {
    let signature = record.event.signature;
    let ends = record.family.map(|_| (record.local, record.remote)).unzip();
    let (level, option) = (record.arguments.level, record.arguments.option);
    Facts {
        flags: Flags(signature.flags),
        protocol: Protocol::try_from(signature.protocol).ok(),
        role: record.role,
        local: ends.0,
        remote: ends.1,
        namespace,
        pid: record.process.as_ref().map(|process| process.pid),
        icmp: record.icmp,
        sender: record.sender.as_ref().map(|sender| Program {
            pid: sender.pid,
            comm: &sender.comm,
            reason: sender.reason.as_deref(),
            by_listener: sender.by_listener,
        }),
        killer: record.killer.as_ref().map(|killer| Program {
            pid: killer.pid,
            comm: &killer.comm,
            reason: None,
            by_listener: false,
        }),
        path: record.path.as_deref(),
        listener: record
            .listener
            .as_ref()
            .and_then(|listener| listener.process.as_ref())
            .map(|(pid, comm)| Program { pid: *pid, comm, reason: None, by_listener: false }),
        send_errno: record.send_errno(),
        option: (cause == Cause::SockoptRejected).then_some((level, option)),
        socket: record.socket_call(),
        has_unread: record.event.unread_bytes != 0,
        full_sized_lost: record.event.parts & parts::FULL_SIZED_LOST != 0,
        has_md5_key: record.event.parts & parts::MD5_KEY != 0,
        given: record.given(),
        accept_queue: record.accept_queue(),
    }
}

/// Advice on what to check first, for a failure or for what follows from one.
pub(super) fn advice_on(
    finding: Finding,
    found: Diagnosis,
    facts: &Facts<'_>,
) -> Cow<'static, str> {
    match finding {
        Finding::Undelivered(_) => advice::UNDELIVERED.into(),
        _ => advice::advice(found, facts),
    }
}

/// Facts that all failures of a flood share.
pub(super) fn of_flood(flood: &Flood) -> Facts<'_> {
    let port = |role| flood.service_port.filter(|_| flood.role == Some(role)).unwrap_or(0);
    let here = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port(Role::Server)));
    Facts {
        flags: Flags(flood.signature.flags),
        protocol: Protocol::try_from(flood.signature.protocol).ok(),
        role: flood.role,
        local: Some(here).filter(|here| here.port() != 0),
        remote: flood.remote.map(|remote| SocketAddr::new(remote, port(Role::Client))),
        pid: flood.process.as_ref().map(|process| process.pid),
        ..Facts::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_run_where_they_show_something() {
        let own = OWN.expect("a namespace");
        let other = own.wrapping_add(1);
        let this = std::process::id();
        assert_eq!(namespace(own, Some(this)), Namespace::Own);
        assert_eq!(namespace(0, None), Namespace::Own);
        // This process is in another namespace than the socket, so its namespace shows nothing.
        assert_eq!(namespace(other, Some(this)), Namespace::Other(other));
        assert_eq!(namespace(other, None), Namespace::Other(other));
    }
}
