//! TCP timers that give up connections.

use socktrace_ebpf::{Flags, Origin, Signature};

use crate::{Cause, Finding, diagnose};

/// A timer of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Timer {
    /// Sent data, a SYN or a FIN remains unacknowledged (`tcp_retransmit_timer`).
    Retransmission,
    /// Data waits for the peer's window to open (`tcp_probe_timer`).
    Persist,
    /// The connection is idle (`tcp_keepalive_timer`).
    Keepalive,
}

impl Timer {
    /// The timer behind a failure; `None` if there was none.
    #[must_use]
    pub fn of(signature: Signature) -> Option<Self> {
        let Finding::Failure(found) = diagnose(signature) else { return None };
        match found.cause {
            Cause::ConnectTimeout | Cause::ConnectSendFailed | Cause::RetransmitTimeout => {
                return Some(Self::Retransmission);
            }
            Cause::KeepaliveTimeout => return Some(Self::Keepalive),
            Cause::UserTimeout
            | Cause::ZeroWindowTimeout
            | Cause::UnreachableTimeout
            | Cause::SendFailedLocally => {}
            _ => return None,
        }
        let flags = Flags(signature.flags);
        if signature.origin == Origin::RetransmitTimer as u8 || flags.has(Flags::RETRANSMITTED) {
            Some(Self::Retransmission)
        } else if flags.has(Flags::UNSENT) {
            Some(Self::Persist)
        } else {
            Some(Self::Keepalive)
        }
    }

    /// Name in metric labels.
    #[must_use]
    pub const fn id(self) -> &'static str {
        match self {
            Self::Retransmission => "retransmission",
            Self::Persist => "persist",
            Self::Keepalive => "keepalive",
        }
    }
}

#[cfg(test)]
mod tests {
    use nix::libc;
    use socktrace_ebpf::{EventKind, TcpState};

    use super::*;

    fn closed(origin: Origin, state: TcpState, errno: i32, flags: Flags) -> Option<Timer> {
        Timer::of(Signature {
            kind: EventKind::ConnectionEnded as u8,
            origin: origin as u8,
            state: state as u8,
            errno: u16::try_from(errno).expect("small"),
            flags: flags.0,
            ..Signature::default()
        })
    }

    #[test]
    fn the_timer_is_known_by_who_gave_up_and_what_waited() {
        use Origin::{Other, RetransmitTimer};
        use TcpState::{Established, SynSent};
        let none = Flags::empty();
        let (user, soft, unsent) = (Flags::USER_TIMEOUT, Flags::SOFT_ERROR, Flags::UNSENT);
        let keepalive = Flags::KEEPALIVE.with(Flags::PROBED);
        let failed = Flags::SEND_FAILED;
        for (origin, state, errno, flags, timer) in [
            (RetransmitTimer, SynSent, libc::ETIMEDOUT, none, Timer::Retransmission),
            (RetransmitTimer, Established, libc::ETIMEDOUT, none, Timer::Retransmission),
            (RetransmitTimer, Established, libc::ETIMEDOUT, user, Timer::Retransmission),
            (RetransmitTimer, Established, libc::EHOSTUNREACH, soft, Timer::Retransmission),
            (Other, Established, libc::ETIMEDOUT, unsent, Timer::Persist),
            (Other, Established, libc::ETIMEDOUT, unsent.with(user), Timer::Persist),
            (Other, Established, libc::ETIMEDOUT, keepalive, Timer::Keepalive),
            (Other, Established, libc::EHOSTUNREACH, soft.with(keepalive), Timer::Keepalive),
            (RetransmitTimer, SynSent, libc::ETIMEDOUT, failed, Timer::Retransmission),
            (RetransmitTimer, Established, libc::ETIMEDOUT, failed, Timer::Retransmission),
            (Other, Established, libc::ETIMEDOUT, failed.with(unsent), Timer::Persist),
            (Other, Established, libc::ETIMEDOUT, failed.with(keepalive), Timer::Keepalive),
        ] {
            assert_eq!(closed(origin, state, errno, flags), Some(timer), "{origin:?} {flags:?}");
        }
    }

    #[test]
    fn other_failures_have_no_timer() {
        let none = Flags::empty();
        assert_eq!(closed(Origin::Reset, TcpState::Established, libc::ECONNRESET, none), None);
        assert_eq!(closed(Origin::Abort, TcpState::Established, libc::ECONNABORTED, none), None);
        assert_eq!(closed(Origin::Other, TcpState::Established, libc::ETIMEDOUT, none), None);
    }
}
