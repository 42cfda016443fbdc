//! Advice on calls refused by this host.

use std::{borrow::Cow, net::IpAddr};

use nix::libc;
use socktrace_ebpf::{Flags, Protocol};

use super::Facts;

/// Level and option of `TCP_ULP`, as in `<linux/tcp.h>`.
const ULP: (i32, i32) = (libc::IPPROTO_TCP, libc::TCP_ULP);

/// Level and option of `TCP_CONGESTION`.
const CONGESTION: (i32, i32) = (libc::IPPROTO_TCP, libc::TCP_CONGESTION);

/// Accept lacked descriptors or memory.
pub(super) fn resources(errno: i32, facts: &Facts<'_>) -> Option<Cow<'static, str>> {
    match errno {
        libc::EMFILE => descriptors(facts),
        libc::ENFILE => Some(files()),
        _ => Some(memory(facts)),
    }
}

/// accept was refused for a reason other than policy.
pub(super) fn accept(errno: i32, facts: &Facts<'_>) -> Option<Cow<'static, str>> {
    match errno {
        libc::EINVAL if facts.flags.has(Flags::NEVER_LISTENED) => trace(
            "listen,accept,accept4",
            "whether listen was called, and on which descriptor",
            facts,
        ),
        libc::EFAULT | libc::EINVAL => {
            trace("accept,accept4", "the pointer, the length and the flags", facts)
        }
        _ => None,
    }
}

/// A listener's queue was full.
pub(super) fn queue(facts: &Facts<'_>) -> Option<Cow<'static, str>> {
    let (queue, port) = (facts.accept_queue?, facts.local?.port());
    let listeners = facts.command(format_args!("ss -lntp 'sport = :{port}'"));
    if !queue.accepting {
        let stacks =
            facts.pid.map_or_else(String::new, |pid| format!(" (cat /proc/{pid}/task/*/stack)"));
        return Some(
            format!(
                "what does the program do instead of accepting{stacks}; {listeners} shows its queue as \
                 Recv-Q"
            )
            .into(),
        );
    }
    let limit = queue.limit;
    Some(
        format!(
            "what keeps the program from accepting (a busy loop, too few workers); if that cannot be \
             helped, a backlog above {limit} (listen, and net.core.somaxconn) bridges bursts: {listeners}"
        )
        .into(),
    )
}

/// A socket option was rejected.
pub(super) fn option(errno: i32, facts: &Facts<'_>) -> Option<Cow<'static, str>> {
    let text = match errno {
        libc::EBADF | libc::ENOTSOCK => {
            return trace("desc,network", "who closed the descriptor before", facts);
        }
        libc::EFAULT => return trace("setsockopt,getsockopt", "the pointer", facts),
        libc::ENOENT if facts.option == Some(CONGESTION) => format!(
            "{} lists the available ones; a module is loaded on demand only with CAP_NET_ADMIN",
            facts.command("sysctl net.ipv4.tcp_available_congestion_control")
        ),
        libc::ENOENT if facts.option == Some(ULP) => {
            "harmless if the program does without kernel TLS; else modprobe tls at boot".to_owned()
        }
        libc::EEXIST if facts.option == Some(ULP) => {
            "the socket has it already, as a library may have set it: go on".to_owned()
        }
        libc::EBUSY => "it was set before and cannot be changed while in use: set it once".to_owned(),
        libc::EDOM => "tv_usec must be from 0 to 999999: convert milliseconds into seconds and \
                       microseconds"
            .to_owned(),
        libc::ENODEV => format!(
            "{} lists the interfaces of the socket's network namespace",
            facts.command("ip -br link")
        ),
        libc::EPERM | libc::EACCES => {
            let Some(pid) = facts.pid else {
                return Some("it needs a capability, usually CAP_NET_ADMIN".into());
            };
            format!(
                "it needs a capability, usually CAP_NET_ADMIN: grep CapEff /proc/{pid}/status shows \
                 what the process has"
            )
        }
        libc::ENOTCONN => "set it after connect has finished".to_owned(),
        libc::EOPNOTSUPP | libc::ENOPROTOOPT if facts.protocol == Some(Protocol::Mptcp) => {
            "MPTCP does not have every TCP option: do without it, or without MPTCP".to_owned()
        }
        libc::EOPNOTSUPP | libc::ENOPROTOOPT => {
            "this kernel does not have the option at this level, or it can only be read: do without \
             it"
                .to_owned()
        }
        libc::EINVAL => {
            return trace("setsockopt,getsockopt", "value and length, and what came before", facts);
        }
        _ => return None,
    };
    Some(text.into())
}

/// No socket could be created.
pub(super) fn socket(errno: i32, facts: &Facts<'_>) -> Option<Cow<'static, str>> {
    let call = facts.socket?;
    let is_sctp = call.protocol == libc::IPPROTO_SCTP;
    let text = match errno {
        libc::EMFILE => return descriptors(facts),
        libc::ENFILE => return Some(files()),
        libc::ENOBUFS | libc::ENOMEM => return Some(memory(facts)),
        libc::EINVAL => return trace("socket", "family, type, flags and protocol", facts),
        libc::EACCES if call.socket_type == libc::SOCK_DGRAM => {
            "sysctl net.ipv4.ping_group_range has the groups; else the log of the security module \
             (journalctl --grep 'avc:|apparmor=')"
        }
        libc::EPERM | libc::EACCES => {
            "grant the one capability in its unit (AmbientCapabilities=CAP_NET_RAW) or container; \
             if it has that, see bpftool cgroup tree and the log of the security module"
        }
        libc::EAFNOSUPPORT if call.family == libc::AF_INET6 => {
            "go on with IPv4; IPv6 was left out of this kernel, or off at boot (ipv6.disable=1)"
        }
        libc::EPROTONOSUPPORT if is_sctp => "modprobe sctp: is the module there, and not blocked",
        libc::ENOPROTOOPT => "sysctl net.mptcp.enabled; without MPTCP, go on with TCP",
        libc::EAFNOSUPPORT | libc::EPROTONOSUPPORT | libc::ESOCKTNOSUPPORT => {
            "the program has to do without what this kernel does not have; is it requested on \
             purpose"
        }
        _ => return None,
    };
    Some(text.into())
}

/// bind was refused for a reason other than policy.
pub(super) fn bind(errno: i32, facts: &Facts<'_>) -> Option<Cow<'static, str>> {
    let wanted = facts.local?;
    if facts.flags.has(Flags::MALFORMED) && errno == libc::EINVAL {
        return trace("bind", "the address and its length", facts);
    }
    let (ip, port) = (wanted.ip(), wanted.port());
    let text = match errno {
        libc::EADDRINUSE if facts.protocol == Some(Protocol::Udp) => {
            "stop an old instance, or set SO_REUSEPORT in both; a client: bind to port 0, or put the \
             port into net.ipv4.ip_local_reserved_ports"
                .to_owned()
        }
        libc::EADDRINUSE if port == 0 => {
            let those = if ip.is_unspecified() { String::new() } else { format!(" src {ip}") };
            format!(
                "{} lists what holds the ports: close idle connections, or widen the range",
                facts.command(format_args!("ss -tan{those}"))
            )
        }
        // The reason contains the command that shows which case it is.
        libc::EADDRINUSE => format!(
            "a listener, as of an old instance: stop it, or set SO_REUSEPORT in both; only TIME_WAIT: \
             set SO_REUSEADDR; a client: put the port into net.ipv4.ip_local_reserved_ports; nothing \
             there: a socket that is bound and no more ({}, since Linux 6.8)",
            facts.command(format_args!("ss -tanpB 'sport = :{port}'"))
        ),
        libc::EADDRNOTAVAIL => {
            let checked = match ip {
                IpAddr::V6(_) => "; a new IPv6 address is checked for a second or two first",
                IpAddr::V4(_) => "",
            };
            format!(
                "{} lists the addresses of the host; at boot, start after network-online.target{checked}",
                facts.command("ip -br addr")
            )
        }
        libc::EACCES => "grant it in the unit (AmbientCapabilities=CAP_NET_BIND_SERVICE), or have \
                         systemd listen and pass the socket on"
            .to_owned(),
        libc::EINVAL => return trace("bind,connect", "address, length and an earlier bind", facts),
        libc::EAFNOSUPPORT => "take family and address of the socket from the same result of \
                               getaddrinfo"
            .to_owned(),
        libc::ENODEV => {
            format!("{} lists the interfaces to give as scope", facts.command("ip -br link"))
        }
        libc::ENOBUFS | libc::ENOMEM => return Some(memory(facts)),
        _ => return None,
    };
    Some(text.into())
}

/// listen was refused for a reason other than policy.
pub(super) fn listen(errno: i32, facts: &Facts<'_>) -> Option<Cow<'static, str>> {
    let port = facts.local.map(|local| local.port()).filter(|port| *port != 0)?;
    match errno {
        libc::EADDRINUSE => {
            let listener = facts.command(format_args!("ss -tlnp 'sport = :{port}'"));
            Some(format!("{listener} shows who listens there already").into())
        }
        libc::EINVAL => trace("connect,listen", "what was done with the socket before", facts),
        _ => None,
    }
}

/// One process has too many descriptors.
fn descriptors(facts: &Facts<'_>) -> Option<Cow<'static, str>> {
    let pid = facts.pid?;
    Some(
        format!(
            "ls -l /proc/{pid}/fd shows what the descriptors are: if they only grow in number, they \
             leak; else raise LimitNOFILE= of its unit"
        )
        .into(),
    )
}

/// The whole system has too many open files.
fn files() -> Cow<'static, str> {
    "cat /proc/sys/fs/file-nr shows how many are open and the limit, lsof which process has most"
        .into()
}

/// Memory was short.
pub(super) fn memory(facts: &Facts<'_>) -> Cow<'static, str> {
    format!(
        "memory.events of its cgroup shows whether that is at its limit; {} what sockets use of \
         net.ipv4.tcp_mem",
        facts.command("cat /proc/net/sockstat")
    )
    .into()
}

/// A write on an intact connection was refused.
pub(super) fn write(errno: i32, facts: &Facts<'_>) -> Option<Cow<'static, str>> {
    match errno {
        libc::EFAULT => trace("network,write,writev", "the buffer", facts),
        libc::EINVAL | libc::EPERM => trace("sendmsg,sendmmsg", "the control message", facts),
        _ => None,
    }
}

/// A bug of the program, which a trace of its calls shows.
pub(super) fn trace(calls: &str, shows: &str, facts: &Facts<'_>) -> Option<Cow<'static, str>> {
    let pid = facts.pid?;
    Some(format!("a bug of the program: strace -f -e trace={calls} -p {pid} shows {shows}").into())
}
