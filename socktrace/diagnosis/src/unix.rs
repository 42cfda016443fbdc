//! Diagnosis of Unix sockets.

use nix::libc;
use socktrace_ebpf::{Flags, Origin, Protocol, Signature};

use crate::Cause;

/// Whether the signature is about a Unix socket.
pub(crate) const fn is_unix(signature: Signature) -> bool {
    signature.protocol == Protocol::Unix as u8
}

/// Cause of a failed connect.
pub(crate) fn connect(errno: u16) -> Cause {
    match i32::from(errno) {
        libc::EINTR => Cause::Interrupted,
        libc::ECONNREFUSED => Cause::ConnectRefused,
        // Only a full backlog returns it: datagram sockets have no such queue.
        libc::EAGAIN => Cause::BacklogFull,
        libc::ENOENT => Cause::NoSuchSocket,
        _ => Cause::ConnectLocal,
    }
}

/// Cause of a failed write on a connection.
pub(crate) fn write(errno: u16, flags: Flags) -> Cause {
    match i32::from(errno) {
        // Reported only after a timeout: a non-blocking write that must wait is not a failure.
        libc::EAGAIN => Cause::SendTimeout,
        libc::EPIPE if flags.has(Flags::PEER_CLOSED) => Cause::WriteAfterPeerClose,
        libc::EPIPE => Cause::WriteAfterShutdown,
        libc::ENOTCONN => Cause::WriteUnconnected,
        libc::EFAULT | libc::EINVAL | libc::EPERM | libc::ENOBUFS | libc::ENOMEM => {
            Cause::WriteFailed
        }
        _ => Cause::Other,
    }
}

/// Cause of an unsent datagram.
pub(crate) fn send(signature: Signature) -> Cause {
    let flags = Flags(signature.flags);
    match i32::from(signature.errno) {
        libc::EAGAIN if signature.origin == Origin::SendTimeout as u8 => Cause::SendTimeout,
        libc::EAGAIN => Cause::PeerQueueFull,
        libc::ECONNREFUSED if flags.has(Flags::PEER_CLOSED) => Cause::WriteAfterPeerClose,
        libc::ECONNREFUSED => Cause::ConnectRefused,
        libc::ENOENT => Cause::NoSuchSocket,
        libc::EPIPE | libc::ENOTCONN => write(signature.errno, flags),
        libc::EPERM
        | libc::EACCES
        | libc::EMSGSIZE
        | libc::ENOBUFS
        | libc::ENOMEM
        | libc::EINVAL
        | libc::EFAULT => Cause::SendRefused,
        _ => Cause::Other,
    }
}

/// Whether a client left without reading everything, as clients of the system bus and of systemd
/// usually do.
pub(crate) const fn has_client_gone(signature: Signature) -> bool {
    is_unix(signature) && signature.origin == Origin::ClientClose as u8
}

/// Whether a program probed for a service that most hosts lack.
pub(crate) const fn is_probe(signature: Signature) -> bool {
    is_unix(signature) && signature.origin == Origin::SpareService as u8
}
