//! Advice on ICMP messages: look at the host they came from.

use std::borrow::Cow;

use socktrace_ebpf::Protocol;

use super::{Facts, Icmp};

/// Subject of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Prohibited by a firewall, with its own code or with one that hosts use for other reasons.
    Prohibited,
    /// The port. For TCP, only firewalls send this.
    Port,
    /// The host.
    Host,
    /// The network.
    Network,
    /// The hop limit.
    Hops,
    /// The size of a packet.
    Size,
    /// Something else.
    Other,
}

impl Kind {
    /// Classifies by the numbers of RFC 792, 1122 and 1812, or of RFC 4443.
    const fn of(message: Icmp) -> Self {
        match (message.router.is_ipv4(), message.kind, message.code) {
            (true, 3, 9 | 10 | 13) | (false, 1, 1 | 5) => Self::Prohibited,
            (true, 3, 3) | (false, 1, 4) => Self::Port,
            (true, 3, 1 | 7) | (false, 1, 3) => Self::Host,
            (true, 3, 0 | 6) | (false, 1, 0 | 6) => Self::Network,
            (true, 11, _) | (false, 3, _) => Self::Hops,
            (true, 3, 4) | (false, 2, _) => Self::Size,
            _ => Self::Other,
        }
    }
}

pub(super) fn advice(facts: &Facts<'_>) -> Option<Cow<'static, str>> {
    let peer = facts.peer()?;
    let Some(message) = facts.icmp else {
        let route = facts.command(format_args!("ip route get {peer}"));
        return Some(
            format!(
                "{route} shows device and gateway; tcpdump -ni any 'icmp or icmp6' shows who says \
                 so when it is tried again"
            )
            .into(),
        );
    };
    let kind = Kind::of(message);
    let router = message.router;
    let port = facts.peer_with_port().map_or_else(String::new, |to| format!(" port {}", to.port()));
    let text = match (facts.is_own(message), kind) {
        (true, Kind::Host) => format!(
            "{} shows device and gateway: nobody answers ARP or neighbour discovery there ({}), or \
             it is a tunnel without a peer for the address (wg show)",
            facts.command(format_args!("ip route get {peer}")),
            facts.command("ip neigh show nud failed"),
        ),
        (true, Kind::Port) => format!(
            "a rule of this host's own firewall rejects it, in Kubernetes that of a service without \
             endpoints: {}, or iptables-save",
            facts.command("nft list ruleset"),
        ),
        (true, _) => format!(
            "a rule of this host's own firewall rejects it: {}, or iptables-save",
            facts.command("nft list ruleset"),
        ),
        (false, Kind::Prohibited | Kind::Port) => format!(
            "the rule is in the firewall of {router}: have{port} of {peer} allowed there; nothing on \
             this host shows it"
        ),
        (false, Kind::Host) => format!(
            "is {peer} up; {router} is the last router that was reached, and its neighbour table \
             has the failed entry"
        ),
        (false, Kind::Network) => {
            format!("{router} has no route to {peer}: fix its routing table, not this host's")
        }
        (false, Kind::Hops) => format!(
            "packets go round in a circle: {} shows the routers that come again",
            facts.command(format_args!("traceroute -n {peer}")),
        ),
        (false, Kind::Size) if facts.protocol == Some(Protocol::Udp) => format!(
            "behind {router} only smaller packets get through, as in a tunnel or VPN: lower the MTU \
             of the route, or send smaller datagrams"
        ),
        (false, Kind::Size) => format!(
            "behind {router} only smaller packets get through, as in a tunnel or VPN: lower the MTU \
             of the route, or set net.ipv4.tcp_mtu_probing to 1"
        ),
        (false, Kind::Other) => format!(
            "ask whoever runs {router} why it sends that; tcpdump -nvi any 'host {router}' shows the \
             message when it is tried again"
        ),
    };
    Some(text.into())
}
