//! What failures of Unix sockets mean.

use nix::libc;
use socktrace_ebpf::{Flags, Origin, Protocol, Signature};

use crate::Cause;

/// Whether it is about a Unix socket.
pub(crate) const fn is_unix(signature: Signature) -> bool {
    signature.protocol == Protocol::Unix as u8
}

/// A connect failed.
pub(crate) fn connect(errno: u16) -> Cause {
    match i32::from(errno) {
        libc::EINTR => Cause::Interrupted,
        libc::ECONNREFUSED => Cause::ConnectRefused,
        // Nothing else gives it: a socket of datagrams has no such queue.
        libc::EAGAIN => Cause::BacklogFull,
        libc::ENOENT => Cause::NoSuchSocket,
        _ => Cause::ConnectLocal,
    }
}

/// A write returned EPIPE.
pub(crate) const fn write(flags: Flags) -> Cause {
    if flags.has(Flags::PEER_CLOSED) {
        Cause::WriteAfterPeerClose
    } else {
        Cause::WriteAfterShutdown
    }
}

/// Whether a client has gone before it had read all: those of the system bus and of systemd do so as a rule.
pub(crate) const fn has_client_gone(signature: Signature) -> bool {
    is_unix(signature) && signature.origin == Origin::ClientClose as u8
}

/// Whether a program has looked for a service that most hosts do without.
pub(crate) const fn is_probe(signature: Signature) -> bool {
    is_unix(signature) && signature.origin == Origin::SpareService as u8
}
