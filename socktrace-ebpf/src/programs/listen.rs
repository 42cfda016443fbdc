//! Reports of calls that fail to listen, whatever hook sees them.

use socktrace_ebpf::{EventKind, Flags};

use super::emit_call;
use crate::{listeners, load::Load, offsets, policy, retry, sock::Sock, subject::Subject};

/// Records the listener after a successful call, if the socket listens now. Connections of an MPTCP
/// socket arrive at its first subflow.
#[inline(always)]
pub(super) fn succeeded<L: Load>(sock: Sock<L>) -> i32 {
    if offsets::MPTCP.get() == 1 && sock.is_mptcp() {
        listeners::listens(sock.first_subflow().sock());
    } else if sock.stream_family().is_some() {
        listeners::listens(sock);
    }
    0
}

/// Reports a failed listen. `flags` are the known ones; others are added.
#[inline(always)]
pub(super) fn failed<L: Load>(sock: Sock<L>, errno: u16, flags: Flags) -> i32 {
    let Some(family) = sock.stream_family() else {
        return 0;
    };
    let (protocol, port) = (sock.stream_protocol(), sock.bound_port());
    if retry::repeats(EventKind::Listen, protocol, family as u8, port, errno) {
        return 0;
    }
    let flags = flags.with(policy::forbids(errno));
    let locate = |subject: &mut Subject| subject.local_port = port;
    emit_call(EventKind::Listen, sock, family, errno, flags, locate, |_| {})
}
