//! Traces `tcp_close` (`net/ipv4/tcp.c`): a program closes a socket.
//!
//! Prototype: `(sk, long timeout)` in every kernel from 5.10 to 7.2. Runs once a socket and
//! leaves at the first test, unless the socket is still connecting. Produces an event then: the
//! program has given up, as by a timeout of its own, and no errno is ever delivered; or `SO_ERROR`
//! has given it an ICMP error that was not fatal to the socket.

use aya_ebpf::{
    macros::{fentry, kprobe},
    programs::{FEntryContext, ProbeContext},
};
use socktrace_ebpf::{EventKind, Flags, TcpState};

use super::emit_call;
use crate::{
    arguments::Arguments,
    errno::ECANCELED,
    load::Load,
    sock::Sock,
    tcp_sock::TcpSock,
    tuple::{Tuple, describe_icmp, icmp_errno},
};

/// Entry of `tcp_close`.
#[fentry(function = "tcp_close")]
fn tcp_close(ctx: FEntryContext) -> i32 {
    closing(&ctx)
}

/// The same by kprobe.
#[kprobe(function = "tcp_close")]
fn tcp_close_kprobe(ctx: ProbeContext) -> i32 {
    closing(&ctx)
}

#[inline(always)]
fn closing<A: Arguments>(ctx: &A) -> i32 {
    let sock = Sock::<A::Load>::new(ctx.pointer(0));
    if sock.state() != TcpState::SynSent as u8 {
        return 0;
    }
    let (Some(family), Some(tcp)) = (sock.family(), sock.tcp()) else {
        return 0;
    };
    let errno = errno_read(tcp, &Tuple::of(sock, family)).unwrap_or(ECANCELED);
    let flags = Flags::empty();
    emit_call(
        EventKind::CloseWhileConnecting,
        sock,
        family,
        errno,
        flags,
        |_| {},
        |event| describe_icmp(tcp, event),
    )
}

/// The errno of an ICMP error that the program has read, if it has.
///
/// An ICMP error that comes while connect still holds the socket, as from a container on the same
/// host, ends nothing: it is left in `sk_err_soft`, and on IPv4 the program is woken all the same.
/// While a socket is connecting only `SO_ERROR` takes it from there, and gives it to the program.
#[inline(always)]
fn errno_read<L: Load>(tcp: TcpSock<L>, connection: &Tuple) -> Option<u16> {
    if tcp.sock().soft_err() == 0 { icmp_errno(tcp, connection) } else { None }
}
