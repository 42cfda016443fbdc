//! What is reported when a call that listens fails, whatever hook sees it.

use socktrace_ebpf::{EventKind, Flags};

use super::emit_call;
use crate::{listeners, load::Load, offsets, policy, retry, sock::Sock, subject::Subject};

/// A listen has succeeded, if the socket listens now. The connections of an MPTCP socket come to its first
/// subflow.
#[inline(always)]
pub(super) fn succeeded<L: Load>(sock: Sock<L>) -> i32 {
    if offsets::MPTCP.get() == 1 && sock.is_mptcp() {
        listeners::listens(sock.first_subflow().sock());
    } else if sock.stream_family().is_some() {
        listeners::listens(sock);
    }
    0
}

/// A listen has failed. These flags are known, others follow.
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
