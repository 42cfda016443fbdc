//! Sockets that cannot be created.

use std::{
    io,
    os::fd::{FromRawFd as _, OwnedFd},
};

use anyhow::Result;
use nix::{
    libc,
    sys::resource::{Resource, getrlimit, setrlimit},
};

use super::{
    bind,
    expected::Expected,
    network::Family,
    socket::{self, ensure_errno},
};

/// Family, type and protocol, as `socket` takes them.
pub(super) type Asked = (i32, i32, i32);

/// A family that no kernel has: the highest number is 45 (`AF_MAX` in `include/linux/socket.h`).
const NO_FAMILY: i32 = 77;
/// A protocol that no kernel has.
const NO_PROTOCOL: i32 = 250;

/// Address family, as passed to `socket`.
pub(super) fn domain(family: Family) -> i32 {
    if family == Family::Ipv4 { libc::AF_INET } else { libc::AF_INET6 }
}

/// Address family, as named in headers.
pub(super) fn domain_name(family: Family) -> &'static str {
    if family == Family::Ipv4 { "AF_INET" } else { "AF_INET6" }
}

/// Address family, as named in lines.
pub(super) fn family_name(family: Family) -> &'static str {
    if family == Family::Ipv4 { "ipv4" } else { "ipv6" }
}

fn open((family, socket_type, protocol): Asked) -> io::Result<OwnedFd> {
    // SAFETY: takes numbers and touches no memory.
    let descriptor = unsafe { libc::socket(family, socket_type | libc::SOCK_CLOEXEC, protocol) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just opened it for this call.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Requests a socket that this thread does not get.
pub(super) fn refused(asked: Asked, wanted: i32) -> Result<Expected> {
    reported(open(asked), wanted)
}

fn reported(asked: io::Result<OwnedFd>, wanted: i32) -> Result<Expected> {
    let errno = socket::errno("socket", asked)?;
    ensure_errno("socket", errno, wanted)?;
    Ok(Expected::no_socket_made(errno))
}

/// The process has reached its limit of open files.
pub(super) fn too_many_files(family: Family) -> Result<Vec<Expected>> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    // All lower descriptors are in use: stdin, stdout and stderr.
    setrlimit(Resource::RLIMIT_NOFILE, 3, hard)?;
    let tcp = open((domain(family), libc::SOCK_STREAM, 0));
    let unix = open((libc::AF_UNIX, libc::SOCK_SEQPACKET, 0));
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard)?;
    Ok(vec![
        reported(tcp, libc::EMFILE)?.asked(
            family_name(family),
            "tcp",
            [domain_name(family), "SOCK_STREAM", "0"],
        ),
        reported(unix, libc::EMFILE)?.asked("unix", "unix", ["AF_UNIX", "SOCK_SEQPACKET", "0"]),
    ])
}

/// An ordinary user requests sockets that require `CAP_NET_RAW`.
pub(super) fn not_permitted(family: Family) -> Result<Vec<Expected>> {
    let raw = (domain(family), libc::SOCK_RAW, libc::IPPROTO_ICMP);
    let packet = (libc::AF_PACKET, libc::SOCK_DGRAM, 0);
    let words = [domain_name(family), "SOCK_RAW", "IPPROTO_ICMP"];
    bind::as_nobody(|| {
        Ok(vec![
            refused(raw, libc::EPERM)?.asked(family_name(family), "raw", words),
            refused(packet, libc::EPERM)?.asked(
                "packet",
                "packet",
                ["AF_PACKET", "SOCK_DGRAM", "0"],
            ),
        ])
    })
}

/// An ordinary user without `CAP_NET_RAW` requests a ping socket, which
/// `net.ipv4.ping_group_range` does not grant to the user's group.
pub(super) fn may_not_ping(family: Family) -> Result<Vec<Expected>> {
    let (protocol, name) = match family {
        Family::Ipv4 => (libc::IPPROTO_ICMP, "IPPROTO_ICMP"),
        Family::Ipv6 | Family::Mapped => (libc::IPPROTO_ICMPV6, "IPPROTO_ICMPV6"),
    };
    let asked = (domain(family), libc::SOCK_DGRAM, protocol);
    let words = [domain_name(family), "SOCK_DGRAM", name];
    Ok(vec![refused(asked, libc::EACCES)?.asked(family_name(family), "icmp", words)])
}

/// A program probes which protocols the kernel has.
pub(super) fn unknown(family: Family) -> Result<Vec<Expected>> {
    let probe = |failure: Expected| failure.with("severity", "expected");
    let no_family = refused((NO_FAMILY, libc::SOCK_STREAM, 0), libc::EAFNOSUPPORT)?;
    let no_protocol = (domain(family), libc::SOCK_STREAM, NO_PROTOCOL);
    let no_protocol = refused(no_protocol, libc::EPROTONOSUPPORT)?;
    let words = [domain_name(family), "SOCK_STREAM", "250"];
    let mut failures = vec![
        probe(no_family).asked("other", "other", ["77", "SOCK_STREAM", "0"]),
        probe(no_protocol).asked(family_name(family), "other", words),
    ];
    if !super::has_mptcp() {
        let mptcp = (domain(family), libc::SOCK_STREAM, libc::IPPROTO_MPTCP);
        let words = [domain_name(family), "SOCK_STREAM", "IPPROTO_MPTCP"];
        let failure = refused(mptcp, libc::EPROTONOSUPPORT)?;
        failures.push(probe(failure).asked(family_name(family), "mptcp", words));
    }
    Ok(failures)
}

/// IPv6 is disabled.
pub(super) fn without_ipv6(_family: Family) -> Result<Vec<Expected>> {
    let asked = (libc::AF_INET6, libc::SOCK_DGRAM, 0);
    let failure = refused(asked, libc::EAFNOSUPPORT)?.with("severity", "expected");
    Ok(vec![failure.asked("ipv6", "udp", ["AF_INET6", "SOCK_DGRAM", "0"])])
}
