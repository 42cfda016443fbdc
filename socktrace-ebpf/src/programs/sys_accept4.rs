//! Traces the return of `__sys_accept4` (`net/socket.c`): accept fails, for lack of resources.
//!
//! Prototype: `int (int fd, upeer_sockaddr, upeer_addrlen, int flags)` in every kernel from 5.10
//! to 7.2. A descriptor is reserved before the accept queue is looked at, so `inet_csk_accept`
//! never sees EMFILE. Produces an event for it and its like; the connections stay in the queue.

use aya_ebpf::{macros::fexit, programs::FExitContext};
use socktrace_ebpf::{Detail, EventKind, Flags};

use super::emit_call;
use crate::{
    arguments::Arguments as _,
    descriptor,
    errno::{EAGAIN, EMFILE, ENFILE, ENOBUFS, ENOMEM, returned},
    load::Probe,
    measure,
    sock::Sock,
};

/// Return of `__sys_accept4`, for lack of resources.
#[fexit(function = "__sys_accept4")]
fn sys_accept4_return(ctx: FExitContext) -> i32 {
    let errno = returned(ctx.argument(4));
    if lacks_resources(errno) { failed(&ctx, errno, measure::accept_failed) } else { 0 }
}

/// Return of `__sys_accept4`, for all other reasons: where `inet_csk_accept` cannot tell them.
#[fexit(function = "__sys_accept4")]
fn sys_accept4_errors_return(ctx: FExitContext) -> i32 {
    let errno = returned(ctx.argument(4));
    if errno == 0 || errno == EAGAIN || lacks_resources(errno) {
        0
    } else {
        failed(&ctx, errno, |_| ())
    }
}

#[inline(always)]
fn lacks_resources(errno: u16) -> bool {
    matches!(errno, EMFILE | ENFILE | ENOBUFS | ENOMEM)
}

#[inline(always)]
fn failed(ctx: &FExitContext, errno: u16, measure: impl FnOnce(Sock<Probe>)) -> i32 {
    let fd = ctx.int(0);
    let Some(sock) = descriptor::sock(fd) else {
        return 0;
    };
    let Some(family) = sock.family() else {
        return 0;
    };
    measure(sock);
    let flags = Flags::empty();
    emit_call(
        EventKind::AcceptCall,
        sock,
        family,
        errno,
        flags,
        |_| {},
        |event| event.set_detail(Detail::Call { fd, level: 0, option: 0 }),
    )
}
