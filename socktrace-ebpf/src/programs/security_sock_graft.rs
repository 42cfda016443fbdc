//! Traces `security_sock_graft` (`security/security.c`) in place of the return of `inet_csk_accept`,
//! which a return probe loses when many wait in accept.
//!
//! Prototype: `(struct sock *, struct socket *)` in every kernel from 5.10 to 7.2, called by
//! `sock_graft` as `inet_accept` (now by `__inet_accept`) gives a connection its `struct socket`,
//! holding the connection's lock. `AF_UNIX`, `AF_ALG` and others call it too; MPTCP for its own
//! sockets, which programs hold, not for the TCP connections under them (`mptcp_sock_graft`).

use aya_ebpf::{macros::kprobe, programs::ProbeContext};

use super::inet_csk_accept;
use crate::{arguments::Arguments as _, load::Probe, sock::Sock};

/// Entry of `security_sock_graft`.
#[kprobe(function = "security_sock_graft")]
fn security_sock_graft(ctx: ProbeContext) -> i32 {
    let sock = Sock::<Probe>::new(ctx.pointer(0));
    if sock.stream_family().is_none() {
        return 0;
    }
    inet_csk_accept::accept(sock)
}
