//! Traces `tcp_abort` (`net/ipv4/tcp.c`): somebody asks the kernel to kill a socket, by `ss -K`
//! (`sock_diag`) or `bpf_sock_destroy`.
//!
//! Prototype: `int (sk, int err)` in every kernel from 5.10 to 7.2. It calls `tcp_done` for a
//! socket that a program holds. Produces no event: it tells `tcp_done` the reason.

use aya_ebpf::{
    macros::{fentry, fexit},
    programs::{FEntryContext, FExitContext},
};
use socktrace_ebpf::{Flags, Origin, TcpState};

use crate::{
    sock::Sock,
    stash::{self, Note},
};

/// Entry of `tcp_abort`.
#[fentry(function = "tcp_abort")]
fn tcp_abort(ctx: FEntryContext) -> i32 {
    let sock = Sock::new(ctx.arg(0));
    // Requests and sockets in TIME_WAIT are no full sockets, and are dropped without tcp_done.
    if sock.tcp().is_some() && sock.state() != TcpState::Close as u8 {
        stash::put(sock, Note::new(Origin::Abort, Flags::empty()));
    }
    0
}

/// Return of `tcp_abort`: takes the note away where `tcp_done` was not called. The socket may be
/// gone; only its address is used.
#[fexit(function = "tcp_abort")]
fn tcp_abort_return(ctx: FExitContext) -> i32 {
    let _not_taken = stash::take(Sock::new(ctx.arg(0)));
    0
}
