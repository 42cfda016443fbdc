//! Who gets the error of a socket: the process that is operating on it, else the one that waits for
//! it, else the one that opened it, if that still holds it.

use aya_ebpf::{btf_maps::PerCpuArray, macros::btf_map};
use socktrace_ebpf::{Event, Flags, OwnerSource, event::EXE_NAME};

use crate::{
    holder::{self, Held},
    load::Load,
    owner::{self, Owner, Role},
    sock::Sock,
    task::{self, Task},
    waiter,
};

/// A process to name.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Recipient {
    /// The address of the socket that it is asked for.
    sock: u64,
    /// Its `tgid` is 0 when it is unknown, as then is all else.
    owner: Owner,
    /// An [`OwnerSource`].
    source: u64,
    process_comm: [u8; 16],
    exe: [u8; EXE_NAME],
}

/// Question to and answer of [`presume_recipient`] and [`search_recipient`] on this CPU. A program that interrupts another there can
/// overwrite them, so that the address is to be compared.
#[btf_map]
static RECIPIENT: PerCpuArray<Recipient, 1> = PerCpuArray::new();

/// How much is done to find the process.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effort {
    /// [`presume_recipient`].
    Presume,
    /// [`search_recipient`].
    Search,
}

/// Names the process behind a socket that has not failed: the current one if it is operating on the
/// socket, else the one that opened it; else none, with a `tgid` of 0.
#[inline(always)]
pub(crate) fn presume<L: Load>(event: &mut Event, sock: Sock<L>, flags: Flags, in_process: bool) {
    tell(event, find(sock.held_key(), flags, in_process, Effort::Presume));
}

/// Names the process of a socket that fails: the current one if it is operating on the socket, else
/// the one that gets the error; else none, with a `tgid` of 0.
#[inline(always)]
pub(crate) fn name<L: Load>(event: &mut Event, sock: Sock<L>, flags: Flags, in_process: bool) {
    tell(event, find(sock.held_key(), flags, in_process, Effort::Search));
}

/// Names the current process, which has called with no socket.
#[inline(always)]
pub(crate) fn name_caller(event: &mut Event) {
    tell(event, find(0, Flags::empty(), true, Effort::Presume));
}

/// Process and command name behind a socket that has not failed, as [`presume`].
#[inline(always)]
pub(crate) fn presumed<L: Load>(sock: Sock<L>, flags: Flags, in_process: bool) -> (u32, [u8; 16]) {
    match find(sock.held_key(), flags, in_process, Effort::Presume) {
        Some(recipient) => (recipient.owner.tgid, recipient.owner.comm),
        None => (0, [0; 16]),
    }
}

#[inline(always)]
fn find(sock: u64, flags: Flags, in_process: bool, effort: Effort) -> Option<&'static Recipient> {
    let slot = RECIPIENT.get_ptr_mut(0)?;
    // SAFETY: this CPU's slot, just looked up.
    let question = unsafe { &raw mut (*slot).sock };
    // By the slot, as the address may be of a type, and the call takes mere numbers.
    // SAFETY: likewise. Volatile, as the function that reads it looks the slot up for itself.
    unsafe { question.write_volatile(sock) };
    let (flags, in_process) = (u64::from(flags.0), u64::from(in_process));
    match effort {
        Effort::Presume => presume_recipient(flags, in_process),
        Effort::Search => search_recipient(flags, in_process),
    };
    // SAFETY: likewise.
    let recipient = unsafe { &*slot };
    (recipient.sock == sock).then_some(recipient)
}

#[inline(always)]
fn tell(event: &mut Event, recipient: Option<&Recipient>) {
    let Some(recipient) = recipient else {
        return;
    };
    let owner = &recipient.owner;
    (event.tgid, event.tid, event.uid) = (owner.tgid, owner.tid, owner.uid);
    (event.cgroup_id, event.owner_seen_ns) = (owner.cgroup_id, owner.seen_ns);
    (event.comm, event.process_comm) = (owner.comm, recipient.process_comm);
    (event.exe, event.owner_source) = (recipient.exe, recipient.source as u8);
}

/// Answers [`RECIPIENT`] with the current process, if it is operating on the socket, or else the one
/// that has opened the socket.
///
/// A global function: the verifier goes through it once in a program, whatever the paths to it, and
/// takes numbers for arguments only.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn presume_recipient(flags: u64, in_process: u64) -> u64 {
    answer(flags, in_process, Effort::Presume)
}

/// The same, but looks up who waits for the socket, and whether its opener still holds it.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn search_recipient(flags: u64, in_process: u64) -> u64 {
    answer(flags, in_process, Effort::Search)
}

#[inline(always)]
fn answer(flags: u64, in_process: u64, effort: Effort) -> u64 {
    let Some(slot) = RECIPIENT.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: this CPU's slot, just looked up.
    let recipient = unsafe { &mut *slot };
    let source = recipient.find(Flags(flags as u32), in_process != 0, effort);
    recipient.source = source as u64;
    (recipient.process_comm, recipient.exe) = ([0; 16], [0; EXE_NAME]);
    // Of a process that was there just now.
    let is_there = !matches!(source, OwnerSource::Opener | OwnerSource::Gone);
    if task::is_readable() && is_there && recipient.owner.leader != 0 {
        let leader = Task::new(recipient.owner.leader as *const u8);
        leader.comm(&mut recipient.process_comm);
        leader.exe(&mut recipient.exe);
    }
    0
}

impl Recipient {
    #[inline(always)]
    fn find(&mut self, flags: Flags, in_process: bool, effort: Effort) -> OwnerSource {
        if in_process {
            self.owner = Owner::current(Role::Unknown);
            return OwnerSource::Caller;
        }
        // Nobody waits for what is closed already, or holds it: the one that opened it has closed
        // it, or another to whom it was handed.
        let is_held = !flags.has(Flags::UNACCEPTED) && !flags.has(Flags::ORPHAN);
        let searches = effort == Effort::Search && is_held && task::is_readable();
        if searches && let Some(task) = waiter::find(self.sock) {
            self.owner.set(task);
            return OwnerSource::Waiter;
        }
        self.owner = Owner::NONE;
        if flags.has(Flags::UNACCEPTED) {
            return OwnerSource::Unknown;
        }
        let Some(owner) = owner::recorded(self.sock) else {
            return OwnerSource::Unknown;
        };
        self.owner = *owner;
        if searches { self.confirm() } else { OwnerSource::Opener }
    }

    /// Whether the one that opened the socket still holds it.
    #[inline(always)]
    fn confirm(&mut self) -> OwnerSource {
        let owner = &mut self.owner;
        if owner.leader == 0 {
            return OwnerSource::Opener;
        }
        let leader = Task::new(owner.leader as *const u8);
        if !leader.is_process(owner.tgid, owner.seen_ns) {
            return OwnerSource::Gone;
        }
        match holder::holds(leader, self.sock) {
            Held::Yes => {
                // What it has become since, as by exec.
                owner.refresh(leader);
                if owner.tid == owner.tgid {
                    leader.comm(&mut owner.comm);
                }
                OwnerSource::Holder
            }
            Held::No => {
                *owner = Owner::NONE;
                OwnerSource::HandedOn
            }
            Held::Unsure => OwnerSource::Opener,
        }
    }
}
