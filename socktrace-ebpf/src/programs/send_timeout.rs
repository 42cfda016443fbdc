//! Calls that have waited for as long as the program allows (`SO_SNDTIMEO`), whatever hook sees
//! their end.

use socktrace_ebpf::{Detail, EventKind, Flags};

use super::emit_call;
use crate::{load::Load, sock::Sock};

/// Reports a call that may wait, but returned an errno that says it would have to. The connection,
/// or the attempt to make one, goes on.
#[inline(always)]
pub(super) fn ended<L: Load>(kind: EventKind, sock: Sock<L>, errno: u16, flags: Flags) -> i32 {
    let Some(limit) = sock.send_timeout() else {
        return 0;
    };
    let Some(family) = sock.stream_family() else {
        return 0;
    };
    if sock.is_the_kernels() {
        return 0;
    }
    debug!((), "SO_SNDTIMEO of {} jiffies: errno {}", limit, errno);
    let flags = match sock.tcp() {
        Some(tcp) => flags.with(tcp.window_flags()),
        None => flags,
    };
    let jiffies = limit.min(u32::MAX.into()) as u32;
    emit_call(
        kind,
        sock,
        family,
        errno,
        flags,
        |_| {},
        |event| {
            event.set_detail(Detail::SendTimeout { jiffies });
        },
    )
}
