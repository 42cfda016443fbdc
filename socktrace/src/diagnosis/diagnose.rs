//! From a signature to its diagnosis: one pure function, the heart of socktrace.

use nix::libc;
use socktrace_ebpf::{Flags, Hook, Origin, Signature, TcpState};

use super::{Cause, Errno};

/// Who acted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Direction {
    /// The other end of the connection.
    Peer,
    /// What lies between: silence, or a message from a router.
    Network,
    /// This host's kernel.
    LocalKernel,
    /// Not known.
    Unknown,
}

/// The call that will deliver the errno to the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Call {
    /// `connect`, or `SO_ERROR` after a non-blocking one.
    Connect,
    /// The next read or write, whichever comes first.
    ReadOrWrite,
    /// The next write only; a read returns 0.
    Write,
    /// None: no program holds the socket.
    None,
}

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// Part of ordinary operation: no program gets an errno.
    Expected,
    /// A program gets an errno but had finished already.
    Notable,
    /// A program's work failed.
    Failure,
}

/// Gives each value its stable name.
macro_rules! ids {
    ($($ty:ident { $($variant:ident = $id:literal),+ $(,)? })+) => {
        $(impl $ty {
            /// The stable name, as in JSON and metric labels.
            pub(crate) const fn id(self) -> &'static str {
                match self { $(Self::$variant => $id),+ }
            }
        })+
    };
}

ids! {
    Direction { Peer = "peer", Network = "network", LocalKernel = "local_kernel", Unknown = "unknown" }
    Call { Connect = "connect", ReadOrWrite = "read_or_write", Write = "write", None = "none" }
    Severity { Expected = "expected", Notable = "notable", Failure = "failure" }
}

/// What a failure means for the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Diagnosis {
    /// Why.
    pub(crate) cause: Cause,
    /// What the program gets.
    pub(crate) errno: Errno,
    /// Who acted.
    pub(crate) direction: Direction,
    /// Which call delivers it.
    pub(crate) call: Call,
    /// How much it matters.
    pub(crate) severity: Severity,
}

/// What a signature stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// A socket failed.
    Failure(Diagnosis),
    /// A program accepted a connection whose failure was found before.
    Delivery(Diagnosis),
    /// A retransmission timeout fired and the connection lives on: progress, no failure.
    Retransmission,
}

const ECONNREFUSED: u16 = errno(libc::ECONNREFUSED);
const ETIMEDOUT: u16 = errno(libc::ETIMEDOUT);

const fn errno(number: i32) -> u16 {
    // errno values are positive and below 4096 in every kernel.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "see above")]
    let number = number as u16;
    number
}

/// Diagnoses a signature. Total: what is not known is [`Cause::Other`], with errno, state and
/// hook still in the signature.
pub(crate) fn diagnose(signature: Signature) -> Finding {
    match Hook::try_from(signature.hook) {
        Ok(Hook::TcpRetransmitTimer) => Finding::Retransmission,
        Ok(Hook::InetCskAccept) => {
            Finding::Delivery(diagnosis(Cause::ResetBeforeAccept, signature))
        }
        Ok(Hook::TcpDone | Hook::TcpReset) | Err(_) => {
            Finding::Failure(diagnosis(cause(signature), signature))
        }
    }
}

fn cause(signature: Signature) -> Cause {
    let flags = Flags(signature.flags);
    let Ok(state) = TcpState::try_from(signature.state) else {
        return Cause::Other;
    };
    match Origin::try_from(signature.origin) {
        Ok(Origin::Reset) => reset(state, signature.errno, flags),
        Ok(Origin::RetransmitTimer) => retransmit_give_up(state, signature.errno, flags),
        Ok(Origin::Other) => timer_give_up(state, signature.errno, flags),
        Err(_) => Cause::Other,
    }
}

/// `tcp_reset` closed the socket.
fn reset(state: TcpState, errno: u16, flags: Flags) -> Cause {
    if flags.has(Flags::UNACCEPTED) && state != TcpState::SynSent {
        return Cause::ResetBeforeAccept;
    }
    if flags.has(Flags::NO_RST) {
        return Cause::DataAfterShutdown;
    }
    match state {
        TcpState::SynSent if errno == ECONNREFUSED => Cause::ConnectRefused,
        TcpState::Established => Cause::ResetByPeer,
        TcpState::CloseWait => Cause::ResetAfterPeerClose,
        TcpState::FinWait1 | TcpState::FinWait2 | TcpState::Closing | TcpState::LastAck => {
            Cause::ResetWhileClosing
        }
        TcpState::SynSent
        | TcpState::SynRecv
        | TcpState::TimeWait
        | TcpState::Close
        | TcpState::Listen
        | TcpState::NewSynRecv => Cause::Other,
    }
}

