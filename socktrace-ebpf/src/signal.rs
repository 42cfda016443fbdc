//! Whether a pending signal makes the current system call fail with EINTR.

use aya_ebpf::helpers::generated::bpf_get_current_task;

use crate::{load::Probe, offsets};

/// `SA_RESTART` in `include/uapi/asm-generic/signal-defs.h`.
const SA_RESTART: u64 = 0x1000_0000;
const SIGNALS: usize = 64;
const SIG_IGN: u64 = 1;

/// Whether the signal that the process is about to handle ends its call with EINTR: if it has a
/// handler, and where `restartable` one without `SA_RESTART`. The default actions end or stop the
/// process, and the call goes on afterwards.
///
/// `false` where the process cannot be read ([`READ_KERNEL`]): then it is not known.
///
/// [`READ_KERNEL`]: crate::offsets::READ_KERNEL
#[inline(always)]
pub(crate) fn interrupts(restartable: bool) -> bool {
    if offsets::READ_KERNEL.get() != 1 {
        return false;
    }
    // SAFETY: takes nothing; returns the current task's address.
    let task = unsafe { bpf_get_current_task() } as *const u8;
    let signal: *const u8 = Probe::read_member(task, &offsets::TASK_SIGNAL);
    let sighand: *const u8 = Probe::read_member(task, &offsets::TASK_SIGHAND);
    let blocked: u64 = Probe::read_member(task, &offsets::TASK_BLOCKED);
    let own: u64 = Probe::read_member(task, &offsets::TASK_PENDING);
    let shared: u64 = Probe::read_member(signal, &offsets::SIGNAL_SHARED_PENDING);
    let pending = (own | shared) & !blocked;
    if pending == 0 {
        return false;
    }
    // The kernel takes the lowest one first, but for faults, which no waiting call gets.
    let index = pending.trailing_zeros() as usize;
    let element = offsets::SIGHAND_ACTION_SIZE.get() as usize / SIGNALS;
    let action = sighand.wrapping_add(offsets::SIGHAND_ACTION.get() as usize + index * element);
    let handler: u64 = Probe::read_member(action, &offsets::SIGACTION_HANDLER);
    let flags: u64 = Probe::read_member(action, &offsets::SIGACTION_FLAGS);
    handler > SIG_IGN && !(restartable && flags & SA_RESTART != 0)
}
