//! Who gets the error of a socket: the process that is operating on it, else the one that waits for
//! it, else the one that opened it, if that still holds it.

use aya_ebpf::{
    btf_maps::PerCpuArray,
    helpers::{bpf_get_current_comm, bpf_get_current_pid_tgid},
    macros::btf_map,
};
use socktrace_ebpf::{Event, Flags, Owned, OwnerSource, Signature, event::EXE_NAME};

use crate::{
    filter::{self, Verdict},
    holder::{self, Held},
    load::Load,
    offsets, owned_tally,
    owner::{self, Owner},
    sock::Sock,
    subject::Subject,
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
    source: u32,
    /// How the socket was opened, a [`socktrace_ebpf::Role`]; 0 when unknown.
    role: u32,
    process_comm: [u8; 16],
    exe: [u8; EXE_NAME],
}

/// Question to and answer of [`presume_recipient`] and [`search_recipient`] on this CPU. A program that
/// interrupts another there can overwrite them, so that the address is to be compared.
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

/// Whom to name for a socket.
#[derive(Clone, Copy)]
pub(crate) struct Question {
    sock: u64,
    flags: Flags,
    in_process: bool,
    effort: Effort,
}

impl Question {
    /// The process behind a socket that has not failed: the current one if it is operating on the
    /// socket, else the one that opened it; else none, with a `tgid` of 0.
    #[inline(always)]
    pub(crate) fn presume<L: Load>(sock: Sock<L>, flags: Flags, in_process: bool) -> Self {
        Self { sock: sock.held_key(), flags, in_process, effort: Effort::Presume }
    }

    /// The process of a socket that fails: the current one if it is operating on the socket, else
    /// the one that gets the error; else none, with a `tgid` of 0.
    #[inline(always)]
    pub(crate) fn search<L: Load>(sock: Sock<L>, flags: Flags, in_process: bool) -> Self {
        Self { effort: Effort::Search, ..Self::presume(sock, flags, in_process) }
    }

    /// The current process, which has called with no socket.
    #[inline(always)]
    pub(crate) fn caller() -> Self {
        Self { sock: 0, flags: Flags::empty(), in_process: true, effort: Effort::Presume }
    }

    /// Finds the process, for the functions below.
    #[inline(always)]
    pub(crate) fn ask(self) -> Answer {
        match RECIPIENT.get_ptr_mut(0) {
            Some(slot) => self.ask_in(slot),
            None => Answer::NONE,
        }
    }

    /// The same with this CPU's slot, just looked up.
    #[inline(always)]
    fn ask_in(self, slot: *mut Recipient) -> Answer {
        // By the slot, as the address may be of a type, and the call takes mere numbers.
        // SAFETY: the caller's word.
        let sock = unsafe { &raw mut (*slot).sock };
        // SAFETY: likewise. Volatile, as the function that reads it looks the slot up for itself.
        unsafe { sock.write_volatile(self.sock) };
        let (flags, in_process) = (u64::from(self.flags.0), u64::from(self.in_process));
        let answered = match self.effort {
            Effort::Presume => presume_recipient(flags, in_process),
            Effort::Search => search_recipient(flags, in_process),
        };
        // Another program may have asked in between.
        if answered == self.sock { Answer(answered) } else { Answer::NONE }
    }

    /// Names the process in an event: as in the answer, unless that was overwritten or is none; else it
    /// is found now.
    #[inline(always)]
    pub(crate) fn tell(self, event: &mut Event, answer: Answer) {
        let Some(slot) = RECIPIENT.get_ptr_mut(0) else {
            return;
        };
        // SAFETY: this CPU's slot, just looked up.
        let sock = unsafe { &raw const (*slot).sock };
        // SAFETY: likewise. Volatile, as functions that are called change it.
        let known = || unsafe { sock.read_volatile() };
        if known() != answer.0 && self.ask_in(slot).0 != known() {
            return;
        }
        read_names(known());
        // SAFETY: likewise.
        let recipient = unsafe { &*slot };
        let owner = &recipient.owner;
        (event.tgid, event.tid, event.uid) = (owner.tgid, owner.tid, owner.uid);
        (event.cgroup_id, event.owner_seen_ns) = (owner.cgroup_id, owner.seen_ns);
        (event.comm, event.process_comm) = (owner.comm, recipient.process_comm);
        (event.exe, event.owner_source) = (recipient.exe, recipient.source as u8);
        event.role = recipient.role as u8;
    }

    /// Process and command name alone, without asking.
    #[inline(always)]
    pub(crate) fn name(self) -> (u32, [u8; 16]) {
        if self.in_process {
            let tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
            return (tgid, bpf_get_current_comm().unwrap_or_default());
        }
        let recorded =
            if self.flags.has(Flags::UNACCEPTED) { None } else { owner::recorded(self.sock) };
        recorded.map_or((0, [0; 16]), |owner| (owner.tgid, owner.comm))
    }
}

/// The socket that was asked for, as a mere number: [`RECIPIENT`] has the answer as long as it has
/// this address.
#[derive(Clone, Copy)]
pub(crate) struct Answer(u64);

