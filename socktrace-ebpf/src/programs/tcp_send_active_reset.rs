//! Traces `tcp_send_active_reset` (`net/ipv4/tcp_output.c`): this host sends an RST of its own
//! accord, as a socket is closed with unread data or `SO_LINGER` 0, or is killed.
//!
//! Prototype: `(sk, gfp)` up to 6.9, then `(sk, gfp, reason)` or `(sk, reason)`, also by
//! backports; the daemon loads the program that fits the kernel's BTF. Hooked at entry,
//! before the segment leaves: over loopback it is received before the function returns. Produces
//! no event: it is counted by its reason, and remembered for the other end, if that is on this host
//! too.

use aya_ebpf::{
    macros::{fentry, kprobe},
    programs::{FEntryContext, ProbeContext},
};
use socktrace_ebpf::facts::ABSENT;

use crate::{
    arguments::Arguments, measure, recipient::Question, sock::Sock, tuple::record_sent_reset,
};

/// Entry of `tcp_send_active_reset(sk, gfp)`.
#[fentry(function = "tcp_send_active_reset")]
fn tcp_send_active_reset(ctx: FEntryContext) -> i32 {
    sent(&ctx, ABSENT)
}

/// Entry of `tcp_send_active_reset(sk, reason)`.
#[fentry(function = "tcp_send_active_reset")]
fn tcp_send_active_reset_second(ctx: FEntryContext) -> i32 {
    sent(&ctx, ctx.int(1).cast_unsigned())
}

/// Entry of `tcp_send_active_reset(sk, gfp, reason)`.
#[fentry(function = "tcp_send_active_reset")]
fn tcp_send_active_reset_third(ctx: FEntryContext) -> i32 {
    sent(&ctx, ctx.int(2).cast_unsigned())
}

/// Entry of `tcp_send_active_reset(sk, gfp)`, by kprobe.
#[kprobe(function = "tcp_send_active_reset")]
fn tcp_send_active_reset_kprobe(ctx: ProbeContext) -> i32 {
    sent(&ctx, ABSENT)
}

/// Entry of `tcp_send_active_reset(sk, reason)`, by kprobe.
#[kprobe(function = "tcp_send_active_reset")]
fn tcp_send_active_reset_second_kprobe(ctx: ProbeContext) -> i32 {
    sent(&ctx, ctx.int(1).cast_unsigned())
}

/// Entry of `tcp_send_active_reset(sk, gfp, reason)`, by kprobe.
#[kprobe(function = "tcp_send_active_reset")]
fn tcp_send_active_reset_third_kprobe(ctx: ProbeContext) -> i32 {
    sent(&ctx, ctx.int(2).cast_unsigned())
}

#[inline(always)]
fn sent<A: Arguments>(ctx: &A, reason: u32) -> i32 {
    let sock = Sock::<A::Load>::new(ctx.pointer(0));
    let (Some(family), Some(tcp)) = (sock.family(), sock.tcp()) else {
        return 0;
    };
    measure::sends_reset(reason);
    // A connection in the queue of a listener that is closed has no owner yet.
    let sender = Question::presume(sock.held_identity(), sock.holder_flags(), sock.is_owned());
    record_sent_reset(tcp, family, sender.name(), reason);
    0
}
