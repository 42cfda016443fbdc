//! Traces the return of `__sys_socket` (`net/socket.c`): a program requests a socket and gets none.
//!
//! Prototype: `int (int family, int type, int protocol)` in every kernel from 5.10 to 7.3. Produces an
//! event when it fails, for every family. `socketpair` does not pass here, nor does `io_uring`, which
//! calls `__sys_socket_file` once it has a descriptor.

use aya_ebpf::{
    macros::{fexit, kprobe, kretprobe},
    programs::{FExitContext, ProbeContext, RetProbeContext},
};
use socktrace_ebpf::{Detail, EventKind, Signature, SocketCall};

use crate::{
    arguments::Arguments,
    calls::{self, Function},
    emit::emit,
    errno::returned,
    recipient::Question,
};

/// Return of `__sys_socket`.
#[fexit(function = "__sys_socket")]
fn sys_socket_return(ctx: FExitContext) -> i32 {
    failed(&ctx, returned(ctx.argument(3)))
}

/// Entry of `__sys_socket` by kprobe.
#[kprobe(function = "__sys_socket")]
fn sys_socket_kprobe(ctx: ProbeContext) -> i32 {
    calls::enter(Function::SysSocket, &ctx);
    0
}

/// Return of `__sys_socket` by kprobe.
#[kretprobe(function = "__sys_socket")]
fn sys_socket_kretprobe(ctx: RetProbeContext) -> i32 {
    calls::leave(Function::SysSocket).map_or(0, |call| failed(&call, returned(ctx.ret())))
}

#[inline(always)]
fn failed<A: Arguments>(ctx: &A, errno: u16) -> i32 {
    if errno == 0 {
        return 0;
    }
    let call = SocketCall { family: ctx.int(0), socket_type: ctx.int(1), protocol: ctx.int(2) };
    let signature = Signature {
        errno,
        kind: EventKind::Socket as u8,
        family: call.family(),
        protocol: call.protocol() as u8,
        ..Signature::default()
    };
    emit(
        &signature,
        Question::caller(),
        |_| {},
        |event| {
            event.set_detail(Detail::Socket(call));
        },
    );
    0
}
