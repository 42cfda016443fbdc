//! Names of the wire format's values, as people and labels use them.

use socktrace_ebpf::{Family, Protocol, Role, Sigpipe, TcpState};

/// The name of a TCP state, as the RFCs write it.
pub(crate) const fn state_name(state: TcpState) -> &'static str {
    match state {
        TcpState::Established => "ESTABLISHED",
        TcpState::SynSent => "SYN_SENT",
        TcpState::SynRecv => "SYN_RECV",
        TcpState::FinWait1 => "FIN_WAIT1",
        TcpState::FinWait2 => "FIN_WAIT2",
        TcpState::TimeWait => "TIME_WAIT",
        TcpState::Close => "CLOSE",
        TcpState::CloseWait => "CLOSE_WAIT",
        TcpState::LastAck => "LAST_ACK",
        TcpState::Listen => "LISTEN",
        TcpState::Closing => "CLOSING",
        TcpState::NewSynRecv => "NEW_SYN_RECV",
    }
}

/// What this host is in a connection.
pub(crate) const fn role_name(role: Role) -> &'static str {
    match role {
        Role::Client => "client",
        Role::Server => "server",
    }
}

/// The name of a family.
pub(crate) const fn family_name(family: Option<Family>) -> &'static str {
    match family {
        Some(Family::Ipv4) => "ipv4",
        Some(Family::Ipv6) => "ipv6",
        None => "unknown",
    }
}

/// The name of a protocol; `unknown` for a call whose descriptor leads to no socket.
pub(crate) const fn protocol_name(protocol: Option<Protocol>) -> &'static str {
    match protocol {
        Some(Protocol::Tcp) => "tcp",
        Some(Protocol::Mptcp) => "mptcp",
        None => "unknown",
    }
}

/// The name of what becomes of a process by SIGPIPE; `None` where the question does not arise.
pub(crate) const fn sigpipe_name(sigpipe: Sigpipe) -> Option<&'static str> {
    match sigpipe {
        Sigpipe::NotRaised => None,
        Sigpipe::None => Some("none"),
        Sigpipe::Ignored => Some("ignored"),
        Sigpipe::Handled => Some("handled"),
        Sigpipe::Blocked => Some("blocked"),
        Sigpipe::Kills => Some("kills"),
        Sigpipe::Discarded => Some("discarded"),
    }
}
