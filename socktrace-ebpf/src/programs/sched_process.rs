//! Traces the tracepoints `sched:sched_process_fork` (`kernel_clone`, `kernel/fork.c`) and
//! `sched:sched_process_exit` (`do_exit`, `kernel/exit.c`), on request, to follow processes.
//!
//! Arguments, in 5.10 to 7.3: `(struct task_struct *parent, struct task_struct *child)`, once per
//! process or thread, before it runs; and `(struct task_struct *)`, since 6.16 followed by a
//! `bool`, once per thread, after it was removed from its process's count of live threads and
//! before its files are closed.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

use crate::{
    arguments::Arguments as _,
    follow,
    load::{Direct, Load as _},
    offsets,
};

/// Start of a process or thread.
#[btf_tracepoint(function = "sched_process_fork")]
fn sched_process_fork(ctx: BtfTracePointContext) -> i32 {
    let child = ctx.pointer(1);
    // SAFETY: a `struct task_struct`, and the offset of a member.
    let tgid: u32 = unsafe { Direct::member(child, &offsets::PROCESS_TGID) };
    // SAFETY: the same structure, and the offset of a member.
    let thread: u32 = unsafe { Direct::member(child, &offsets::PROCESS_PID) };
    // A thread belongs to the process that starts it.
    if thread == tgid {
        // SAFETY: the same structure, and the offset of a member.
        follow::started(tgid, unsafe { Direct::member(child, &offsets::PROCESS_START) });
    }
    0
}

/// Exit of a thread.
#[btf_tracepoint(function = "sched_process_exit")]
fn sched_process_exit(ctx: BtfTracePointContext) -> i32 {
    let task = ctx.pointer(0);
    // SAFETY: a `struct task_struct`, and the offset of a member.
    let signal: *const u8 = unsafe { Direct::member(task, &offsets::PROCESS_SIGNAL) };
    // SAFETY: a `struct signal_struct`, which every process has, and the offset of a member.
    let live: u32 = unsafe { Direct::member(signal, &offsets::PROCESS_LIVE) };
    if live == 0 {
        // SAFETY: as above.
        follow::ended(unsafe { Direct::member(task, &offsets::PROCESS_TGID) });
    }
    0
}
