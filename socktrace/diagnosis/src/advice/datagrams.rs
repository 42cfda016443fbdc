//! Advice on datagrams.

use std::borrow::Cow;

use nix::libc;

use super::{Facts, calls, icmp};

/// An ICMP message reported that nobody listens.
pub(super) fn port(facts: &Facts<'_>) -> Option<Cow<'static, str>> {
    let to = facts.peer_with_port()?;
    let (ip, port) = (to.ip(), to.port());
    if facts.is_peer_here() {
        let shown = facts.command(format_args!("ss -ulnp 'sport = :{port}'"));
        return Some(
            format!("start its service, or see on which address it listens: {shown}").into(),
        );
    }
    // The message came from a device on the path, such as a firewall.
    if facts.icmp.is_some_and(|message| message.router.to_canonical() != ip.to_canonical()) {
        return icmp::advice(facts);
    }
    Some(
        format!(
            "on {ip}: is the service running, and bound to port {port} of that address (ss -ulnp); if \
             so, its firewall rejects"
        )
        .into(),
    )
}

/// The receive queue is full.
pub(super) fn queue(facts: &Facts<'_>) -> Option<Cow<'static, str>> {
    let port = facts.local?.port();
    Some(
        format!(
            "{} shows the buffer as rb and the drops as d: where d grows all the time, the program is \
             too slow; for bursts raise SO_RCVBUF, up to net.core.rmem_max",
            facts.command(format_args!("ss -uanmp 'sport = :{port}'"))
        )
        .into(),
    )
}

/// This host refused a datagram.
pub(super) fn send(errno: i32, facts: &Facts<'_>) -> Option<Cow<'static, str>> {
    let route = |facts: &Facts<'_>| {
        facts.peer().map(|peer| facts.command(format_args!("ip route get {peer}")))
    };
    let text = match errno {
        libc::EPERM => format!(
            "a rule of this host's own firewall or a BPF program of the cgroup drops it: {}, bpftool \
             cgroup tree",
            facts.command("nft list ruleset")
        ),
        libc::ENETUNREACH | libc::EHOSTUNREACH => {
            format!("{} shows what is missing", route(facts)?)
        }
        libc::EACCES => format!(
            "a broadcast address needs SO_BROADCAST; else a route prohibits it: {}",
            route(facts)?
        ),
        libc::EMSGSIZE => {
            "send smaller datagrams, or clear IP_MTU_DISCOVER so that they are fragmented"
                .to_owned()
        }
        libc::ENOBUFS => format!(
            "{} shows drops of the device's queue: send less at once",
            facts.command("tc -s qdisc")
        ),
        libc::ENOMEM => return Some(calls::memory(facts)),
        libc::EADDRNOTAVAIL | libc::ENETDOWN => format!(
            "{} shows which addresses there are, and which interfaces are down",
            facts.command("ip -br addr")
        ),
        _ => return calls::trace("sendto,sendmsg,sendmmsg", "address, length and options", facts),
    };
    Some(text.into())
}
