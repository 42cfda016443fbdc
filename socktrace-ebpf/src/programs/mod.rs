//! The hooks, one file each, named after the kernel function.
//!
//! The body of a hook is written once, generic over its [`Arguments`] and so over the way to read
//! memory. The programs that attach it, by trampoline or by kprobe, only call that body.
//!
//! [`Arguments`]: crate::arguments::Arguments

mod bind;
mod bpf_map_elem;
mod connect;
mod datagram_error;
mod inet_bind;
mod inet_csk_accept;
mod inet_dgram_connect;
mod inet_listen;
mod inet_sk_error_report;
mod inet_stream_connect;
mod listen;
mod other_error_report;
mod sched_process;
mod security_sock_graft;
mod security_socket;
mod send_sig;
mod send_timeout;
mod sk_error_report;
mod sk_stream_error;
mod sockopt;
mod sys_accept4;
mod sys_bind;
mod sys_connect_file;
mod sys_listen;
mod sys_socket;
mod task_file;
mod tcp_abort;
mod tcp_close;
mod tcp_destroy_sock;
mod tcp_done;
mod tcp_err;
mod tcp_fin;
mod tcp_init_transfer;
mod tcp_reset;
mod tcp_retransmit_skb;
mod tcp_retransmit_timer;
mod tcp_send_active_reset;
mod tcp_send_reset;
mod tcp_sendmsg_fastopen;
mod tcp_write_wakeup;
mod udp_destroy_sock;
mod udp_err;
mod udp_fail_queue_rcv_skb;
mod udp_sendmsg;
mod unix_bind;
mod unix_connect;
mod unix_release;
mod unix_sendmsg;

use socktrace_ebpf::{Domain, Event, EventKind, Family, Flags, Protocol, Signature, Sigpipe};

use crate::{emit::emit, load::Load, recipient::Question, sock::Sock, subject::Subject};

/// Signature of a call of the current process that failed on this socket.
#[inline(always)]
fn failed_call<L: Load>(
    kind: EventKind,
    sock: Sock<L>,
    protocol: u8,
    family: Family,
    errno: u16,
    flags: Flags,
) -> Signature {
    Signature {
        flags: flags.0,
        errno,
        kind: kind as u8,
        origin: 0,
        state: sock.state(),
        family: family as u8,
        sigpipe: Sigpipe::NotRaised as u8,
        protocol,
    }
}

/// Reports that a call of the current process failed on this TCP or MPTCP socket. `locate` corrects
/// the destination, `describe` adds what the call was about.
#[inline(always)]
fn emit_call<L: Load>(
    kind: EventKind,
    sock: Sock<L>,
    family: Family,
    errno: u16,
    flags: Flags,
    locate: impl FnOnce(&mut Subject),
    describe: impl FnOnce(&mut Event),
) -> i32 {
    let protocol = sock.stream_protocol();
    emit_call_of(protocol, kind, sock, family, errno, flags, locate, describe)
}

/// Like [`emit_call`], on a socket of this [`socktrace_ebpf::Protocol`].
#[expect(clippy::too_many_arguments, reason = "the parts of a signature, and what completes it")]
#[inline(always)]
fn emit_call_of<L: Load>(
    protocol: u8,
    kind: EventKind,
    sock: Sock<L>,
    family: Family,
    errno: u16,
    flags: Flags,
    locate: impl FnOnce(&mut Subject),
    describe: impl FnOnce(&mut Event),
) -> i32 {
    let signature = failed_call(kind, sock, protocol, family, errno, flags);
    let locate = |subject: &mut Subject| {
        locate_call(subject, sock, family);
        locate(subject);
    };
    emit(&signature, caller_of(sock), locate, |event| {
        sock.describe(event);
        describe(event);
    });
    0
}

/// Signature of an event on a Unix socket.
#[inline(always)]
fn unix_signature<L: Load>(kind: EventKind, sock: Sock<L>, errno: u16, flags: Flags) -> Signature {
    Signature {
        flags: flags.0,
        errno,
        kind: kind as u8,
        origin: 0,
        state: sock.state(),
        family: Domain::Unix as u8,
        sigpipe: Sigpipe::NotRaised as u8,
        protocol: Protocol::Unix as u8,
    }
}

/// Question that finds the current process, which made the call.
#[inline(always)]
fn caller_of<L: Load>(sock: Sock<L>) -> Question {
    Question::presume(sock.held_identity(), Flags::empty(), true)
}

/// Records the ends of a call's connection.
#[inline(always)]
fn locate_call<L: Load>(subject: &mut Subject, sock: Sock<L>, family: Family) {
    subject.locate(sock, family);
    // An unbound socket that does not listen or connect yet has no source port.
    if subject.local_port == 0 {
        subject.local_port = sock.bound_port();
    }
}
