//! Traces `tcp_reset` (`net/ipv4/tcp_input.c`): a segment arrived that ends the connection.
//!
//! Prototype: `(struct sock *)` in 5.10, `(struct sock *, struct sk_buff *)` since 5.11. It sets
//! `sk_err` by state and calls `tcp_done`, in every kernel from 5.10 to 7.2, unless the socket is
//! already closed. Produces no event: it leaves a note for `tcp_done` that a reset is the reason.

use aya_ebpf::{
    macros::{fentry, kprobe},
    programs::{FEntryContext, ProbeContext},
};
use socktrace_ebpf::{Flags, Origin, TcpState};

use crate::{
    arguments::Arguments,
    note::{self, Note},
    offsets::{self, Offset as _},
    sock::Sock,
    tcp_sock::{Segment, TcpSock},
};

/// Entry of `tcp_reset`.
#[fentry(function = "tcp_reset")]
fn tcp_reset(ctx: FEntryContext) -> i32 {
    resetting(&ctx)
}

/// Entry of `tcp_reset` by kprobe.
#[kprobe(function = "tcp_reset")]
fn tcp_reset_kprobe(ctx: ProbeContext) -> i32 {
    resetting(&ctx)
}

/// Leaves a note for `tcp_done`, which always follows.
#[inline(always)]
fn resetting<A: Arguments>(ctx: &A) -> i32 {
    let sock = Sock::<A::Load>::new(ctx.pointer(0));
    let state = sock.state();
    if state == TcpState::Close as u8 {
        // `tcp_reset` returns at once here, and nothing would take the note.
        return 0;
    }
    let (flags, rst) = segment(ctx, sock);
    note::put_rst(sock, Note::new(Origin::Reset, flags), rst);
    debug!(ctx, "tcp_reset: state {} flags {}", state, flags.0);
    0
}

/// [`Flags::NO_RST`] if the segment has no RST, else the numbers of the RST.
///
/// `tcp_rcv_state_process` also calls `tcp_reset` for data that arrives after reading was shut
/// down. 5.10 does not pass the segment, which is taken for an RST there.
#[inline(always)]
fn segment<A: Arguments>(ctx: &A, sock: Sock<A::Load>) -> (Flags, [u32; 2]) {
    if offsets::TCP_RESET_SKB_ARG.offset() == Some(1)
        && let Some(segment) = Segment::<A::Load>::of(ctx.pointer(1))
    {
        return if segment.has_rst() {
            (Flags::empty(), segment.numbers())
        } else {
            (Flags::NO_RST, [0, 0])
        };
    }
    (Flags::empty(), sock.tcp().map_or([0, 0], TcpSock::expected_rst))
}
