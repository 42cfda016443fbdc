//! Traces `tcp_send_active_reset` (`net/ipv4/tcp_output.c`): this host sends an RST of its own
//! accord, because a socket is closed with unread data or `SO_LINGER` 0, or is killed.
//!
//! Prototype: `(sk, gfp)` up to 6.9, then `(sk, gfp, reason)` or `(sk, reason)`, also by backports;
//! the daemon loads the program that matches the kernel's BTF. Hooked at entry, before the segment
//! leaves: over loopback it is received before the function returns. The RST is counted by its
//! reason, and stored for the other end, which may be on this host too. Produces an event of
//! ordinary operation.

use aya_ebpf::{
    macros::{fentry, kprobe},
    programs::{FEntryContext, ProbeContext},
};
use socktrace_ebpf::{Flags, SentReset, TcpState, event::BY_LISTENER, facts::ABSENT};

use super::tcp_send_reset::stream;
use crate::{
    arguments::Arguments, load::Load, measure, recipient::Question, sock::Sock, subject::Subject,
    task, tcp_sock::TcpSock, tuple::record_sent_reset,
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
    let holder = sock.holder_flags();
    let why = tcp.why_reset(holder);
    measure::sends_reset(why, reason);
    // A connection in a listener's queue has no owner yet.
    let by_listener = holder.has(Flags::UNACCEPTED) && is_forgotten(tcp);
    let in_process = sock.is_owned() || by_listener;
    let known_as = if by_listener { reason ^ BY_LISTENER } else { reason };
    remember(tcp, holder, in_process, known_as);
    // The process that kills a socket is not its owner.
    let in_process = in_process && why != SentReset::Aborted;
    let owner = Question::presume(sock.held_identity(), holder, in_process);
    let locate = |subject: &mut Subject| subject.locate(sock, family);
    stream(why, sock.state(), holder, family, reason, owner, locate, |event| {
        sock.describe(event);
        event.rst = tcp.own_rst();
    });
    0
}

/// Stores the sender for the other end. A separate function, because it takes much of the stack.
#[inline(never)]
fn remember<L: Load>(tcp: TcpSock<L>, holder: Flags, in_process: bool, reason: u32) {
    let sock = tcp.sock();
    let sender = Question::presume(sock.held_identity(), holder, in_process);
    if let Some(family) = sock.family() {
        record_sent_reset(tcp, family, &sender.name(), reason);
    }
}

/// Whether a connection that nobody has accepted is dropped by a task that closes its listener.
///
/// `inet_csk_listen_stop` disconnects what is in the queue (`inet_child_forget`), and
/// `tcp_disconnect` sets the state to CLOSE before it sends the RST; all other senders change the
/// state later (`tcp_keepalive_timer`, `tcp_out_of_resources`, `tcp_abort`; 5.10 to 7.3). A segment
/// may do the same, in an interrupt, to a connection that it has just made, if the listener goes
/// away at that very moment (`inet_csk_reqsk_queue_add`): such a connection has heard nothing from
/// the peer yet.
#[inline(always)]
fn is_forgotten<L: Load>(tcp: TcpSock<L>) -> bool {
    tcp.sock().state() == TcpState::Close as u8
        && tcp.has_heard_from_peer()
        && !task::current_is_kernel_thread()
}
