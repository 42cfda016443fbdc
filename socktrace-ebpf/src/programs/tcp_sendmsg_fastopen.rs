//! Traces the return of `tcp_sendmsg_fastopen` (`net/ipv4/tcp.c`): a send call connects, with
//! `MSG_FASTOPEN` or after a connect that `TCP_FASTOPEN_CONNECT` has deferred.
//!
//! Prototype: `int (struct sock *, struct msghdr *, int *copied, size_t size, struct ubuf_info *)`
//! in 6.1 to 7.3; static, and inlined, before. Does for such a call what `sys_connect_file` does
//! for connect.

use aya_ebpf::{macros::fexit, programs::FExitContext};

use super::connect;
use crate::{
    arguments::Arguments as _,
    errno::returned,
    load::{Direct, Probe},
    offsets,
    sock::Sock,
    sockaddr::SockAddr,
};

/// Return of `tcp_sendmsg_fastopen`.
#[fexit(function = "tcp_sendmsg_fastopen")]
fn tcp_sendmsg_fastopen_return(ctx: FExitContext) -> i32 {
    let sock = Sock::<Direct>::new(ctx.pointer(0));
    if sock.stream_family().is_none() {
        return 0;
    }
    // The name is a `void *`.
    let name: *const u8 = Probe::read_member(ctx.pointer(1), &offsets::MSG_NAME);
    let length: i32 = Probe::read_member(ctx.pointer(1), &offsets::MSG_NAME_LENGTH);
    let target = SockAddr::<Probe>::new(name, length);
    let errno = returned(ctx.argument(5));
    connect::returned(sock, errno, target, connect::Call::Send)
}
