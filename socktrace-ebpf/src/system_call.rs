//! The system call that the current task is in, from the registers that it was entered with.

use aya_ebpf::helpers::generated::{bpf_get_current_task_btf, bpf_task_pt_regs};

use crate::{
    load::{Direct, Load, Probe},
    offsets, task,
};

/// Size of a kernel stack (`THREAD_SIZE`) on x86-64: the registers are at its end, with nothing
/// behind them before 5.15 (`task_pt_regs`).
const STACK_BYTES: u64 = 16 * 1024;

const NO_DESCRIPTOR: u64 = u64::MAX;

/// Descriptor that the current task writes to; `None` if the task is in none of the calls that
/// write, as with `io_uring`, or if that is unknown.
#[inline(always)]
pub(crate) fn written_descriptor() -> Option<i32> {
    match descriptor_of_write() {
        NO_DESCRIPTOR => None,
        descriptor => Some(descriptor as i32),
    }
}

/// A global function: the verifier walks it once per program, whatever the paths to it.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn descriptor_of_write() -> u64 {
    let (number, first) = if offsets::TASK_REGISTERS.get() == 1 {
        // SAFETY: takes nothing; returns the current task as a typed pointer.
        let task = unsafe { bpf_get_current_task_btf() };
        // SAFETY: takes a typed task, and returns its registers as a typed pointer.
        let registers = unsafe { bpf_task_pt_regs(task.cast()) } as *const u8;
        read::<Direct>(registers)
    } else if task::is_readable() && !offsets::PT_REGS_SS.is_absent() {
        let size = u64::from(offsets::PT_REGS_SS.present().get()) + 8;
        let stack: u64 = task::current_member(&offsets::TASK_STACK);
        read::<Probe>(stack.wrapping_add(STACK_BYTES - size) as *const u8)
    } else {
        return NO_DESCRIPTOR;
    };
    if is_write(number) { first & 0xffff_ffff } else { NO_DESCRIPTOR }
}

/// Number and first argument of the call, from a `struct pt_regs`.
#[inline(always)]
fn read<L: Load>(registers: *const u8) -> (u64, u64) {
    if offsets::PT_REGS_DI.is_absent() {
        // SAFETY: the registers, and the offset of a member.
        let number: u32 = unsafe { L::member(registers, offsets::PT_REGS_NUMBER.present()) };
        // SAFETY: the registers, and the offset of a member.
        let first = unsafe { L::member(registers, offsets::PT_REGS_ORIG_X0.present()) };
        (u64::from(number), first)
    } else {
        // SAFETY: the registers, and the offset of a member.
        let number = unsafe { L::member(registers, offsets::PT_REGS_ORIG_AX.present()) };
        // SAFETY: the registers, and the offset of a member.
        let first = unsafe { L::member(registers, offsets::PT_REGS_DI.present()) };
        (number, first)
    }
}

/// Whether a call with this number writes to the descriptor in its first argument: write, writev,
/// pwritev2, sendfile, sendto, sendmsg or sendmmsg. Calls of 32-bit programs have other numbers,
/// and none that has one of these numbers writes.
#[inline(always)]
fn is_write(number: u64) -> bool {
    if offsets::PT_REGS_DI.is_absent() {
        // `include/uapi/asm-generic/unistd.h`
        matches!(number, 64 | 66 | 287 | 71 | 206 | 211 | 269)
    } else {
        // `arch/x86/entry/syscalls/syscall_64.tbl`
        matches!(number, 1 | 20 | 328 | 40 | 44 | 46 | 307)
    }
}