/// The retransmission timer gave up (`tcp_write_timeout`).
fn retransmit_give_up(state: TcpState, errno: u16, flags: Flags) -> Cause {
    match state {
        // A SYN's retries are bounded by count, and by TCP_USER_TIMEOUT where set: the story is
        // the same, nobody answered.
        TcpState::SynSent => Cause::ConnectTimeout,
        TcpState::SynRecv | TcpState::Listen | TcpState::NewSynRecv => Cause::Other,
        _ if errno != ETIMEDOUT && flags.has(Flags::SOFT_ERROR) => Cause::UnreachableTimeout,
        _ if errno != ETIMEDOUT => Cause::Other,
        // With TCP_USER_TIMEOUT only the elapsed time counts, not the retries.
        _ if flags.has(Flags::USER_TIMEOUT) => Cause::UserTimeout,
        // `tcp_rtx_probe0_timed_out`: retransmission into a closed window.
        _ if flags.has(Flags::ZERO_WINDOW) => Cause::ZeroWindowTimeout,
        _ => Cause::RetransmitTimeout,
    }
}

/// Closed with an error by neither of the above: the persist or keepalive timer gave up, or
/// something that has no hook yet.
fn timer_give_up(state: TcpState, errno: u16, flags: Flags) -> Cause {
    if matches!(state, TcpState::SynSent | TcpState::SynRecv | TcpState::Listen) {
        return Cause::Other;
    }
    if errno != ETIMEDOUT {
        return if flags.has(Flags::SOFT_ERROR) { Cause::UnreachableTimeout } else { Cause::Other };
    }
    if flags.has(Flags::UNSENT) && !flags.has(Flags::RETRANSMITTED) {
        // Data that was never sent, none in flight: only the persist timer runs
        // (`tcp_probe_timer`). It gives up by count, or earlier by TCP_USER_TIMEOUT.
        return if flags.has(Flags::USER_TIMEOUT) && !flags.has(Flags::PROBES_EXHAUSTED) {
            Cause::UserTimeout
        } else {
            Cause::ZeroWindowTimeout
        };
    }
    if flags.has(Flags::RETRANSMITTED) {
        // The timer hook was missed or is absent here: its fields still tell.
        return retransmit_give_up(state, errno, flags);
    }
    if flags.has(Flags::KEEPALIVE) && flags.has(Flags::PROBED) {
        return Cause::KeepaliveTimeout;
    }
    Cause::Other
}

fn diagnosis(cause: Cause, signature: Signature) -> Diagnosis {
    let held = !Flags(signature.flags).has(Flags::ORPHAN);
    Diagnosis {
        cause,
        errno: Errno(signature.errno),
        direction: direction(cause),
        call: if held { call(cause, signature) } else { Call::None },
        severity: severity(cause, held),
    }
}

const fn direction(cause: Cause) -> Direction {
    match cause {
        Cause::ConnectRefused
        | Cause::ResetBeforeAccept
        | Cause::ResetByPeer
        | Cause::ResetWhileClosing
        | Cause::ResetAfterPeerClose
        | Cause::ZeroWindowTimeout => Direction::Peer,
        Cause::ConnectTimeout
        | Cause::RetransmitTimeout
        | Cause::UserTimeout
        | Cause::KeepaliveTimeout
        | Cause::UnreachableTimeout => Direction::Network,
        Cause::DataAfterShutdown => Direction::LocalKernel,
        Cause::Other => Direction::Unknown,
    }
}

/// `sk_err` is delivered once, by whichever call comes first; EPIPE never by a read.
const fn call(cause: Cause, signature: Signature) -> Call {
    const SYN_SENT: u8 = TcpState::SynSent as u8;
    const EPIPE: u16 = errno(libc::EPIPE);
    match (cause, signature.state, signature.errno) {
        (Cause::ConnectRefused | Cause::ConnectTimeout, ..) | (_, SYN_SENT, _) => Call::Connect,
        (.., EPIPE) => Call::Write,
        _ => Call::ReadOrWrite,
    }
}

const fn severity(cause: Cause, held: bool) -> Severity {
    match (cause, held) {
        (Cause::ResetWhileClosing | Cause::DataAfterShutdown, true) => Severity::Notable,
        (_, false) => Severity::Expected,
        (_, true) => Severity::Failure,
    }
}

#[cfg(test)]
#[path = "diagnose_tests.rs"]
mod tests;
