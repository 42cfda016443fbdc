//! Traces `mptcp_sock_graft` (`net/mptcp/protocol.c`): accept gives an MPTCP connection's subflows the
//! `struct socket` of the connection, which is a program's from now on.
//!
//! Prototype: `(struct sock *subflow, struct socket *parent)` in 6.1 to 7.3, called by
//! `mptcp_stream_accept` once the connection has its `struct socket`. Remembers who accepts:
//! `inet_csk_accept` returns the subflow, from which no typed pointer leads to the connection.

use aya_ebpf::{macros::fentry, programs::FEntryContext};

use crate::{
    arguments::Arguments as _,
    load::Direct,
    owner::{self, Role},
    sock::Socket,
};

/// Entry of `mptcp_sock_graft`.
#[fentry(function = "mptcp_sock_graft")]
fn mptcp_sock_graft(ctx: FEntryContext) -> i32 {
    let sock = Socket::<Direct>::new(ctx.pointer(1)).sock();
    if sock.stream_family().is_some() {
        owner::ensure(sock, Role::Server);
    }
    0
}
