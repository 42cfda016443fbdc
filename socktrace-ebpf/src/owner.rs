//! Who opened a socket, remembered from connect and accept, where the current task is the opener.
//!
//! An entry is overwritten when its address is used by another socket that is opened, and not
//! asked for sockets that nobody has accepted yet, so that an old one is never taken for theirs.

use aya_ebpf::{
    btf_maps::LruHashMap,
    helpers::{bpf_get_current_comm, bpf_get_current_pid_tgid},
    macros::btf_map,
};
use socktrace_ebpf::{Event, Flags, OWNER_ENTRIES};

use crate::{load::Load, sock::Sock};

/// How a socket was opened.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Role {
    Client = 1,
    Server = 2,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Owner {
    tgid: u32,
    tid: u32,
    role: u32,
    comm: [u8; 16],
}

#[btf_map]
static OWNERS: LruHashMap<u64, Owner, OWNER_ENTRIES> = LruHashMap::new();

/// The current task.
#[inline(always)]
fn current(role: u32) -> Owner {
    let pid_tgid = bpf_get_current_pid_tgid();
    Owner {
        tgid: (pid_tgid >> 32) as u32,
        tid: pid_tgid as u32,
        role,
        comm: bpf_get_current_comm().unwrap_or_default(),
    }
}

/// Remembers the current task as the socket's opener.
#[inline(always)]
pub(crate) fn record<L: Load>(sock: Sock<L>, role: Role) {
    // A map of this kind makes room by itself; that it fails is not to be expected, and then the
    // process is unknown.
    let _unknown = OWNERS.insert(sock.held_key(), current(role as u32), 0);
}

/// Whether the socket is known to have been opened by connect.
#[inline(always)]
pub(crate) fn is_client<L: Load>(sock: Sock<L>) -> bool {
    // SAFETY: one field is read at once.
    unsafe { OWNERS.get(sock.held_key()) }.is_some_and(|owner| owner.role == Role::Client as u32)
}

/// The process to name for a socket: the current one if it is operating on the socket, else its
/// opener. `(tgid, tid, comm)`, zeroes when unknown.
#[inline(always)]
pub(crate) fn find<L: Load>(sock: Sock<L>, flags: Flags, in_process: bool) -> (u32, u32, [u8; 16]) {
    let owner = if in_process {
        current(0)
    } else if flags.has(Flags::UNACCEPTED) {
        return (0, 0, [0; 16]);
    } else {
        // SAFETY: copied at once. A slot that is reused meanwhile gives another socket's opener
        // only if 16,384 others were opened in these few instructions.
        match unsafe { OWNERS.get(sock.held_key()) } {
            Some(owner) => *owner,
            None => return (0, 0, [0; 16]),
        }
    };
    (owner.tgid, owner.tid, owner.comm)
}

/// Names the process in an event.
#[inline(always)]
pub(crate) fn name<L: Load>(event: &mut Event, sock: Sock<L>, flags: Flags, in_process: bool) {
    (event.tgid, event.tid, event.comm) = find(sock, flags, in_process);
}
