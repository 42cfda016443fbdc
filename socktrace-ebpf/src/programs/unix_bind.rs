//! Traces binds and listens of Unix sockets: at the returns of the whole calls
//! ([`super::sys_bind`], [`super::sys_listen`]) or, where those cannot be used, at the returns of
//! `unix_bind` and `unix_listen` (`net/unix/af_unix.c`).
//!
//! Prototypes: `int (struct socket *, struct sockaddr *, int addr_len)`, with a `struct
//! sockaddr_unsized *` in 7.3, and `int (struct socket *, int backlog)`. Each produces an event
//! when it fails; the listener of a successful listen is recorded, for connects that find its queue
//! full.

use aya_ebpf::{
    macros::{fexit, kprobe, kretprobe},
    programs::{FExitContext, ProbeContext, RetProbeContext},
};
use socktrace_ebpf::{EventKind, Flags, TcpState};

use super::{listen, unix_signature};
use crate::{
    arguments::Arguments,
    calls::{self, Function},
    emit::emit_unix,
    errno::returned,
    load::{Load, Probe},
    recipient::Question,
    sock::Sock,
    sockaddr::SockAddr,
    socket::Socket,
    subject::Subject,
    task::{self, Task},
    unix::{self, Name, Root},
};

/// Return of `unix_bind`.
#[fexit(function = "unix_bind")]
fn unix_bind_return(ctx: FExitContext) -> i32 {
    bound(&ctx, returned(ctx.argument(3)))
}

/// Return of `unix_listen`.
#[fexit(function = "unix_listen")]
fn unix_listen_return(ctx: FExitContext) -> i32 {
    listened(&ctx, returned(ctx.argument(2)))
}

/// Entry of `unix_bind` by kprobe.
#[kprobe(function = "unix_bind")]
fn unix_bind_kprobe(ctx: ProbeContext) -> i32 {
    calls::enter(Function::UnixBind, &ctx);
    0
}

/// Return of `unix_bind` by kprobe.
#[kretprobe(function = "unix_bind")]
fn unix_bind_kretprobe(ctx: RetProbeContext) -> i32 {
    calls::leave(Function::UnixBind).map_or(0, |call| bound(&call, returned(ctx.ret())))
}

/// Entry of `unix_listen` by kprobe.
#[kprobe(function = "unix_listen")]
fn unix_listen_kprobe(ctx: ProbeContext) -> i32 {
    calls::enter(Function::UnixListen, &ctx);
    0
}

/// Return of `unix_listen` by kprobe.
#[kretprobe(function = "unix_listen")]
fn unix_listen_kretprobe(ctx: RetProbeContext) -> i32 {
    calls::leave(Function::UnixListen).map_or(0, |call| listened(&call, returned(ctx.ret())))
}

#[inline(always)]
fn bound<A: Arguments>(ctx: &A, errno: u16) -> i32 {
    if errno == 0 {
        return 0;
    }
    let sock = Socket::<A::Load>::new(ctx.pointer(0)).sock();
    bind_failed(sock, SockAddr::<A::Load>::new(ctx.pointer(1), ctx.int(2)), errno)
}

#[inline(always)]
fn listened<A: Arguments>(ctx: &A, errno: u16) -> i32 {
    let sock = Socket::<A::Load>::new(ctx.pointer(0)).sock();
    if !task::is_readable() {
        return if errno == 0 { 0 } else { failed(EventKind::Listen, sock, Name::NONE, errno) };
    }
    listen_returned(Sock::new(sock.key() as *const u8), errno)
}

/// Reports a failed bind to this address, if the socket is a Unix socket.
#[inline(always)]
pub(super) fn bind_failed<L: Load, A: Load>(sock: Sock<L>, wanted: SockAddr<A>, errno: u16) -> i32 {
    if !sock.is_unix() {
        return 0;
    }
    failed(EventKind::Bind, sock, wanted.unix_name(), errno)
}

/// Handles a successful bind of any socket.
#[inline(always)]
pub(super) fn succeeded(sock: Sock<Probe>) {
    unix::remember_receiver(sock, Task::current());
}

/// Handles the return of a listen on any socket.
#[inline(always)]
pub(super) fn listen_returned(sock: Sock<Probe>, errno: u16) -> i32 {
    match (sock.is_unix(), errno) {
        (false, 0) => listen::succeeded(sock),
        (false, _) => listen::failed(sock, errno, Flags::empty()),
        (true, 0) => {
            if sock.state() == TcpState::Listen as u8 {
                unix::remember(sock, Root::current());
            }
            0
        }
        (true, _) => failed(EventKind::Listen, sock, sock.unix_name(), errno),
    }
}

#[inline(always)]
fn failed<L: Load>(kind: EventKind, sock: Sock<L>, name: Name, errno: u16) -> i32 {
    let signature = unix_signature(kind, sock, errno, Flags::empty());
    let locate = |subject: &mut Subject| subject.netns = sock.netns();
    emit_unix(&signature, Question::caller(), locate, |named| name.write(&mut named.path));
    0
}
