//! Search for a socket among the descriptors of a process.

use aya_ebpf::{btf_maps::PerCpuArray, helpers::generated::bpf_probe_read_kernel, macros::btf_map};

use crate::{
    load::Probe,
    offsets,
    recipient::SLOTS,
    task::{self, Task},
};

/// Number of descriptors searched, in total and per round: the verifier walks every round, but not
/// the function called in it.
const DESCRIPTORS: usize = 1_024;
const AT_A_TIME: usize = 64;

/// Files searched in a round, in the slot of the recipient being searched for: the stack has no
/// room for so many.
#[btf_map]
static FILES: PerCpuArray<[u64; AT_A_TIME], { SLOTS as usize }> = PerCpuArray::new();

/// Result of a search.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    Yes,
    No,
    /// The process has more descriptors than are searched, or the socket has no file.
    Unsure,
}

/// Whether the process led by this task has a descriptor of the socket at this address.
#[inline(always)]
pub(crate) fn holds(leader: Task, sock: u64, slot: u64) -> Held {
    let socket: *const u8 = Probe::read_member(sock as *const u8, &offsets::SOCK_SOCKET);
    let file: u64 = Probe::read_member(socket, offsets::SOCKET_FILE.present());
    if file == 0 {
        return Held::Unsure;
    }
    match search_open_files(leader.open_files() as u64, file, slot) {
        FOUND => Held::Yes,
        MISSING => Held::No,
        _ => Held::Unsure,
    }
}

const FOUND: u64 = 1;
const MISSING: u64 = 2;
const TOO_MANY: u64 = 3;

/// Searches a `struct fdtable`; NULL is an empty one. A global function: the verifier walks it once
/// per program, whatever the paths to it, and allows only numbers as arguments.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn search_open_files(table: u64, file: u64, slot: u64) -> u64 {
    if !task::is_readable() {
        return TOO_MANY;
    }
    let table = table as *const u8;
    let count: u32 = Probe::read_member(table, offsets::OPEN_FILES_COUNT.present());
    let array: *const u8 = Probe::read_member(table, offsets::OPEN_FILES_ARRAY.present());
    for chunk in 0..DESCRIPTORS / AT_A_TIME {
        if chunk * AT_A_TIME >= count as usize {
            return MISSING;
        }
        // The kernel allocates tables in larger steps (`alloc_fdtable`).
        let files = array.wrapping_add(chunk * size_of::<[u64; AT_A_TIME]>());
        if has_file(files as u64, file, slot) != 0 {
            return FOUND;
        }
    }
    if DESCRIPTORS >= count as usize { MISSING } else { TOO_MANY }
}

/// Whether a file is among [`AT_A_TIME`] of them: nonzero if so. A global function, like
/// [`is_task`](crate::task).
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn has_file(files: u64, file: u64, slot: u64) -> u64 {
    let Some(slot) = FILES.get_ptr_mut(slot as u32) else {
        return 0;
    };
    if !task::is_readable() {
        return 0;
    }
    let size = size_of::<[u64; AT_A_TIME]>() as u32;
    // SAFETY: the helper writes no more than the slot's size, and checks the address itself.
    unsafe { bpf_probe_read_kernel(slot.cast(), size, files as *const _) };
    // SAFETY: this CPU's slot, which only the current program uses; any bit pattern is an array of
    // numbers.
    let found = unsafe { &*slot };
    // No branch per file, which would multiply the verifier's work: a nonzero difference has its
    // top bit set, or its negation does.
    let mut all_differ = u64::MAX;
    for other in found {
        let difference = other ^ file;
        all_differ &= difference | difference.wrapping_neg();
    }
    !all_differ >> 63
}
