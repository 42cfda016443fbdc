//! What is known to be wrong in what socktrace says, until it is mended.
//!
//! A scenario marks the expectation that shows a fault. The mark asks for the wrong value, so that it
//! has to go when the fault has; every run lists the faults that it has seen.

/// A fault.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// What is shown, and what is right.
    pub(super) what: &'static str,
    /// How that comes.
    pub(super) why: &'static str,
}

/// Who sent an RST, when a listener is closed with connections in its queue.
pub(super) const CLOSED_LISTENER: Fault = Fault {
    what: "an RST by the close of a listener has no sender; right is the process that closed it",
    why: "connections in the queue have no owner, and their keepalive timers send RSTs too",
};

/// What waits to be sent, when the kernel has taken the socket's connection away: `tcp_disconnect`.
pub(super) const DISCONNECTED: Fault = Fault {
    what: "numbers of a socket that is disconnected are those of its last attempt; right is 0",
    why: "tcp_disconnect moves the sequence numbers on, for the next attempt",
};

/// The flags of a socket that is connecting.
pub(super) const NO_WINDOW_YET: Fault = Fault {
    what: "zero_window is among the flags of a connect; right is that it is not",
    why: "a peer that has not answered has advertised no window, and the kernel has 0 for it",
};
