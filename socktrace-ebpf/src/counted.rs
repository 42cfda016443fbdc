//! Reduction of a signature to what is counted.

use crate::{EventKind, Flags, Origin, Signature, TcpState};

/// From `include/uapi/asm-generic/errno.h` and `errno-base.h`.
const EPIPE: u16 = 32;
const ETIMEDOUT: u16 = 110;

const DISSOLVED: u8 = Origin::Dissolved as u8;

/// Flags that identify the call by which a socket was connecting.
const CONNECT: Flags = Flags::FAST_OPEN.with(Flags::CONNECTING);

impl Signature {
    /// Returns the signature without the fields that mean nothing for its kind, either to the
    /// diagnosis or to a metric.
    ///
    /// A program can make the same call fail in every state of a socket, and set any options before
    /// its connection ends. If all of that counted, it could create more signatures than there is
    /// room for.
    #[must_use]
    #[inline]
    pub fn counted(self) -> Self {
        let flags = Flags(self.flags);
        match EventKind::try_from(self.kind) {
            Ok(EventKind::ConnectionEnded) if flags.has(Flags::SUBFLOW) => {
                Self { origin: 0, ..self.reduced(Flags::SUBFLOW, 0) }
            }
            Ok(EventKind::ConnectionEnded) => self.reduced(self.closing(), self.state),
            Ok(EventKind::Write) if flags.has(Flags::DELIVERY) => {
                self.reduced(self.closing().with(Flags::DELIVERY), self.state)
            }
            Ok(EventKind::Accept) if flags.has(Flags::DELIVERY) => {
                let kept = self.closing().with(Flags::UNACCEPTED).with(Flags::DELIVERY);
                self.reduced(kept, self.state)
            }
            Ok(EventKind::Write) if self.errno != EPIPE && self.origin != DISSOLVED => {
                Self { origin: 0, ..self.reduced(Flags::empty(), 0) }
            }
            Ok(EventKind::Write) if flags.has(Flags::REPORTED) => {
                self.reduced(Flags::REPORTED.with(Flags::UNREACHABLE), 0)
            }
            Ok(EventKind::Write) => {
                self.reduced(Flags::SEND_SHUTDOWN.with(Flags::PEER_CLOSED), self.state)
            }
            Ok(EventKind::ErrorReported) if flags.has(Flags::MPTCP) => {
                self.reduced(self.closing().with(Flags::MPTCP), self.state)
            }
            Ok(EventKind::ErrorReported) => self.reduced(CONNECT, self.connecting()),
            Ok(EventKind::ClosedUnread) if !flags.has(Flags::STAYED_OPEN) => {
                self.reduced(self.closing(), self.state)
            }
            Ok(EventKind::ClosedUnread) if flags.has(Flags::MPTCP) => {
                self.reduced(self.closing().with(Flags::STAYED_OPEN).with(Flags::MPTCP), self.state)
            }
            Ok(EventKind::ClosedUnread) => {
                self.reduced(CONNECT.with(Flags::STAYED_OPEN), self.connecting())
            }
            Ok(EventKind::Connect) => {
                self.reduced(Flags::POLICY.with(Flags::FAST_OPEN).with(Flags::MALFORMED), 0)
            }
            Ok(
                EventKind::Bind
                | EventKind::Listen
                | EventKind::Socket
                | EventKind::Setsockopt
                | EventKind::Getsockopt
                | EventKind::ReceiveQueueFull,
            ) => self.reduced(Flags::empty(), 0),
            Ok(EventKind::DatagramSend) => {
                self.reduced(Flags::PEER_CLOSED.with(Flags::SEND_SHUTDOWN), 0)
            }
            _ => self,
        }
    }

    /// The state if the socket was connecting, else 0: no other state matters for an error that was
    /// only reported.
    #[inline]
    const fn connecting(self) -> u8 {
        const SYN_SENT: u8 = TcpState::SynSent as u8;
        const SYN_RECV: u8 = TcpState::SynRecv as u8;
        if matches!(self.state, SYN_SENT | SYN_RECV) { self.state } else { 0 }
    }

    /// Returns the signature with these flags alone, and whether a program holds the socket.
    #[inline]
    const fn reduced(self, kept: Flags, state: u8) -> Self {
        Self { flags: self.flags & kept.with(Flags::ORPHAN).0, state, ..self }
    }

    /// Flags that explain why a connection ended. Which of them matter depends on what ended it.
    #[inline]
    const fn closing(self) -> Flags {
        const RESET: u8 = Origin::Reset as u8;
        const TIMER: u8 = Origin::RetransmitTimer as u8;
        const ABORT: u8 = Origin::Abort as u8;
        const REPORT: u8 = Origin::Report as u8;
        const SYN_RECV: u8 = TcpState::SynRecv as u8;
        let flags = Flags(self.flags);
        let sends = Flags::SEND_FAILED;
        let means = match (self.origin, self.errno) {
            (RESET, _) => Flags::UNACCEPTED
                .with(Flags::NO_RST)
                .with(Flags::RETRANSMITTED)
                .with(Flags::IDLE)
                .with(Flags::UNANSWERED)
                .with(Flags::RECEIVING)
                .with(Flags::ACKED),
            (ABORT | REPORT, _) => Flags::empty(),
            (TIMER, ETIMEDOUT) => sends.with(Flags::USER_TIMEOUT).with(Flags::ZERO_WINDOW),
            (TIMER, _) => sends.with(Flags::SOFT_ERROR),
            (_, ETIMEDOUT) if flags.has(Flags::RETRANSMITTED) => {
                sends.with(Flags::RETRANSMITTED).with(Flags::USER_TIMEOUT).with(Flags::ZERO_WINDOW)
            }
            (_, ETIMEDOUT) if flags.has(Flags::UNSENT) => sends
                .with(Flags::UNSENT)
                .with(Flags::ZERO_WINDOW)
                .with(Flags::USER_TIMEOUT)
                .with(Flags::PROBES_EXHAUSTED),
            (_, ETIMEDOUT) => sends.with(Flags::KEEPALIVE).with(Flags::PROBED),
            (_, _) => sends.with(Flags::SOFT_ERROR).with(Flags::RETRANSMITTED).with(Flags::UNSENT),
        };
        // A listener's handshake, or the program's own.
        let handshake = Flags::UNACCEPTED.with(Flags::CONNECTING);
        means.with(Flags::FAST_OPEN).with_if(handshake, self.state == SYN_RECV)
    }
}
