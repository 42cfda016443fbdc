//! Advice on failed connects.

use std::{borrow::Cow, net::IpAddr};

use nix::libc;
use socktrace_ebpf::{Flags, Protocol};

use super::{Facts, Namespace, calls};

/// A SYN was answered by an RST.
pub(super) fn refused(facts: &Facts<'_>) -> Option<Cow<'static, str>> {
    let to = facts.peer_with_port()?;
    let (ip, port) = (to.ip(), to.port());
    let text = if !facts.is_peer_here() {
        format!(
            "on {ip}: is the service running, and bound to port {port} of that address and not only \
             to 127.0.0.1; if so, a firewall rejects with tcp-reset"
        )
    } else if ip.is_loopback() && facts.namespace != Namespace::Own {
        format!(
            "{ip} is the loopback of that container or network namespace: is the service in \
             there, and on port {port} ({})",
            facts.command("ss -tlnp")
        )
    } else {
        format!(
            "start its service, or see on which address and port it listens: {}",
            facts.command("ss -tlnp")
        )
    };
    Some(text.into())
}

/// SYNs were not answered.
pub(super) fn timeout(facts: &Facts<'_>) -> Option<Cow<'static, str>> {
    let to = facts.peer_with_port()?;
    let (ip, port) = (to.ip(), to.port());
    let text = if facts.is_peer_here() {
        format!(
            "{} shows a full accept queue as Recv-Q above Send-Q; if there is none, this host's own \
             firewall drops: {}",
            facts.command(format_args!("ss -tlnp 'sport = :{port}'")),
            facts.command("nft list ruleset"),
        )
    } else {
        format!(
            "{} shows at the next try whether SYNs leave and what comes back; if nothing does: is \
             the host up, does a firewall drop silently, or is its accept queue full (ss -tln there, \
             Recv-Q above Send-Q)",
            facts.command(format_args!("tcpdump -ni any 'host {ip} and tcp port {port}'")),
        )
    };
    Some(text.into())
}

/// This host has no route to the address.
pub(super) fn no_route(errno: i32, facts: &Facts<'_>) -> Option<Cow<'static, str>> {
    let to = facts.peer()?;
    if facts.given.is_some_and(|given| given.only_v6) && to.is_ipv4() {
        return Some(
            "clear IPV6_V6ONLY before connect, or use a socket of AF_INET for IPv4 addresses"
                .into(),
        );
    }
    let ip = ip_command(to);
    let is_link_local = matches!(to, IpAddr::V6(to) if to.is_unicast_link_local());
    let is_bound_to_loopback = facts.local.is_some_and(|local| local.ip().is_loopback());
    let routes = |kind| facts.command(format_args!("{ip} route show table all type {kind}"));
    let text = match errno {
        libc::EINVAL if is_link_local => format!(
            "{} lists the interfaces to choose from; getaddrinfo keeps the scope of a name that has \
             one",
            facts.command("ip -br link")
        ),
        libc::EINVAL if is_zero_net(to) => {
            "0.0.0.0/8 names no host but 0.0.0.0, which is this one: where does the address come from"
                .to_owned()
        }
        libc::EINVAL if is_bound_to_loopback && !to.is_loopback() => {
            "from a loopback address nothing leaves the host: bind to no address, or to one of an \
             interface"
                .to_owned()
        }
        libc::EINVAL => format!(
            "{} lists such routes; container networks and routing daemons install them",
            routes("blackhole")
        ),
        libc::EHOSTUNREACH => format!(
            "{} lists such routes; container networks and routing daemons install them",
            routes("unreachable")
        ),
        libc::ENETUNREACH if is_group(to) && facts.protocol != Some(Protocol::Udp) => {
            "TCP cannot connect to a broadcast or multicast address: is the address right"
                .to_owned()
        }
        libc::ENETUNREACH if to.is_ipv6() => format!(
            "harmless if the program goes on with an IPv4 address; else {} shows whether the host \
             has an IPv6 address and its interface is up",
            facts.command("ip -br addr")
        ),
        libc::ENETUNREACH => format!(
            "{} shows whether an interface is down, and its routes with it; else a default route is \
             missing",
            facts.command("ip -br addr")
        ),
        _ => return None,
    };
    Some(text.into())
}

/// This host's kernel refused the connect.
pub(super) fn local(errno: i32, facts: &Facts<'_>) -> Option<Cow<'static, str>> {
    let port = facts.local.map(|local| local.port());
    let to = facts.peer();
    let text = match (errno, to) {
        (libc::EINVAL, _) if facts.flags.has(Flags::MALFORMED) => {
            return calls::trace("connect", "the address and its length", facts);
        }
        (libc::EADDRNOTAVAIL, _) if facts.protocol == Some(Protocol::Udp) => format!(
            "harmless if the program goes on with another address; else {} shows what addresses there \
             are",
            facts.command("ip -br addr")
        ),
        (libc::EINVAL, _) if facts.protocol == Some(Protocol::Udp) => {
            return no_route(errno, facts);
        }
        // The socket is bound to a port, so the address pair is in use.
        (libc::EADDRNOTAVAIL, _) if port.is_some_and(|port| port != 0) => {
            "keep the connection open instead of opening another, or leave the source port to the \
             kernel; TIME_WAIT ends after 60 s"
                .to_owned()
        }
        (libc::EADDRNOTAVAIL, Some(to)) if to.is_ipv6() => format!(
            "reuse connections, or widen the range; where few are open, this host has no IPv6 address \
             for the destination: {}",
            facts.command("ip -6 -br addr")
        ),
        (libc::EADDRNOTAVAIL, Some(_)) => {
            "reuse connections, widen the range, or use more source addresses: whoever closes first \
             keeps the port for 60 s of TIME_WAIT"
                .to_owned()
        }
        (libc::EACCES, Some(to)) => format!(
            "{} says \"Permission denied\" if it is a prohibit route; else a security module forbids \
             it (journalctl --grep 'avc:|apparmor=')",
            facts.command(format_args!("ip route get {to}"))
        ),
        (libc::ENOBUFS | libc::ENOMEM, _) => return Some(calls::memory(facts)),
        (libc::EAFNOSUPPORT, _) => "take family and address of the socket from the same result of \
                                    getaddrinfo; an IPv4 address on an IPv6 socket is written \
                                    ::ffff:a.b.c.d"
            .to_owned(),
        (libc::EOPNOTSUPP, _) if facts.given.is_some_and(|given| given.family == 0) => {
            return calls::trace("sendto,sendmsg", "the address", facts);
        }
        (libc::EOPNOTSUPP, _) if facts.flags.has(Flags::FAST_OPEN) => format!(
            "{} must have bit 1 set for clients; without it, connect first",
            facts.command("sysctl net.ipv4.tcp_fastopen")
        ),
        (libc::EKEYREJECTED, _) => "a peer takes either a TCP-MD5 key or TCP-AO keys, of which one \
                                    has to be for this address: look at the neighbour in the \
                                    configuration of the routing daemon"
            .to_owned(),
        _ => return None,
    };
    Some(text.into())
}

/// The `ip` command for the family of an address.
fn ip_command(address: IpAddr) -> &'static str {
    if address.is_ipv6() { "ip -6" } else { "ip" }
}

/// Whether an address is in 0.0.0.0/8, to which IPv4 sends nothing (`__mkroute_output`).
fn is_zero_net(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(address) if address.octets()[0] == 0)
}

/// Whether an address stands for several hosts, without considering netmasks.
fn is_group(address: IpAddr) -> bool {
    address.is_multicast() || matches!(address, IpAddr::V4(address) if address.is_broadcast())
}
