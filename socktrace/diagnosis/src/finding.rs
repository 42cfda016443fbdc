//! What a diagnosis consists of.

use socktrace_ebpf::{SentReset, Sigpipe};

use crate::{Cause, Errno};

/// Who caused the failure. The ids are a public interface: they are only ever added to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The other end of the connection.
    Peer,
    /// What lies between the two ends: silence, or a message from a router.
    Network,
    /// This host's kernel.
    LocalKernel,
    /// A program on this host.
    LocalProgram,
    /// Not known.
    Unknown,
}

/// The call that delivers the errno to the program: the one that returned it where a call was
/// observed, else the one that will return it. The ids are a public interface.
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
    /// Part of ordinary operation: no program gets an errno, or one that tried to find it out.
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
            pub const fn id(self) -> &'static str {
                match self { $(Self::$variant => $id),+ }
            }
        })+
    };
}

impl Severity {
    /// Every severity, the least first.
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

/// What a failure means for the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// Why the socket failed.
    pub cause: Cause,
    /// The errno that the program gets; of a socket that no program holds, the one it would get.
    pub errno: Errno,
    /// Who caused it: a property of the cause.
    pub direction: Direction,
    /// The call that delivers the errno; [`Call::None`] when no program holds the socket.
    pub call: Call,
    /// How much it matters: a property of the cause and of whether a program holds the socket.
    pub severity: Severity,
    /// What SIGPIPE does to the process, when this was a write that failed with EPIPE.
    pub sigpipe: Sigpipe,
}

/// Meaning of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// A socket failed.
    Failure(Diagnosis),
    /// A call returned to a program what was found to have failed before.
    Delivery(Diagnosis),
    /// A socket was closed, and no call had returned the errno of what was found to have failed before.
    Undelivered(Diagnosis),
    /// A retransmission timeout fired and the connection lives on: progress, no failure.
    Retransmission,
    /// This host sent an RST: ordinary operation, also where the other end fails by it.
    ResetSent(SentReset),
}

impl Finding {
    /// What a failure means, or what follows from one; `None` where nothing failed.
    #[must_use]
    pub const fn diagnosis(self) -> Option<Diagnosis> {
        match self {
            Self::Failure(found) | Self::Delivery(found) | Self::Undelivered(found) => Some(found),
            Self::Retransmission | Self::ResetSent(_) => None,
        }
    }
}
