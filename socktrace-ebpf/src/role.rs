//! Role of this host's end of a connection: client or server.

use crate::{EventKind, Flags, Role, Signature, TcpState};

/// Flags each of which shows that a closed socket has had a connection.
const WAS_OPEN: Flags = Flags::REPORTED.with(Flags::DELIVERY).with(Flags::PEER_CLOSED);

impl Signature {
    /// The role, if known: from how the socket is `recorded` to have been opened (a [`Role`], or
    /// 0), or because the kernel function that failed, or the socket's state, leaves only one.
    #[expect(
        clippy::inline_always,
        reason = "as a function of its own it would take some of the programs' stack"
    )]
    #[must_use]
    #[inline(always)]
    pub fn role(&self, recorded: u8) -> Option<Role> {
        let flags = Flags(self.flags);
        match (EventKind::try_from(self.kind), TcpState::try_from(self.state)) {
            // Not a listener, whatever was called on it.
            (Ok(EventKind::Accept | EventKind::AcceptCall), _)
                if flags.has(Flags::NEVER_LISTENED) =>
            {
                None
            }
            (Ok(EventKind::Accept | EventKind::AcceptCall | EventKind::Listen), _)
            | (_, Ok(TcpState::Listen | TcpState::NewSynRecv)) => Some(Role::Server),
            (Ok(EventKind::Connect | EventKind::CloseWhileConnecting), _)
            | (_, Ok(TcpState::SynSent)) => Some(Role::Client),
            // Not recorded yet: only accept would have done so.
            _ if flags.has(Flags::UNACCEPTED) => Some(Role::Server),
            // The record may be about an earlier socket at the same address: this one is not open.
            (Ok(EventKind::Bind | EventKind::Socket), _) => None,
            (
                Ok(EventKind::Setsockopt | EventKind::Getsockopt | EventKind::Write),
                Ok(TcpState::Close),
            ) if flags.0 & WAS_OPEN.0 == 0 => None,
            _ => Role::try_from(recorded).ok(),
        }
    }

    /// Port of the end that listens, chosen from both ends' ports; 0 if the role is unknown.
    #[must_use]
    #[inline]
    pub fn service_port(&self, recorded: u8, local: u16, remote: u16) -> u16 {
        match self.role(recorded) {
            Some(Role::Client) => remote,
            Some(Role::Server) => local,
            None => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature(kind: EventKind, state: TcpState, flags: Flags) -> Signature {
        Signature { kind: kind as u8, state: state as u8, flags: flags.0, ..Signature::default() }
    }

    #[test]
    fn what_was_recorded_counts_for_open_sockets() {
        let open = signature(EventKind::ConnectionEnded, TcpState::Established, Flags::empty());
        let later = |flags| signature(EventKind::Write, TcpState::Close, flags);
        for recorded in [Role::Client, Role::Server] {
            assert_eq!(open.role(recorded as u8), Some(recorded));
            assert_eq!(later(Flags::REPORTED).role(recorded as u8), Some(recorded));
            assert_eq!(later(Flags::PEER_CLOSED).role(recorded as u8), Some(recorded));
        }
        assert_eq!(open.role(0), None);
        assert_eq!(open.service_port(Role::Client as u8, 1, 2), 2);
        assert_eq!(open.service_port(Role::Server as u8, 1, 2), 1);
        assert_eq!(open.service_port(0, 1, 2), 0);
    }

    #[test]
    fn some_moments_leave_one_role_only() {
        for (kind, state, flags, known) in [
            (EventKind::ConnectionEnded, TcpState::SynSent, Flags::empty(), Role::Client),
            (EventKind::Connect, TcpState::Close, Flags::empty(), Role::Client),
            (EventKind::ConnectionEnded, TcpState::Established, Flags::UNACCEPTED, Role::Server),
            (EventKind::Accept, TcpState::Listen, Flags::empty(), Role::Server),
            (EventKind::Listen, TcpState::Close, Flags::empty(), Role::Server),
            (EventKind::Setsockopt, TcpState::Listen, Flags::empty(), Role::Server),
        ] {
            assert_eq!(signature(kind, state, flags).role(0), Some(known), "{kind:?} {state:?}");
        }
    }

    #[test]
    fn a_socket_that_was_never_opened_has_none() {
        for kind in [EventKind::Bind, EventKind::Setsockopt, EventKind::Write] {
            let stale = signature(kind, TcpState::Close, Flags::empty());
            assert_eq!(stale.role(Role::Client as u8), None, "{kind:?}");
        }
    }
}
