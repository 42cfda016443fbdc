//! Traces `security_sock_graft` (`security/security.c`): by kprobe instead of the return of
//! `inet_csk_accept`, which a return probe loses when many wait in accept; and by trampoline beside
//! that return.
//!
//! Prototype: `(struct sock *, struct socket *)` in every kernel from 5.10 to 7.2. `sock_graft`
//! calls it when `inet_accept` (now `__inet_accept`) gives a connection its `struct socket`, with
//! the connection's lock held. `AF_UNIX`, `AF_ALG` and others call it too; MPTCP calls it for its
//! own sockets, which programs hold, but not for the TCP connections under them
//! (`mptcp_sock_graft`).
//!
//! The hook is a second chance to find out who accepts: since 5.12 the kernel does not run a
//! trampoline's program while a task is preempted in that same program on the CPU (`prog->active`),
//! and this is another program.

use aya_ebpf::{
    macros::{fentry, kprobe},
    programs::{FEntryContext, ProbeContext},
};

use super::inet_csk_accept;
use crate::{
    arguments::Arguments as _,
    load::{Direct, Probe},
    owner::{self, Role},
    sock::Sock,
};

/// Entry of `security_sock_graft` by kprobe.
#[kprobe(function = "security_sock_graft")]
fn security_sock_graft_kprobe(ctx: ProbeContext) -> i32 {
    let sock = Sock::<Probe>::new(ctx.pointer(0));
    if sock.stream_family().is_none() {
        return 0;
    }
    // The listener is unknown here.
    inet_csk_accept::accept(sock, || ())
}

/// Entry of `security_sock_graft`, where the return of `inet_csk_accept` is hooked too.
#[fentry(function = "security_sock_graft")]
fn security_sock_graft_spare(ctx: FEntryContext) -> i32 {
    let sock = Sock::<Direct>::new(ctx.pointer(0));
    if sock.stream_family().is_some() {
        owner::ensure(sock, Role::Server);
    }
    0
}
