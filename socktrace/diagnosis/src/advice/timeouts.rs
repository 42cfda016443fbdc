//! Advice on peers that fell silent.
//!
//! Once its timer has given up, the socket is gone and no command shows it any more. The other end
//! may still exist.

use std::borrow::Cow;

use super::Facts;

/// Data was not acknowledged.
pub(super) fn retransmit(facts: &Facts<'_>) -> Option<Cow<'static, str>> {
    let peer = facts.peer()?;
    Some(if facts.is_peer_here() { between_own_ends(facts) } else { is_it_up(facts, peer) })
}

/// Large segments were lost, but a small one arrived.
pub(super) fn too_large(facts: &Facts<'_>) -> Option<Cow<'static, str>> {
    let peer = facts.peer()?;
    // Together with IP and ICMP headers, these fill 1,500 bytes.
    let size = if peer.to_canonical().is_ipv4() { 1472 } else { 1452 };
    Some(
        format!(
            "{} fails where the path takes less than this host's interface, and tracepath {peer} shows \
             where; until that is fixed, sysctl net.ipv4.tcp_mtu_probing=1 makes TCP find out by itself",
            facts.command(format_args!("ping -M do -s {size} {peer}"))
        )
        .into(),
    )
}

/// The socket signs its segments.
pub(super) fn md5_key(facts: &Facts<'_>) -> Option<Cow<'static, str>> {
    let peer = facts.peer()?;
    Some(
        format!(
            "compare the keys of both ends; on {peer} nstat -az 'TcpExtTCPMD5*' counts segments with \
             no key, an unexpected one or a wrong one"
        )
        .into(),
    )
}

/// Data was not acknowledged within the program's own limit.
pub(super) fn user(facts: &Facts<'_>) -> Option<Cow<'static, str>> {
    let peer = facts.peer()?;
    if facts.is_peer_here() {
        return other_end(facts);
    }
    Some(
        format!(
            "the limit is the program's own; {} shows whether the host answers, Recv-Q of ss -tnp \
             there whether its program reads",
            facts.command(format_args!("ping {peer}"))
        )
        .into(),
    )
}

/// Probes of an idle connection were not answered.
pub(super) fn keepalive(facts: &Facts<'_>) -> Option<Cow<'static, str>> {
    let peer = facts.peer()?;
    if facts.is_peer_here() {
        return Some(between_own_ends(facts));
    }
    Some(
        format!(
            "{} shows whether the host has gone; if it answers, a NAT or firewall between forgot the \
             idle flow: set TCP_KEEPIDLE below its limit",
            facts.command(format_args!("ping {peer}"))
        )
        .into(),
    )
}

/// The peer's window stayed closed.
pub(super) fn zero_window(facts: &Facts<'_>) -> Option<Cow<'static, str>> {
    if facts.is_peer_here() {
        return other_end(facts);
    }
    let to = facts.peer_with_port()?;
    Some(
        format!(
            "on {}: ss -tnp 'sport = :{}' shows the program, and what it has not read as Recv-Q",
            to.ip(),
            to.port()
        )
        .into(),
    )
}

/// The other end, on this host, is still open: this end vanished silently.
fn other_end(facts: &Facts<'_>) -> Option<Cow<'static, str>> {
    let (to, from) = (facts.peer_with_port()?, facts.local?);
    Some(
        format!(
            "{} shows the program at the other end, and what it has not read as Recv-Q",
            facts.command(format_args!("ss -tnp 'src {to} and dst {from}'"))
        )
        .into(),
    )
}

fn between_own_ends(facts: &Facts<'_>) -> Cow<'static, str> {
    format!(
        "both ends are on this host, so nothing but its own firewall lies between: {}",
        facts.command("nft list ruleset")
    )
    .into()
}

fn is_it_up(facts: &Facts<'_>, peer: std::net::IpAddr) -> Cow<'static, str> {
    format!(
        "{} shows whether the host has gone; if it answers, a firewall or NAT between dropped the \
         flow, or full-sized segments do not fit the path",
        facts.command(format_args!("ping {peer}"))
    )
    .into()
}
