//! Pending signals that make the current system call fail with EINTR.

use aya_ebpf::helpers::generated::bpf_get_current_task;

use crate::{
    load::Probe,
    offsets::{self, Offset as _},
};

/// `SA_RESTART` in `include/uapi/asm-generic/signal-defs.h`.
const SA_RESTART: u64 = 0x1000_0000;
/// Number of signals, and thus of a process's actions.
const SIGNALS: usize = 64;
const SIG_IGN: u64 = 1;

/// Whether the signal that the process is about to handle ends its call with EINTR: it does if it
/// has a handler, and for a `restartable` call only if the handler lacks `SA_RESTART`. The default
/// actions end or stop the process, and the call goes on afterwards.
///
/// `false` also where the process cannot be read ([`READ_KERNEL`]).
///
/// [`READ_KERNEL`]: crate::offsets::READ_KERNEL
#[inline(always)]
pub(crate) fn interrupts(restartable: bool) -> bool {
    if offsets::READ_KERNEL.get() != 1 || offsets::TASK_SIGNAL.is_absent() {
        return false;
    }
    // SAFETY: takes nothing; returns the current task's address.
    let task = unsafe { bpf_get_current_task() } as *const u8;
    let signal: *const u8 = Probe::read_member(task, offsets::TASK_SIGNAL.present());
    let sighand: *const u8 = Probe::read_member(task, offsets::TASK_SIGHAND.present());
    let blocked: u64 = Probe::read_member(task, offsets::TASK_BLOCKED.present());
    let own: u64 = Probe::read_member(task, offsets::TASK_PENDING.present());
    let shared: u64 = Probe::read_member(signal, offsets::SIGNAL_SHARED_PENDING.present());
    let pending = (own | shared) & !blocked;
    if pending == 0 {
        return false;
    }
    // The kernel takes the lowest one first, except for faults, which no waiting call gets.
    let Some(action) = action(pending.trailing_zeros() as usize) else {
        return false;
    };
    let action = sighand.wrapping_add(action);
    let handler: u64 = Probe::read_member(action, offsets::SIGACTION_HANDLER.present());
    let flags: u64 = Probe::read_member(action, offsets::SIGACTION_FLAGS.present());
    handler > SIG_IGN && !(restartable && flags & SA_RESTART != 0)
}

/// Offset in `struct sighand_struct` of a signal's action, by the signal's number minus one; `None`
/// if this kernel lacks the members that are read about a process and its signals.
#[inline(always)]
pub(crate) fn action(index: usize) -> Option<usize> {
    let actions = offsets::SIGHAND_ACTION.offset()?;
    let bytes = offsets::SIGHAND_ACTION_SIZE.present().get() as usize;
    Some(actions + index * (bytes / SIGNALS))
}
