//! Traces the tracepoint `sock:inet_sk_error_report`: an error was stored in a socket.
//!
//! Arguments: `(const struct sock *)`; since 5.14, absent in 5.10. Used for what does not end in
//! `tcp_done`:
//! - a socket with `IP_RECVERR` is told of ICMP errors at once and stays open;
//! - an MPTCP socket reports what its program will get: that of its only subflow while connecting
//!   and after a fallback to TCP (`__mptcp_error_report`), or that the peer has closed the whole
//!   connection (`MP_FASTCLOSE`, `mptcp_check_fastclose`). Other failures of its subflows are not
//!   the program's.
//!
//! Every other report is left alone:
//! - closed sockets were seen by `tcp_done`; connecting ones will be (5.14 to 6.10 report before
//!   they call it), likewise those whose timer gives up (ETIMEDOUT) or with a note in the stash;
//! - `tcp_disconnect` reports with no peer, `sock_queue_err_skb` without an error.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use socktrace_ebpf::{Family, Flags, Hook, Origin, Signature, TcpState};

use super::failed_call;
use crate::{
    arguments::Arguments as _,
    emit::emit,
    errno::{ECONNREFUSED, ECONNRESET, EPIPE, ETIMEDOUT},
    failure,
    load::Direct,
    recipient::Question,
    sock::Sock,
    stash,
    subject::Subject,
    tuple::{Tuple, describe_icmp, describe_sender},
};

/// The tracepoint.
#[btf_tracepoint(function = "inet_sk_error_report")]
fn inet_sk_error_report(ctx: BtfTracePointContext) -> i32 {
    let sock = Sock::<Direct>::new(ctx.pointer(0));
    let errno = sock.err();
    if errno == 0 {
        return 0;
    }
    // What takes loading a pointer comes first, before paths part. Through a pointer that it trusts, as
    // a tracepoint's argument, each such load makes the verifier search all of the kernel's types by
    // name several times (`btf_nested_type_is_trusted`, since 6.4).
    let netns = sock.netns();
    let holder = sock.holder_flags();
    let Some(family) = sock.family() else {
        return 0;
    };
    let is_mptcp = sock.is_mptcp();
    let told = if is_mptcp {
        mptcp(sock, family, errno, holder)
    } else {
        tcp(sock, family, errno, holder)
    };
    let Some((signature, local_port)) = told else {
        return 0;
    };
    failure::record(sock, &signature, true);
    // The current task may be MPTCP's worker.
    let question = Question::search(sock, holder, !is_mptcp && sock.is_owned());
    let locate = |subject: &mut Subject| {
        subject.locate_in(sock, family, netns);
        subject.local_port = local_port;
    };
    emit(&signature, question, locate, |event| {
        sock.describe_timers(event);
        let connection = Tuple { local_port, ..Tuple::of(sock, family) };
        if signature.origin == Origin::Reset as u8 {
            describe_sender(connection, event);
        } else {
            describe_icmp(&connection, event);
        }
    });
    0
}

/// What a TCP socket tells, and its local port.
#[inline(always)]
fn tcp(sock: Sock<Direct>, family: Family, errno: u16, flags: Flags) -> Option<(Signature, u16)> {
    if errno == ETIMEDOUT || sock.remote_port() == 0 {
        return None;
    }
    let state = sock.state();
    if state == TcpState::Close as u8 || state == TcpState::SynSent as u8 || stash::has(sock) {
        return None;
    }
    let tcp = sock.tcp()?;
    if tcp.mptcp_key().is_some() {
        return None;
    }
    let signature = failed_call(Hook::InetSkErrorReport, sock, family, errno, flags);
    Some((signature, tcp.local_port()))
}

/// What only a subflow knows, and its MPTCP socket has to say for itself.
const SUBFLOWS_OWN: Flags = Flags::ORPHAN.with(Flags::UNACCEPTED).with(Flags::SUBFLOW);

/// The same of an MPTCP socket.
#[inline(always)]
fn mptcp(
    sock: Sock<Direct>,
    family: Family,
    errno: u16,
    holder: Flags,
) -> Option<(Signature, u16)> {
    let flags = holder.with(Flags::MPTCP);
    let mut signature = failed_call(Hook::InetSkErrorReport, sock, family, errno, flags);
    let mut local_port = sock.bound_port();
    let known = failure::find(sock);
    if known.is_some() && known.errno == errno {
        if known.told == 1 {
            return None;
        }
        local_port = known.local_port;
        signature.origin = known.origin;
        signature.state = known.state;
        signature.flags |= known.flags & !SUBFLOWS_OWN.0;
    } else {
        // The peer closed the connection, or the subflow reports before `tcp_done` (up to 6.10).
        signature.origin = match errno {
            ECONNRESET | EPIPE | ECONNREFUSED => Origin::Reset,
            ETIMEDOUT => Origin::RetransmitTimer,
            _ => Origin::Other,
        } as u8;
        if signature.state == TcpState::Close as u8 {
            signature.state = match errno {
                ECONNRESET => TcpState::Established,
                EPIPE => TcpState::CloseWait,
                _ => TcpState::SynSent,
            } as u8;
        }
    }
    Some((signature, local_port))
}
