//! Traces `tcp_retransmit_timer` (`net/ipv4/tcp_timer.c`): a retransmission timeout (RTO) fired.
//!
//! Prototype: `(struct sock *)` in every kernel from 5.10 to 7.2. When the retries have run out it
//! sets `sk_err` and calls `tcp_done` on the way (`tcp_write_err`, inlined everywhere). The entry
//! program tells `tcp_done` that this timer is the reason; the exit program counts the timeouts
//! after which the connection lives on. One timeout is progress, not a failure: it is counted
//! and sends no event.

use aya_ebpf::{
    macros::{fentry, fexit},
    programs::{FEntryContext, FExitContext},
};
use aya_log_ebpf::debug;
use socktrace_ebpf::{Flags, Hook, Origin, Signature};

use crate::{
    sock::Sock,
    stash::{self, Note},
    tally,
};

/// Entry of `tcp_retransmit_timer`.
#[fentry(function = "tcp_retransmit_timer")]
fn tcp_retransmit_timer(ctx: FEntryContext) -> i32 {
    let sock = Sock::new(ctx.arg(0));
    let Some(tcp) = sock.tcp() else {
        return 0;
    };
    let note = Note::new(Origin::RetransmitTimer, Flags::empty());
    stash::put(sock, Note { fired: u8::from(tcp.has_packets_out()), ..note });
    0
}

/// Return of `tcp_retransmit_timer`; the note is gone when `tcp_done` has closed the socket.
#[fexit(function = "tcp_retransmit_timer")]
fn tcp_retransmit_timer_return(ctx: FExitContext) -> i32 {
    let sock = Sock::new(ctx.arg(0));
    let (Some(note), Some(family)) = (stash::take(sock), sock.family()) else {
        return 0;
    };
    if note.fired == 0 {
        return 0;
    }
    let signature = Signature {
        hook: Hook::TcpRetransmitTimer as u8,
        origin: note.origin,
        state: sock.state(),
        family: family as u8,
        errno: 0,
        flags: 0,
    };
    debug!(&ctx, "tcp_retransmit_timer: state {}", signature.state);
    tally::count(&signature);
    0
}
