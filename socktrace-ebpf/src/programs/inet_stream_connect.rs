//! Traces `__inet_stream_connect` (`net/ipv4/af_inet.c`): connect, by system call, by `io_uring` or
//! by a sending call with `MSG_FASTOPEN`.
//!
//! Prototype: `(struct socket *, struct sockaddr *, int addr_len, int flags, int is_sendmsg)` in
//! 5.10 to 6.18. Remembers the connecting process. Produces an event when connect fails for a
//! reason that is no failure of an existing connection: no route, no port, an interrupting
//! signal. What the network answered was counted by `tcp_done`, and connect only delivers it.

use aya_ebpf::{
    macros::{fentry, fexit},
    programs::{FEntryContext, FExitContext},
};
use aya_log_ebpf::debug;
use socktrace_ebpf::{Address, Family, Flags, Hook};

use super::{describe_call, failed_call};
use crate::{
    emit::emit,
    errno::{EAGAIN, EALREADY, EINPROGRESS, EISCONN, returned},
    failure,
    owner::{self, Role},
    sock::Socket,
    sockaddr::SockAddr,
};

/// Entry of `__inet_stream_connect`.
#[fentry(function = "__inet_stream_connect")]
fn inet_stream_connect(ctx: FEntryContext) -> i32 {
    let socket = Socket::new(ctx.arg(0));
    // Later calls on the same attempt ask for its outcome.
    if !socket.is_unconnected() {
        return 0;
    }
    let Some(tcp) = socket.sock().tcp() else {
        return 0;
    };
    owner::record(tcp.sock(), Role::Client);
    failure::forget(tcp);
    0
}

/// Return of `__inet_stream_connect`.
#[fexit(function = "__inet_stream_connect")]
fn inet_stream_connect_return(ctx: FExitContext) -> i32 {
    let errno = returned(ctx.arg(5));
    if matches!(errno, 0 | EAGAIN | EALREADY | EINPROGRESS | EISCONN) {
        return 0;
    }
    let is_sendmsg: i32 = ctx.arg(4);
    let sock = Socket::new(ctx.arg(0)).sock();
    let (Some(family), Some(tcp)) = (sock.family(), sock.tcp()) else {
        return 0;
    };
    let known = failure::find_connecting(tcp);
    if let Some(known) = known
        && known.delivered == 0
        && known.errno == errno
    {
        if is_sendmsg == 0 {
            failure::deliver(tcp, known);
        }
        // A sending call ends in `sk_stream_error`, which tells the delivery.
        return 0;
    }
    let flags = Flags::empty()
        .with_if(Flags::REPORTED, known.is_some())
        .with_if(Flags::FAST_OPEN, is_sendmsg != 0);
    let signature = failed_call(Hook::InetStreamConnect, tcp, family, errno, flags);
    debug!(&ctx, "__inet_stream_connect: failed with errno {}", errno);
    emit(&signature, |event| {
        describe_call(event, tcp, family);
        // The socket has forgotten where it was to go.
        let target = SockAddr::new(ctx.arg(1));
        if target.is_null() {
            return;
        }
        event.remote_port = target.port();
        if family == Family::Ipv4 && event.remote == Address::default() {
            let ip = sock.mapped_remote().unwrap_or_else(|| target.ipv4());
            event.remote.octets[..4].copy_from_slice(&ip);
        }
    });
    0
}