impl Answer {
    /// Nothing was asked, or another program has. No socket is at this address.
    pub(crate) const NONE: Self = Self(u64::MAX);

    /// As functions hand it each other.
    #[inline(always)]
    pub(crate) fn number(self) -> u64 {
        self.0
    }

    /// Counts a failure by the process that was asked for, and by the port of its service.
    #[inline(always)]
    pub(crate) fn count(self, signature: &Signature, subject: &Subject) {
        let [flags, where_from, rest] = signature.to_words().map(u64::from);
        let ports = u64::from(subject.local_port) << 16 | u64::from(subject.remote_port);
        count_recipient(flags, where_from, rest, ports, self.0);
    }

    /// Whether the filters ask for the process that was asked for.
    #[inline(always)]
    pub(crate) fn judge(self) -> Verdict {
        if offsets::FILTER.get() == 0 { filter::PASS } else { judge_recipient(self.0) as Verdict }
    }
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

/// Adds the names of the process and its executable to an [`Answer`], for an event that is streamed.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn read_names(answer: u64) -> u64 {
    let Some(slot) = RECIPIENT.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: this CPU's slot, just looked up.
    let recipient = unsafe { &mut *slot };
    if recipient.sock != answer {
        return 0;
    }
    (recipient.process_comm, recipient.exe) = ([0; 16], [0; EXE_NAME]);
    // Of a process that was there just now.
    let is_there = recipient.source != OwnerSource::Opener as u32
        && recipient.source != OwnerSource::Gone as u32;
    if task::is_readable() && is_there && recipient.owner.leader != 0 {
        let leader = Task::new(recipient.owner.leader as *const u8);
        leader.comm(&mut recipient.process_comm);
        leader.exe(&mut recipient.exe);
    }
    0
}

/// Whether the filters ask for the process of an [`Answer`], a [`Verdict`].
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn judge_recipient(answer: u64) -> u64 {
    let Some(slot) = RECIPIENT.get_ptr(0) else {
        return u64::from(filter::UNSETTLED_PROCESS);
    };
    // SAFETY: this CPU's slot, just looked up.
    let recipient = unsafe { &*slot };
    if recipient.sock != answer {
        return u64::from(filter::UNSETTLED_PROCESS);
    }
    u64::from(filter::judge_owner(&recipient.owner, recipient.source))
}

/// Counts a failure by the process of an [`Answer`], by nobody if it has none. The signature comes as
/// [`Signature::to_words`] gives it, `ports` as the local one before the remote one.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn count_recipient(
    flags: u64,
    where_from: u64,
    rest: u64,
    ports: u64,
    answer: u64,
) -> u64 {
    let mut owned = Owned {
        cgroup_id: 0,
        signature: Signature::from_words([flags as u32, where_from as u32, rest as u32]),
        service_port: 0,
        reserved: 0,
    };
    if let Some(slot) = RECIPIENT.get_ptr(0)
        // SAFETY: this CPU's slot, just looked up.
        && let recipient = unsafe { &*slot }
        && recipient.sock == answer
    {
        if recipient.owner.tgid != 0 {
            owned.cgroup_id = recipient.owner.cgroup_id;
        }
        if offsets::SERVICE_PORTS.get() == 1 {
            let (local, remote) = ((ports >> 16) as u16, ports as u16);
            owned.service_port = owned.signature.service_port(recipient.role as u8, local, remote);
        }
    }
    owned_tally::count(&owned);
    0
}

#[inline(always)]
fn answer(flags: u64, in_process: u64, effort: Effort) -> u64 {
    let Some(slot) = RECIPIENT.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: this CPU's slot, just looked up.
    let recipient = unsafe { &mut *slot };
    let sock = recipient.sock;
    let source = recipient.find(Flags(flags as u32), in_process != 0, effort);
    recipient.source = source as u32;
    // Who waits to be accepted was not opened by anybody, whatever was at its address before.
    let is_open = !Flags(flags as u32).has(Flags::UNACCEPTED);
    recipient.role = if is_open { owner::role(recipient.sock) } else { 0 };
    sock
}

impl Recipient {
    /// The one that an [`Answer`] is about; none if another program has asked since.
    #[inline(always)]
    pub(crate) fn of(answer: u64) -> Option<&'static Self> {
        // SAFETY: this CPU's slot, just looked up.
        let recipient = unsafe { &*RECIPIENT.get_ptr(0)? };
        (recipient.sock == answer).then_some(recipient)
    }

    /// The process; its `tgid` is 0 when it is unknown.
    #[inline(always)]
    pub(crate) fn owner(&self) -> &Owner {
        &self.owner
    }

    /// How it is known, an [`OwnerSource`].
    #[inline(always)]
    pub(crate) fn source(&self) -> u16 {
        self.source as u16
    }

    /// How the socket was opened, a [`socktrace_ebpf::Role`]; 0 when unknown.
    #[inline(always)]
    pub(crate) fn role(&self) -> u8 {
        self.role as u8
    }

    #[inline(always)]
    fn find(&mut self, flags: Flags, in_process: bool, effort: Effort) -> OwnerSource {
        if in_process {
            self.owner = Owner::current();
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
