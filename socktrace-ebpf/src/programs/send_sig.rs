//! Traces `send_sig` (`kernel/signal.c`) for SIGPIPE: a write to a Unix socket whose peer has closed
//! (`unix_stream_sendmsg`).
//!
//! Prototype: `int (int sig, struct task_struct *, int priv)` in every kernel from 5.10 to 7.3. The
//! signal comes without a socket: the descriptor is in the registers of the system call.
//! [`super::sk_stream_error`] reports TCP sockets, and pipes are not sockets. Writes with
//! `MSG_NOSIGNAL` never get here.

use aya_ebpf::{
    helpers::generated::bpf_get_current_task,
    macros::{fentry, kprobe},
    programs::{FEntryContext, ProbeContext},
};
use socktrace_ebpf::{EventKind, Flags, Signature};

use super::unix_signature;
use crate::{
    arguments::Arguments, descriptor, emit::emit_unix, errno::EPIPE, load::number,
    recipient::Question, sigpipe, subject::Subject, system_call,
};

const SIGPIPE: i32 = 13;

/// Entry of `send_sig`.
#[fentry(function = "send_sig")]
fn send_sig(ctx: FEntryContext) -> i32 {
    raised(&ctx)
}

/// Entry of `send_sig` by kprobe.
#[kprobe(function = "send_sig")]
fn send_sig_kprobe(ctx: ProbeContext) -> i32 {
    raised(&ctx)
}

#[inline(always)]
fn raised<A: Arguments>(ctx: &A) -> i32 {
    // SAFETY: takes nothing; returns the current task's address.
    if ctx.int(0) != SIGPIPE || number(ctx.pointer(1)) != unsafe { bpf_get_current_task() } {
        return 0;
    }
    let Some(sock) = system_call::written_descriptor().and_then(descriptor::any_sock) else {
        return 0;
    };
    if !sock.is_unix() || !sock.has_connections() {
        return 0;
    }
    let peer = sock.unix_peer();
    let flags = if peer.is_null() || peer.is_dead() {
        Flags::PEER_CLOSED
    } else if sock.has_send_shutdown() {
        Flags::SEND_SHUTDOWN
    } else {
        // Not about this socket.
        return 0;
    };
    let signature = Signature {
        sigpipe: sigpipe::verdict(0),
        ..unix_signature(EventKind::Write, sock, EPIPE, flags)
    };
    let locate = |subject: &mut Subject| subject.netns = sock.netns();
    emit_unix(&signature, Question::caller(), locate, |named| {
        let name = sock.unix_name();
        if name.is_none() { peer.unix_name() } else { name }.write(&mut named.path);
    });
    0
}
