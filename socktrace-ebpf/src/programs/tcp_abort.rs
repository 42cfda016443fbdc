//! Traces `tcp_abort` (`net/ipv4/tcp.c`): a request to kill a socket, by `ss -K` (`sock_diag`) or
//! `bpf_sock_destroy`.
//!
//! Prototype: `int (sk, int err)` in every kernel from 5.10 to 7.2. It calls `tcp_done` for a
//! socket that a program holds. Produces no event: it passes the reason to `tcp_done`.

use aya_ebpf::{
    macros::{fentry, fexit, kprobe, kretprobe},
    programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext},
};
use socktrace_ebpf::{Flags, Origin, TcpState};

use crate::{
    arguments::Arguments,
    calls::{self, Function},
    note::{self, Note},
    sock::Sock,
};

/// Entry of `tcp_abort`.
#[fentry(function = "tcp_abort")]
fn tcp_abort(ctx: FEntryContext) -> i32 {
    aborting(&ctx)
}

/// Return of `tcp_abort`.
#[fexit(function = "tcp_abort")]
fn tcp_abort_return(ctx: FExitContext) -> i32 {
    aborted(&ctx)
}

/// Entry of `tcp_abort` by kprobe.
#[kprobe(function = "tcp_abort")]
fn tcp_abort_kprobe(ctx: ProbeContext) -> i32 {
    calls::enter(Function::TcpAbort, &ctx);
    aborting(&ctx)
}

/// Return of `tcp_abort` by kprobe.
#[kretprobe(function = "tcp_abort")]
fn tcp_abort_kretprobe(_ctx: RetProbeContext) -> i32 {
    calls::leave(Function::TcpAbort).map_or(0, |call| aborted(&call))
}

#[inline(always)]
fn aborting<A: Arguments>(ctx: &A) -> i32 {
    let sock = Sock::<A::Load>::new(ctx.pointer(0));
    // Requests and sockets in TIME_WAIT are not full sockets, and are dropped without tcp_done.
    if sock.tcp().is_some() && sock.state() != TcpState::Close as u8 {
        note::put(sock, Note::new(Origin::Abort, Flags::empty()));
    }
    0
}

/// Removes the note if `tcp_done` was not called. The socket may be gone; only its address is used.
#[inline(always)]
fn aborted<A: Arguments>(ctx: &A) -> i32 {
    let _not_taken = note::take(Sock::<A::Load>::new(ctx.pointer(0)));
    0
}
