//! Traces the tracepoint `sock:inet_sk_error_report`: an error was stored in a socket.
//!
//! Arguments: `(const struct sock *)`; since 5.14, absent in 5.10. Used for errors that do not end
//! in `tcp_done`:
//! - a socket with `IP_RECVERR` gets ICMP errors at once and stays open;
//! - an MPTCP socket reports the errno that its program will get: from its only subflow while
//!   connecting and after a fallback to TCP (`__mptcp_error_report`), or because the peer has
//!   closed the whole connection (`MP_FASTCLOSE`, `mptcp_check_fastclose`). Other failures of its
//!   subflows are not the program's.
//!
//! Every other report is ignored: see [`Report::is_news`].

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use socktrace_ebpf::{EventKind, Flags, Origin, Protocol, Report, Signature, TcpState};

use super::failed_call;
use crate::{
    arguments::Arguments as _,
    emit::emit,
    errno::{ECONNREFUSED, ECONNRESET, EPIPE, ETIMEDOUT},
    failure, layer,
    load::Direct,
    note, offsets,
    recipient::Question,
    sending,
    sock::Sock,
    subject::Subject,
    tuple::{describe_icmp, describe_sender},
};

/// The tracepoint.
#[btf_tracepoint(function = "inet_sk_error_report")]
fn inet_sk_error_report(ctx: BtfTracePointContext) -> i32 {
    let sock = Sock::<Direct>::new(ctx.pointer(0));
    let errno = sock.err();
    if errno != 0 && sock.is_mptcp() {
        return mptcp(sock, errno);
    }
    let report =
        Report { errno, state: sock.state(), remote_port: sock.remote_port(), ..Report::default() };
    // Nothing added below turns a no into a yes, and most reports leave here.
    if !report.is_news() {
        return 0;
    }
    let (Some(family), Some(tcp)) = (sock.family(), sock.tcp()) else {
        return 0;
    };
    let report = Report {
        has_note: note::has(sock),
        is_subflow: tcp.mptcp_key().is_some(),
        closes_first: offsets::CLOSES_FIRST.get() == 1,
        encrypts: errno == EPIPE && layer::encrypts_for_a_program(tcp.untrusted_sock()),
        ..tcp.add_to(report)
    };
    if !report.is_news() {
        return 0;
    }
    let sock = tcp.untrusted_sock();
    let flags = sock.holder_flags();
    let signature = Signature {
        origin: Origin::Report as u8,
        ..failed_call(EventKind::ErrorReported, sock, Protocol::Tcp as u8, family, errno, flags)
    };
    let socket = sock.new_identity();
    failure::record(sock, socket, &signature, true);
    let question = Question::search(socket, flags, sock.is_owned());
    let locate = |subject: &mut Subject| subject.locate(sock, family);
    emit(&signature, question, locate, |event| {
        sock.describe(event);
        describe_icmp(tcp, event);
    });
    0
}

/// Flags of a subflow that its MPTCP socket does not inherit, but sets for itself.
const SUBFLOWS_OWN: Flags = Flags::ORPHAN.with(Flags::UNACCEPTED).with(Flags::SUBFLOW);

/// Reports the failure of an MPTCP socket. Its code is separate throughout: when it shared what
/// follows, such as counting, with TCP's, the verifier of 6.1 followed too many paths.
#[inline(always)]
fn mptcp(sock: Sock<Direct>, errno: u16) -> i32 {
    // Everything that takes loading a pointer comes first: see `TcpSock::untrusted_sock`, which
    // does not exist here. Behind branches the verifier would repeat it for each path.
    let netns = sock.netns();
    let flags = sock.holder_flags().with(Flags::MPTCP);
    let Some(family) = sock.family() else {
        return 0;
    };
    let mut signature =
        failed_call(EventKind::ErrorReported, sock, Protocol::Mptcp as u8, family, errno, flags);
    let mut local_port = sock.bound_port();
    let known = failure::find(sock);
    if known.is_some() && known.errno == errno {
        if known.reported == 1 {
            return 0;
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
    let socket = sock.new_identity();
    failure::record(sock, socket, &signature, true);
    let failing = sending::find(sock);
    sending::hand_up(sock, socket);
    // The current task may be MPTCP's worker.
    let question = Question::search(socket, flags, false);
    let locate = |subject: &mut Subject| {
        subject.locate_in(sock, family, netns);
        subject.local_port = local_port;
    };
    emit(&signature, question, locate, |event| {
        sock.describe(event);
        failing.describe(event);
        // Facts about the connection that TCP holds.
        let tcp = sock.first_subflow();
        if signature.origin == Origin::Reset as u8 {
            describe_sender(tcp, event);
            note::describe_rst(tcp.sock(), event);
        } else {
            describe_icmp(tcp, event);
        }
    });
    0
}
