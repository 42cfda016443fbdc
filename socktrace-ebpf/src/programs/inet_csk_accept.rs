//! Traces the return of `inet_csk_accept` (`net/ipv4/inet_connection_sock.c`): a program takes a
//! connection out of the accept queue, or fails to.
//!
//! Prototype: `(sk, flags, err, kern)` up to 6.9, `(sk, arg)` since 6.10. An exit program finds the
//! return value after the last argument (`bpf_get_func_ret` needs 5.17). There is therefore one
//! program for each prototype, and the daemon loads the one that matches the kernel's BTF.
//!
//! Records the accepting process. Produces an event when the connection is already closed: on Linux
//! accept succeeds anyway, and the program's next read or write fails; `tcp_done` counted the
//! failure when it happened. Produces an event when accept fails, except for lack of connections.

use aya_ebpf::{macros::fexit, programs::FExitContext};
use socktrace_ebpf::{EventKind, Family, Flags, TcpState};

use super::{caller_of, emit_call, failed_call, locate_call};
use crate::{
    arguments::Arguments as _,
    emit::emit,
    errno::{EAGAIN, ECONNRESET, EINVAL, EPIPE, returned},
    failure,
    listeners::{self, Occasion},
    load::{Direct, Load, Probe},
    measure, offsets,
    owner::{self, Role},
    sock::Sock,
    subject::Subject,
};

/// Return of `inet_csk_accept(sk, flags, err, kern)`.
#[fexit(function = "inet_csk_accept")]
fn inet_csk_accept_four_args(ctx: FExitContext) -> i32 {
    let accepted = Sock::<Direct>::new(ctx.pointer(4));
    if !accepted.is_null() {
        return accept_from(&ctx, accepted);
    }
    if offsets::READ_KERNEL.get() != 1 {
        return 0;
    }
    // `err` points to an `int` of the caller.
    let err: i32 = Probe::read(ctx.pointer(2), 0);
    failure(&ctx, err)
}

/// Return of `inet_csk_accept` in kernels before 5.17, whose verifier lets no program read an `int
/// *` argument: `sys_accept4_errors_return` reports the errors there.
#[fexit(function = "inet_csk_accept")]
fn inet_csk_accept_connections(ctx: FExitContext) -> i32 {
    let accepted = Sock::<Direct>::new(ctx.pointer(4));
    if accepted.is_null() { 0 } else { accept_from(&ctx, accepted) }
}

/// Return of `inet_csk_accept(sk, arg)`.
#[fexit(function = "inet_csk_accept")]
fn inet_csk_accept_two_args(ctx: FExitContext) -> i32 {
    let accepted = Sock::<Direct>::new(ctx.pointer(2));
    if !accepted.is_null() {
        return accept_from(&ctx, accepted);
    }
    // SAFETY: the hook's `struct proto_accept_arg` argument, and an offset in it.
    let err: i32 = unsafe { Direct::member(ctx.pointer(1), &offsets::ACCEPT_ARG_ERR) };
    failure(&ctx, err)
}

/// Handles an accept by the current process from a listener, the first argument.
#[inline(always)]
fn accept_from(ctx: &FExitContext, sock: Sock<Direct>) -> i32 {
    let listener = Sock::<Direct>::new(ctx.pointer(0));
    listeners::look_at(listener, Occasion::Accept);
    accept(sock, || measure::accepted_reset(Sock::<Direct>::new(ctx.pointer(0))))
}

/// Handles an accept by the current process. `note_reset` is called if the connection was reset
/// before; it may also have ended by a timeout or an ICMP error.
#[inline(always)]
pub(super) fn accept<L: Load>(sock: Sock<L>, note_reset: impl FnOnce()) -> i32 {
    owner::record(sock, Role::Server);
    let Some(family) = sock.family() else {
        return 0;
    };
    measure::accepted(family);
    measure::waited(sock);
    let state = sock.state();
    let errno = sock.err();
    if (state != TcpState::Close as u8 && errno == 0) || sock.tcp().is_none() {
        return 0;
    }
    if matches!(errno, ECONNRESET | EPIPE) {
        note_reset();
    }
    let flags = Flags::UNACCEPTED.with(Flags::DELIVERY);
    let protocol = sock.stream_protocol();
    let mut signature = failed_call(EventKind::Accept, sock, protocol, family, errno, flags);
    let known = failure::find(sock);
    if known.is_some() && known.errno == errno {
        // The same story as the failure, with the same origin, state and flags.
        (signature.origin, signature.state) = (known.origin, known.state);
        signature.flags |= known.flags;
    }
    debug!((), "accept: already closed, errno {}", errno);
    let locate = |subject: &mut Subject| locate_call(subject, sock, family);
    emit(&signature, caller_of(sock), locate, |event| sock.describe(event));
    0
}

/// [`Flags::NEVER_LISTENED`], if that is why the protocol's accept failed with this errno.
#[inline(always)]
pub(super) fn no_listener<L: Load>(sock: Sock<L>, family: Family, errno: u16) -> Flags {
    let never = errno == EINVAL && !sock.has_listened(family);
    Flags::empty().with_if(Flags::NEVER_LISTENED, never)
}

#[inline(always)]
fn failure(ctx: &FExitContext, err: i32) -> i32 {
    let errno = returned(i64::from(err).cast_unsigned());
    if matches!(errno, 0 | EAGAIN) {
        return 0;
    }
    let sock = Sock::<Direct>::new(ctx.pointer(0));
    let (Some(family), Some(_)) = (sock.family(), sock.tcp()) else {
        return 0;
    };
    debug!(ctx, "inet_csk_accept: failed with errno {}", errno);
    let flags = no_listener(sock, family, errno);
    emit_call(EventKind::Accept, sock, family, errno, flags, |_| {}, |_| {})
}
