//! Effect of SIGPIPE on the current process.

use aya_ebpf::helpers::generated::{bpf_get_current_task, bpf_get_current_task_btf};
use socktrace_ebpf::Sigpipe;

use crate::{
    load::{Direct, Load, Probe},
    offsets, signal,
};

/// `MSG_NOSIGNAL` in `include/linux/socket.h`.
pub(crate) const MSG_NOSIGNAL: i32 = 0x4000;
/// Signal numbers count from 1, bits and actions from 0.
const SIGPIPE_INDEX: usize = 13 - 1;
/// `SIGNAL_UNKILLABLE` in `include/linux/sched/signal.h`; the same in 5.10 to 7.2.
const SIGNAL_UNKILLABLE: u32 = 0x40;
const SIG_DFL: u64 = 0;
const SIG_IGN: u64 = 1;

/// Effect of SIGPIPE on the current process, whose write with these flags fails with EPIPE: a
/// [`Sigpipe`].
///
/// `NotRaised` if the process cannot be read: on 5.10 (whose programs get no typed task) under
/// lockdown=confidentiality, and on a kernel that lacks one of the members.
#[inline(always)]
pub(crate) fn verdict(message_flags: i32) -> u8 {
    if message_flags & MSG_NOSIGNAL != 0 {
        return Sigpipe::None as u8;
    }
    current_disposition() as u8
}

/// Effect of a signal that is raised, a [`Sigpipe`].
///
/// A global function: the verifier walks it once per program, whatever the paths to it. For each
/// pointer that is loaded through the current task, as through any trusted pointer, it searches all
/// of the kernel's types by name, several times (`btf_nested_type_is_trusted`, as in 6.12).
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn current_disposition() -> u64 {
    let disposition = if offsets::TASK_BTF.get() == 1 {
        // SAFETY: takes nothing; returns the current task as a typed pointer.
        let task = unsafe { bpf_get_current_task_btf() };
        disposition::<Direct>(task.cast_const().cast())
    } else if offsets::READ_KERNEL.get() == 1 {
        // SAFETY: takes nothing; returns the current task's address.
        let task = unsafe { bpf_get_current_task() };
        disposition::<Probe>(task as *const u8)
    } else {
        Sigpipe::NotRaised
    };
    disposition as u64
}

#[inline(always)]
fn disposition<L: Load>(task: *const u8) -> Sigpipe {
    let Some(action) = signal::action(SIGPIPE_INDEX) else {
        return Sigpipe::NotRaised;
    };
    let handler = offsets::SIGACTION_HANDLER.present().get() as usize;
    // SAFETY: a `struct task_struct`, and the offset of a member.
    let blocked: u64 = unsafe { L::member(task, offsets::TASK_BLOCKED.present()) };
    // SAFETY: a `struct task_struct`, and the offset of a member.
    let sighand: *const u8 = unsafe { L::member(task, offsets::TASK_SIGHAND.present()) };
    // SAFETY: a `struct task_struct`, and the offset of a member.
    let signal: *const u8 = unsafe { L::member(task, offsets::TASK_SIGNAL.present()) };
    // A blocked signal stays pending even when it is ignored (`sig_ignored`).
    if blocked >> SIGPIPE_INDEX & 1 != 0 {
        return Sigpipe::Blocked;
    }
    // SAFETY: the task's `struct sighand_struct`, and the action of one of its 64 signals.
    let handler: u64 = unsafe { L::load(sighand, action + handler) };
    // SAFETY: the task's `struct signal_struct`, and the offset of a member.
    let flags: u32 = unsafe { L::member(signal, offsets::SIGNAL_FLAGS.present()) };
    match handler {
        SIG_IGN => Sigpipe::Ignored,
        SIG_DFL if flags & SIGNAL_UNKILLABLE != 0 => Sigpipe::Discarded,
        SIG_DFL => Sigpipe::Kills,
        _ => Sigpipe::Handled,
    }
}
