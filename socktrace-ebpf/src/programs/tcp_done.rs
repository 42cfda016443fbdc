//! Traces `tcp_done_with_error` or `tcp_done` (`net/ipv4/tcp.c`), which every abnormal close of a
//! TCP socket passes.
//!
//! Prototypes: `(struct sock *, int err)`, in 6.11 and some long-term series (6.1.192, 6.12), which
//! orderly closes do not pass; `(struct sock *)` in every kernel from 5.10 to 7.3, which orderly
//! closes pass too, about once per connection, and leave at the first test. `sk_state` is still the
//! old state in both; `sk_err` is set at the entry of `tcp_done`, but not of `tcp_done_with_error`.
//! Produces one event per failure.

use aya_ebpf::{
    helpers::{bpf_get_current_comm, bpf_get_current_pid_tgid},
    macros::{fentry, kprobe},
    programs::{FEntryContext, ProbeContext},
};
use socktrace_ebpf::{
    Detail, EventKind, Flags, Origin, Protocol, Signature, TcpState, facts::ABSENT,
};

use crate::{
    arguments::Arguments, emit::emit, errno::EBADMSG, failure, note, recipient::Question, sending,
    sock::Sock, subject::Subject, tuple, verifier::FlagBit as _,
};

/// Entry of `tcp_done_with_error`.
#[fentry(function = "tcp_done_with_error")]
fn tcp_done_with_error(ctx: FEntryContext) -> i32 {
    closing(&ctx, ctx.int(1) as u16)
}

/// Entry of `tcp_done`.
#[fentry(function = "tcp_done")]
fn tcp_done(ctx: FEntryContext) -> i32 {
    closing(&ctx, stored_errno(&ctx))
}

/// Entry of `tcp_done` by kprobe.
#[kprobe(function = "tcp_done")]
fn tcp_done_kprobe(ctx: ProbeContext) -> i32 {
    closing(&ctx, stored_errno(&ctx))
}

/// Errno that `tcp_done` finds in the socket; 0 if it is an old one.
///
/// An orderly close may find an errno that no call has taken, of an ICMP error that the connection
/// survived (`IP_RECVERR`), or one that is not TCP's (`EBADMSG`, kTLS). Nothing has failed then.
#[inline(always)]
fn stored_errno<A: Arguments>(ctx: &A) -> u16 {
    let sock = Sock::<A::Load>::new(ctx.pointer(0));
    let errno = sock.err();
    if errno == 0 {
        return 0;
    }
    let is_orderly = matches!(sock.state(), FIN_WAIT2 | CLOSING | LAST_ACK) && !note::has(sock);
    if is_orderly && (errno == EBADMSG || failure::find(sock).errno == errno) { 0 } else { errno }
}

const FIN_WAIT2: u8 = TcpState::FinWait2 as u8;
const CLOSING: u8 = TcpState::Closing as u8;
const LAST_ACK: u8 = TcpState::LastAck as u8;

#[inline(always)]
fn closing<A: Arguments>(ctx: &A, errno: u16) -> i32 {
    if errno == 0 {
        return 0;
    }
    let sock = Sock::<A::Load>::new(ctx.pointer(0));
    let (Some(family), Some(tcp)) = (sock.family(), sock.tcp()) else {
        return 0;
    };
    // `inet_sk_error_report` reports the outcome of an MPTCP connection.
    let subflow = tcp.mptcp_key().is_some();
    let socket = sock.new_held_identity();
    let note = note::take(sock);
    let failing = sending::find(sock);
    let is_reset = note.origin == Origin::Reset as u8;
    let is_killed = note.origin == Origin::Abort as u8;
    // A task that kills a socket holds another process's socket. MPTCP's worker, which holds
    // subflows for their programs, is a kernel thread.
    let in_process = sock.is_owned() && !is_killed;
    // Each origin has flags of its own; the others would only multiply tallies.
    let reported =
        if is_reset { tcp.reset_flags() } else { tcp.timer_flags(errno, failing.tries()) };
    let holder = sock.holder_flags();
    let flags = Flags(u32::from(note.flags))
        .with(holder)
        .with(reported)
        .with(tcp.connecting_flags())
        .with_flag(Flags::CONNECTING, sock.is_connecting_both_ways())
        .with_flag(Flags::SUBFLOW, u64::from(subflow));
    let signature = Signature {
        flags: flags.0,
        errno,
        kind: EventKind::ConnectionEnded as u8,
        origin: note.origin,
        state: sock.state(),
        family: family as u8,
        protocol: Protocol::Tcp as u8,
        ..Signature::default()
    };
    debug!(ctx, "tcp_done: errno {} state {} flags {}", errno, signature.state, flags.0);
    // Not by a test of all flags, which would keep the verifier from merging paths that differ in
    // any of them.
    if !holder.has(Flags::ORPHAN) {
        failure::record(sock, socket, &signature, !subflow);
        sending::hand_up(sock, socket);
    }
    let question = Question::search(socket, flags, in_process);
    let locate = |subject: &mut Subject| subject.locate(sock, family);
    emit(&signature, question, locate, |event| {
        sock.describe(event);
        failing.describe(event);
        if is_reset {
            tuple::describe_sender(tcp, event);
            note::describe_rst(sock, event);
        } else if is_killed {
            // `tcp_abort` runs in the killer's call.
            let tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
            let comm = bpf_get_current_comm().unwrap_or_default();
            event.set_detail(Detail::Peer { tgid, comm, rst_reason: ABSENT });
        } else {
            tuple::describe_icmp(tcp, event);
        }
    });
    0
}
