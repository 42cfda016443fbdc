//! Reports of calls that fail to bind, whatever hook sees them.

use socktrace_ebpf::{EventKind, Flags};

use super::{emit_call_of, unix_bind};
use crate::{
    load::Load,
    policy, retry,
    sock::Sock,
    sockaddr::{End, SockAddr},
    subject::Subject,
};

/// Reports a failed bind to this address. `flags` are the known ones; others are added.
#[inline(always)]
pub(super) fn failed<L: Load, A: Load>(
    sock: Sock<L>,
    wanted: SockAddr<A>,
    errno: u16,
    flags: Flags,
) -> i32 {
    let kind = sock.kind();
    if !kind.reports_calls() {
        return unix_bind::bind_failed(sock, wanted, errno);
    }
    let protocol = kind.protocol as u8;
    // The requested address, which the socket did not get.
    let End { family, ip, port } = wanted.end(sock);
    if kind.has_records() && retry::repeats(EventKind::Bind, protocol, family as u8, port, errno) {
        return 0;
    }
    let flags = flags.with(policy::forbids_bind(errno, sock, port));
    let flags = flags.with(wanted.flags(sock.own_family()));
    let locate = |subject: &mut Subject| {
        subject.local = ip;
        subject.local_port = port;
    };
    emit_call_of(protocol, EventKind::Bind, sock, family, errno, flags, locate, |event| {
        wanted.describe(sock, event);
    })
}
