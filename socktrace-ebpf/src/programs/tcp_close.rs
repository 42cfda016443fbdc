//! Traces `tcp_close` (`net/ipv4/tcp.c`): a program closes a socket.
//!
//! Prototype: `(sk, long timeout)` in every kernel from 5.10 to 7.2. Runs once a socket and
//! leaves at the first test, unless the socket is still connecting. Produces an event then: the
//! program has given up, as by a timeout of its own, and no errno is ever delivered.

use aya_ebpf::{macros::fentry, programs::FEntryContext};
use socktrace_ebpf::{Flags, Hook, TcpState};

use super::{describe_call, failed_call};
use crate::{
    emit::emit,
    errno::ECANCELED,
    sock::Sock,
    tuple::{Tuple, describe_icmp},
};

/// Entry of `tcp_close`.
#[fentry(function = "tcp_close")]
fn tcp_close(ctx: FEntryContext) -> i32 {
    let sock = Sock::new(ctx.arg(0));
    if sock.state() != TcpState::SynSent as u8 {
        return 0;
    }
    let (Some(family), Some(tcp)) = (sock.family(), sock.tcp()) else {
        return 0;
    };
    let signature = failed_call(Hook::TcpClose, tcp, family, ECANCELED, Flags::empty());
    emit(&signature, |event| {
        describe_call(event, tcp, family);
        // What came while the program held the socket is not fatal, but says why it waited.
        describe_icmp(&Tuple::of(tcp, family), event);
    });
    0
}
