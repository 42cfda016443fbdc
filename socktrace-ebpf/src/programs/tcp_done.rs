//! Traces `tcp_done` (`net/ipv4/tcp.c`): the point every abnormal close of a TCP socket passes.
//!
//! Prototype: `(struct sock *)` in every kernel from 5.10 to 7.2. At entry `sk_err` is already
//! set and `sk_state` is still the old state, in all of them (also where callers go through
//! `tcp_done_with_error`, 6.11 and some long-term series). An orderly close passes here with
//! `sk_err` 0, about once a connection, and leaves at the first test. Produces one event a
//! failure.

use aya_ebpf::{
    helpers::{bpf_get_current_comm, bpf_get_current_pid_tgid},
    macros::{fentry, kprobe},
    programs::{FEntryContext, ProbeContext},
};
use socktrace_ebpf::{EventKind, Flags, Origin, Protocol, Signature};

use crate::{
    arguments::Arguments,
    emit::emit,
    failure,
    recipient::Question,
    sock::Sock,
    stash::{self, Note},
    subject::Subject,
    tuple::{self, Tuple},
};

/// Entry of `tcp_done`.
#[fentry(function = "tcp_done")]
fn tcp_done(ctx: FEntryContext) -> i32 {
    closing(&ctx)
}

/// The same by kprobe.
#[kprobe(function = "tcp_done")]
fn tcp_done_kprobe(ctx: ProbeContext) -> i32 {
    closing(&ctx)
}

#[inline(always)]
fn closing<A: Arguments>(ctx: &A) -> i32 {
    let sock = Sock::<A::Load>::new(ctx.pointer(0));
    let errno = sock.err();
    if errno == 0 {
        return 0;
    }
    let (Some(family), Some(tcp)) = (sock.family(), sock.tcp()) else {
        return 0;
    };
    let note = stash::take(sock).unwrap_or(Note::NONE);
    let is_reset = note.origin == Origin::Reset as u8;
    let is_killed = note.origin == Origin::Abort as u8;
    // Each origin has flags that say something about it; the others would only multiply tallies.
    let told = if is_reset { tcp.reset_flags() } else { tcp.timer_flags(errno) };
    // What becomes of an MPTCP connection is told when that reports it, see `inet_sk_error_report`.
    let subflow = tcp.mptcp_key().is_some();
    let holder = sock.holder_flags();
    let flags =
        Flags(u32::from(note.flags)).with(holder).with(told).with_if(Flags::SUBFLOW, subflow);
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
    // Not by a test of all flags, which would keep the verifier from taking paths for one that differ
    // in any of them.
    if !holder.has(Flags::ORPHAN) {
        failure::record(sock, &signature, !subflow);
    }
    // MPTCP's worker holds subflows for their programs, and who kills a socket holds another's.
    let in_process = sock.is_owned() && !subflow && !is_killed;
    let question = Question::search(sock, flags, in_process);
    let locate = |subject: &mut Subject| subject.locate(sock, family);
    emit(&signature, question, locate, |event| {
        sock.describe_timers(event);
        let connection = Tuple::of(sock, family);
        if is_reset {
            tuple::describe_sender(connection, event);
        } else {
            tuple::describe_icmp(&connection, event);
        }
        if is_killed {
            // `tcp_abort` runs in the killer's call.
            event.peer_tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
            event.peer_comm = bpf_get_current_comm().unwrap_or_default();
        }
    });
    0
}
