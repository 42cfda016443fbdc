//! Parts of a diagnosis.

use socktrace_ebpf::{SentReset, Sigpipe};

use crate::{Cause, Errno};

/// Originator of a failure. The ids are a public interface: new ones may be added, but none
/// changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The other end of the connection.
    Peer,
    /// The path between the two ends: silence, or a message from a router.
    Network,
    /// This host's kernel.
    LocalKernel,
    /// A program on this host.
    LocalProgram,
    /// Unknown.
    Unknown,
}

/// The call that delivers the errno to the program: the observed call that returned it, else the
/// one that will return it. The ids are a public interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// `connect`, or `SO_ERROR` after a non-blocking one.
    Connect,
    /// `accept`.
    Accept,
    /// `socket`.
    Socket,
    /// `bind`.
    Bind,
    /// `listen`.
    Listen,
    /// `setsockopt`.
    Setsockopt,
    /// `getsockopt`.
    Getsockopt,
    /// The next read or write, whichever comes first.
    ReadOrWrite,
    /// A read only.
    Read,
    /// A write only; a read returns 0.
    Write,
    /// None: no program holds the socket.
    None,
}

/// How much a finding matters, ordered from the least. The ids are a public interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// Part of ordinary operation: no program gets an errno, or only one that was probing for it.
    Expected,
    /// A program gets an errno but had finished already.
    Notable,
    /// A program's work failed.
    Failure,
}

/// Implements the stable names of values.
macro_rules! ids {
    ($($ty:ident { $($variant:ident = $id:literal),+ $(,)? })+) => {
        $(impl $ty {
            /// The stable name in JSON and metric labels.
            pub const fn id(self) -> &'static str {
                match self { $(Self::$variant => $id),+ }
            }
        })+
    };
}

impl Severity {
    /// Every severity, from the least.
    pub const ALL: [Self; 3] = [Self::Expected, Self::Notable, Self::Failure];
}

ids! {
    Direction {
        Peer = "peer",
        Network = "network",
        LocalKernel = "local_kernel",
        LocalProgram = "local_program",
        Unknown = "unknown",
    }
    Call {
        Connect = "connect",
        Accept = "accept",
        Socket = "socket",
        Bind = "bind",
        Listen = "listen",
        Setsockopt = "setsockopt",
        Getsockopt = "getsockopt",
        ReadOrWrite = "read_or_write",
        Read = "read",
        Write = "write",
        None = "none",
    }
    Severity { Expected = "expected", Notable = "notable", Failure = "failure" }
}

/// Meaning of a failure for the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// Cause of the failure.
    pub cause: Cause,
    /// The errno that the program gets, or would get if it still held the socket.
    pub errno: Errno,
    /// Originator, a property of the cause.
    pub direction: Direction,
    /// The call that delivers the errno; [`Call::None`] when no program holds the socket.
    pub call: Call,
    /// Severity, which depends on the cause and on whether a program holds the socket.
    pub severity: Severity,
    /// Effect of SIGPIPE on the process, if this was a write that failed with EPIPE.
    pub sigpipe: Sigpipe,
}

/// Meaning of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// A socket failed.
    Failure(Diagnosis),
    /// A call returned the error of an earlier failure.
    Delivery(Diagnosis),
    /// A socket was closed before any call returned the error of an earlier failure.
    Undelivered(Diagnosis),
    /// A retransmission timeout fired, but the connection lives on: progress, not a failure.
    Retransmission,
    /// This host sent an RST: ordinary operation, even if it makes the other end fail.
    ResetSent(SentReset),
}

impl Finding {
    /// The diagnosis of a failure or of its consequence; `None` if nothing failed.
    #[must_use]
    pub const fn diagnosis(self) -> Option<Diagnosis> {
        match self {
            Self::Failure(found) | Self::Delivery(found) | Self::Undelivered(found) => Some(found),
            Self::Retransmission | Self::ResetSent(_) => None,
        }
    }
}
