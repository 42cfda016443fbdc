//! Traces the return of `inet_dgram_connect` (`net/ipv4/af_inet.c`): connect of a connectionless
//! socket, by system call or `io_uring`.
//!
//! Prototype: `int (struct socket *, struct sockaddr *, int addr_len, int flags)` in 5.10 to 7.3.
//! It runs the cgroup's BPF programs, but not the security modules. Records the connecting process.
//! Produces an event when it fails. The connect sends nothing: it looks up the route and stores the
//! address. C libraries connect UDP sockets to find out which of a host's addresses can be reached
//! (`getaddrinfo`).

use aya_ebpf::{
    macros::{fexit, kprobe, kretprobe},
    programs::{FExitContext, ProbeContext, RetProbeContext},
};
use socktrace_ebpf::{EventKind, Flags, Protocol};

use super::emit_call_of;
use crate::{
    arguments::Arguments,
    calls::{self, Function},
    errno::{self, EPERM},
    owner::{self, Role},
    sockaddr::SockAddr,
    socket::Socket,
    subject::Subject,
};

/// Return of `inet_dgram_connect`.
#[fexit(function = "inet_dgram_connect")]
fn inet_dgram_connect_return(ctx: FExitContext) -> i32 {
    ended(&ctx, errno::returned(ctx.argument(4)))
}

/// Entry of `inet_dgram_connect` by kprobe.
#[kprobe(function = "inet_dgram_connect")]
fn inet_dgram_connect_kprobe(ctx: ProbeContext) -> i32 {
    calls::enter(Function::InetDgramConnect, &ctx);
    0
}

/// Return of `inet_dgram_connect` by kprobe. The function does not block.
#[kretprobe(function = "inet_dgram_connect")]
fn inet_dgram_connect_kretprobe(ctx: RetProbeContext) -> i32 {
    calls::leave(Function::InetDgramConnect)
        .map_or(0, |call| ended(&call, errno::returned(ctx.ret())))
}

#[inline(always)]
fn ended<A: Arguments>(ctx: &A, errno: u16) -> i32 {
    let sock = Socket::<A::Load>::new(ctx.pointer(0)).sock();
    if sock.kind().protocol as u8 != Protocol::Udp as u8 {
        return 0;
    }
    let target = SockAddr::<A::Load>::new(ctx.pointer(1), ctx.int(2));
    if errno == 0 {
        // A connect that dissolves the association is by the same program.
        if !target.is_unspecified() {
            owner::record(sock, Role::Client);
        }
        return 0;
    }
    let to = target.end(sock);
    let flags = target.flags(sock.own_family());
    // UDP itself never returns EPERM.
    let flags = flags.with_if(Flags::POLICY, errno == EPERM);
    let locate = |subject: &mut Subject| {
        (subject.remote, subject.remote_port) = (to.ip, to.port);
    };
    let protocol = Protocol::Udp as u8;
    emit_call_of(protocol, EventKind::Connect, sock, to.family, errno, flags, locate, |event| {
        target.describe(sock, event);
    })
}
