//! Traces `tcp_fin` (`net/ipv4/tcp_input.c`): the peer closes.
//!
//! Prototype: `(sk)`, static, in every kernel from 5.10 to 7.2. Runs once per connection that the
//! peer closes first, or after this side has shut down sending. Produces an event if this side had
//! connected and the peer owes it an answer: a read returns 0, no errno is involved. A heuristic,
//! see `TcpSock::awaits_answer`.

use aya_ebpf::{
    macros::{fentry, kprobe},
    programs::{FEntryContext, ProbeContext},
};
use socktrace_ebpf::{EventKind, Flags, Protocol, TcpState};

use super::failed_call;
use crate::{
    arguments::Arguments, emit::emit, owner, recipient::Question, sock::Sock, subject::Subject,
    verifier::is_same,
};

/// Entry of `tcp_fin`.
#[fentry(function = "tcp_fin")]
fn tcp_fin(ctx: FEntryContext) -> i32 {
    ending(&ctx)
}

/// Entry of `tcp_fin` by kprobe.
#[kprobe(function = "tcp_fin")]
fn tcp_fin_kprobe(ctx: ProbeContext) -> i32 {
    ending(&ctx)
}

#[inline(always)]
fn ending<A: Arguments>(ctx: &A) -> i32 {
    let sock = Sock::<A::Load>::new(ctx.pointer(0));
    // Most sockets no longer have a program: it has closed first. It is quicker to see that a
    // socket was accepted than that it was not.
    if sock.is_done_or_dead() || sock.is_of_listener() || !owner::is_client(sock) {
        return 0;
    }
    let is_open = is_same(sock.state().into(), TcpState::Established as u64);
    if is_open | sock.is_receiving() == 0 {
        return 0;
    }
    let (Some(family), Some(tcp)) = (sock.family(), sock.tcp()) else {
        return 0;
    };
    // A subflow's end is not the end of its MPTCP connection.
    if tcp.mptcp_key().is_some() {
        return 0;
    }
    let (is_owed, flags) = tcp.awaits_answer();
    if is_owed == 0 {
        return 0;
    }
    let signature = failed_call(EventKind::PeerClosed, sock, Protocol::Tcp as u8, family, 0, flags);
    let question = Question::search(sock.identity(), Flags::empty(), sock.is_owned());
    let locate = |subject: &mut Subject| subject.locate(sock, family);
    emit(&signature, question, locate, |event| {
        sock.describe(event);
        // The FIN has a sequence number, and is not recorded as a FIN yet.
        event.unread_bytes = event.unread_bytes.saturating_sub(1);
    });
    0
}
