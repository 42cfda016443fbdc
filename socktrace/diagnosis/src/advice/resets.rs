//! Advice on connections that were reset or closed.

use std::borrow::Cow;

use socktrace_ebpf::Role;

use super::{Facts, Program};
use crate::Cause;

/// A live connection was reset.
pub(super) fn by_peer(facts: &Facts<'_>) -> Option<Cow<'static, str>> {
    if let Some(sender) = facts.sender {
        return Some(log_of(sender));
    }
    match (facts.role, facts.peer()) {
        (Some(Role::Server), _) => Some(
            "clients and health checks that close with unread data or SO_LINGER 0 do so; if they \
             did not, a middlebox cut the flow"
                .into(),
        ),
        (Some(Role::Client), Some(peer)) if !facts.is_peer_here() => Some(
            format!(
                "the log of the service on {peer} at this time: did it crash, restart or close with \
                 unread data; if it knows nothing of it, a middlebox sent the RST (its TTL differs: \
                 tcpdump -nv)"
            )
            .into(),
        ),
        _ => None,
    }
}

/// The peer sent something before the RST, which the program can still read.
pub(super) fn unread(cause: Cause, facts: &Facts<'_>) -> Cow<'static, str> {
    let sender = match cause {
        Cause::ResetByPeer => by_peer(facts),
        Cause::ResetAfterRetransmit => after_retransmit(facts),
        _ => None,
    };
    let else_where = sender.unwrap_or(Cow::Borrowed(cause.advice()));
    format!("read to the end before giving up, the data that the peer sent last may say why; {else_where}")
        .into()
}

/// The client reset the connection before it was accepted.
pub(super) fn before_accept(facts: &Facts<'_>) -> Option<Cow<'static, str>> {
    let port = facts.local.map(|local| local.port()).filter(|port| *port != 0)?;
    let queue = facts.command(format_args!("ss -tlnp 'sport = :{port}'"));
    let text = match facts.sender {
        Some(sender) => format!(
            "is the server slow to accept ({queue}: Recv-Q is its queue), or {sender} impatient: see \
             its timeout"
        ),
        None => format!(
            "is the server slow to accept ({queue}: Recv-Q is its queue), or do health checks \
             connect and reset"
        ),
    };
    Some(text.into())
}

/// Retransmissions of never acknowledged data were answered by an RST.
pub(super) fn without_answer(facts: &Facts<'_>) -> Option<Cow<'static, str>> {
    let to = facts.peer_with_port()?;
    let queue = format!("ss -tln 'sport = :{}'", to.port());
    let text = if facts.is_peer_here() {
        format!(
            "{} shows a full queue as Recv-Q above Send-Q: does its program still accept, and is its \
             backlog large enough",
            facts.command(queue)
        )
    } else {
        format!(
            "on {}: {queue} shows a full queue as Recv-Q above Send-Q, and nstat -az \
             TcpExtListenOverflows counts; if it does not, a proxy between answers for a service that \
             it does not reach",
            to.ip()
        )
    };
    Some(text.into())
}

/// Retransmissions were answered by an RST.
pub(super) fn after_retransmit(facts: &Facts<'_>) -> Option<Cow<'static, str>> {
    if let Some(sender) = facts.sender {
        return Some(log_of(sender));
    }
    let peer = facts.peer().filter(|_| !facts.is_peer_here())?;
    Some(
        format!(
            "uptime on {peer} shows a reboot; else a NAT or load balancer between has forgotten the \
             flow, or failed over"
        )
        .into(),
    )
}

/// An RST arrived after a long silence.
pub(super) fn after_idle(facts: &Facts<'_>) -> Option<Cow<'static, str>> {
    let sender = facts.sender?;
    Some(
        format!(
            "the idle limit of {sender} is to be longer than this side's: close idle connections \
             earlier here, or raise its keep-alive timeout"
        )
        .into(),
    )
}

/// The socket was killed.
pub(super) fn killed(facts: &Facts<'_>) -> Option<Cow<'static, str>> {
    let killer = facts.killer?;
    Some(
        format!(
            "who runs {killer}, and why: a person, a timer, or a tool that ends \
             connections when addresses or services change"
        )
        .into(),
    )
}

/// The peer closed although it owed an answer.
pub(super) fn premature_eof(facts: &Facts<'_>) -> Option<Cow<'static, str>> {
    let to = facts.peer_with_port()?;
    let text = if facts.is_peer_here() {
        format!(
            "{} names the process that listens: its log at this time, or coredumpctl if it has gone",
            facts.command(format_args!("ss -tlnp 'sport = :{}'", to.port()))
        )
    } else {
        format!(
            "the log of the service at {to} at this time: did it end, crash or hit a limit before it \
             answered"
        )
    };
    Some(text.into())
}

/// Where to find the reason for an RST from a process of this host: usually in its log, or in the
/// kernel's.
fn log_of(sender: Program<'_>) -> Cow<'static, str> {
    if sender.reason == Some("tcp_abort_on_memory") {
        return "dmesg says which (TCP: \"too many orphaned sockets\" or \"out of memory\"), ss -s counts \
                orphans: raise net.ipv4.tcp_max_orphans or tcp_mem, or find out which peers do not take \
                what they asked for"
            .into();
    }
    if sender.by_listener {
        return format!(
            "{sender} was stopped or restarted: have it accept what is in its queue first, or hand the \
             listener on (systemd socket, or net.ipv4.tcp_migrate_req with SO_REUSEPORT, since Linux \
             5.14)"
        )
        .into();
    }
    let hint = match sender.reason {
        Some("tcp_abort_on_close") => {
            "; to end in order it would have to read to the end before it closes"
        }
        Some("tcp_state") => "; a program that sets SO_LINGER to 0 closes every connection so",
        Some("tcp_keepalive_timeout") => ", and what lies between it and this end",
        _ => "",
    };
    format!("the log of {sender} at this time{hint}").into()
}
