//! What is reported when a call that listens fails, whatever hook sees it.

use socktrace_ebpf::{EventKind, Flags};

use super::emit_call;
use crate::{load::Load, policy, retry, sock::Sock, subject::Subject};

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
