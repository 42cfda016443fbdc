//! Names of values of the wire format, as shown to people and used as labels.

use socktrace_ebpf::{Domain, Family, Protocol, Role, Signature, Sigpipe, TcpState};

/// Name of a TCP state, as in the RFCs.
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

/// Name of this host's role in a connection.
pub(crate) const fn role_name(role: Role) -> &'static str {
    match role {
        Role::Client => "client",
        Role::Server => "server",
    }
}

/// Name of a family of IP addresses.
pub(crate) const fn family_name(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "ipv4",
        Family::Ipv6 => "ipv6",
    }
}

/// Name of a family of sockets without IP addresses.
const fn domain_name(domain: Domain) -> &'static str {
    match domain {
        Domain::Unix => "unix",
        Domain::Netlink => "netlink",
        Domain::Packet => "packet",
        Domain::Can => "can",
        Domain::Bluetooth => "bluetooth",
        Domain::Alg => "alg",
        Domain::Vsock => "vsock",
        Domain::Smc => "smc",
        Domain::Xdp => "xdp",
        Domain::Other => "other",
    }
}

/// Name of a signature's family; `unknown` for a call whose descriptor leads to no socket.
pub(crate) fn signature_family_name(signature: Signature) -> &'static str {
    let family = Family::try_from(signature.family).map(family_name);
    family.or_else(|byte| Domain::try_from(byte).map(domain_name)).unwrap_or("unknown")
}

/// Name of a protocol; `unknown` for a call whose descriptor leads to no socket.
pub(crate) const fn protocol_name(protocol: Option<Protocol>) -> &'static str {
    match protocol {
        Some(Protocol::Tcp) => "tcp",
        Some(Protocol::Mptcp) => "mptcp",
        Some(Protocol::Udp) => "udp",
        Some(Protocol::Unix) => "unix",
        Some(Protocol::Vsock) => "vsock",
        Some(Protocol::Netlink) => "netlink",
        Some(Protocol::Packet) => "packet",
        Some(Protocol::Icmp) => "icmp",
        Some(Protocol::Raw) => "raw",
        Some(Protocol::Sctp) => "sctp",
        Some(Protocol::Other) => "other",
        None => "unknown",
    }
}

/// Name of what SIGPIPE does to a process; `None` where the question does not arise.
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
