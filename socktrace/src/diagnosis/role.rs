//! Whether this host's end of a connection is the client or the server.

use socktrace_ebpf::{Event, Flags, Hook, Role, TcpState};

/// The role, where it is known: from how the socket was opened, or where the kernel function that
/// failed, or the socket's state, leaves only one.
pub(crate) fn role(event: &Event) -> Option<Role> {
    let flags = Flags(event.signature.flags);
    match (Hook::try_from(event.signature.hook), TcpState::try_from(event.signature.state)) {
        (Ok(Hook::InetCskAccept | Hook::SysAccept4 | Hook::InetListen), _)
        | (_, Ok(TcpState::Listen | TcpState::NewSynRecv)) => Some(Role::Server),
        (Ok(Hook::InetStreamConnect | Hook::TcpClose), _) | (_, Ok(TcpState::SynSent)) => {
            Some(Role::Client)
        }
        // Only accept would have recorded it.
        _ if flags.has(Flags::UNACCEPTED) => Some(Role::Server),
        // What is recorded may be about a former socket at the same address: this one is not open.
        (Ok(Hook::InetBind), _) => None,
        (Ok(Hook::Setsockopt | Hook::Getsockopt | Hook::SkStreamError), Ok(TcpState::Close))
            if !flags.has(Flags::REPORTED) && !flags.has(Flags::DELIVERY) =>
        {
            None
        }
        _ => Role::try_from(event.role).ok(),
    }
}

#[cfg(test)]
mod tests {
    use socktrace_ebpf::Signature;

    use super::*;

    fn event(hook: Hook, state: TcpState, flags: Flags, recorded: u8) -> Event {
        let signature = Signature {
            hook: hook as u8,
            state: state as u8,
            flags: flags.0,
            ..Signature::default()
        };
        Event { signature, role: recorded, ..Event::default() }
    }

    #[test]
    fn what_was_recorded_counts_for_open_sockets() {
        for recorded in [Role::Client, Role::Server] {
            let open = event(Hook::TcpDone, TcpState::Established, Flags::empty(), recorded as u8);
            assert_eq!(role(&open), Some(recorded));
            let later =
                event(Hook::SkStreamError, TcpState::Close, Flags::REPORTED, recorded as u8);
            assert_eq!(role(&later), Some(recorded));
        }
        assert_eq!(role(&event(Hook::TcpDone, TcpState::Established, Flags::empty(), 0)), None);
    }

    #[test]
    fn some_moments_leave_one_role_only() {
        for (hook, state, flags, told) in [
            (Hook::TcpDone, TcpState::SynSent, Flags::empty(), Role::Client),
            (Hook::InetStreamConnect, TcpState::Close, Flags::empty(), Role::Client),
            (Hook::TcpDone, TcpState::Established, Flags::UNACCEPTED, Role::Server),
            (Hook::InetCskAccept, TcpState::Listen, Flags::empty(), Role::Server),
            (Hook::InetListen, TcpState::Close, Flags::empty(), Role::Server),
            (Hook::Setsockopt, TcpState::Listen, Flags::empty(), Role::Server),
        ] {
            assert_eq!(role(&event(hook, state, flags, 0)), Some(told), "{hook:?} {state:?}");
        }
    }

    #[test]
    fn a_socket_that_was_never_opened_has_none() {
        for hook in [Hook::InetBind, Hook::Setsockopt, Hook::SkStreamError] {
            let stale = event(hook, TcpState::Close, Flags::empty(), Role::Client as u8);
            assert_eq!(role(&stale), None, "{hook:?}");
        }
    }
}
