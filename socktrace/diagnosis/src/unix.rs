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

/// A write on a connection failed.
pub(crate) fn write(errno: u16, flags: Flags) -> Cause {
    match i32::from(errno) {
        // Of others the program is to wait, and it is not a failure.
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

/// A datagram was not sent.
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

/// Whether a client has gone before it had read all: those of the system bus and of systemd do so as a rule.
pub(crate) const fn has_client_gone(signature: Signature) -> bool {
    is_unix(signature) && signature.origin == Origin::ClientClose as u8
}

/// Whether a program has looked for a service that most hosts do without.
pub(crate) const fn is_probe(signature: Signature) -> bool {
    is_unix(signature) && signature.origin == Origin::SpareService as u8
}
