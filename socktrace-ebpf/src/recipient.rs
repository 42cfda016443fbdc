//! Recipients of a socket's error: the process that is operating on the socket, else the one that
//! waits for it, else the one that opened it, if it still holds the socket.

use aya_ebpf::{
    btf_maps::PerCpuArray,
    helpers::{bpf_get_current_comm, bpf_get_current_pid_tgid},
    macros::btf_map,
};
use socktrace_ebpf::{Flags, Owned, OwnerSource, Role, Signature};

use crate::{
    draft::Draft,
    filter::{self, Verdict},
    follow,
    holder::{self, Held},
    listeners,
    load::Probe,
    offsets, owned_tally,
    owner::{self, Owner},
    sock::{Identity, Sock},
    subject::Subject,
    tally::add,
    task, unix, waiter,
};

/// Process to name.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Recipient {
    /// Number of programs that want this slot: one that finds itself alone takes it.
    claims: u64,
    /// Socket whose process is looked up, an [`Identity`].
    pub(crate) address: u64,
    cookie: u64,
    /// The process; its `tgid` is 0 if it is unknown.
    pub(crate) owner: Owner,
    /// How the process is known, an [`OwnerSource`].
    pub(crate) source: u32,
    /// How the socket was opened, a [`socktrace_ebpf::Role`]; 0 if unknown.
    pub(crate) role: u32,
    /// If only followed processes are reported: whether one opened the socket and has handed it on,
    /// most likely to a process that it started. 1 or 0.
    was_followed: u64,
    /// Event in which the process is named.
    pub(crate) draft: Draft,
}

/// Number of programs that can use slots at once on a CPU: one that is preempted or interrupted
/// keeps its slot.
pub(crate) const SLOTS: u32 = 4;

/// Questions to [`presume_recipient`] and [`search_recipient`], and their answers, on this CPU.
#[btf_map]
static RECIPIENTS: PerCpuArray<Recipient, { SLOTS as usize }> = PerCpuArray::new();

/// Effort made to find the process.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effort {
    /// [`presume_recipient`].
    Presume,
    /// [`search_recipient`].
    Search,
    /// [`listener_recipient`].
    Listener,
    /// [`search_recipient`], and [`search_unix_maker`].
    SearchUnix,
}

/// Lookup of the process to name for a socket.
#[derive(Clone, Copy)]
pub(crate) struct Question {
    socket: Identity,
    flags: Flags,
    in_process: bool,
    effort: Effort,
}

impl Question {
    /// The process behind a socket that has not failed: the current one if it is operating on the
    /// socket, else the one that opened it; else none, with a `tgid` of 0.
    #[inline(always)]
    pub(crate) fn presume(socket: Identity, flags: Flags, in_process: bool) -> Self {
        Self { socket, flags, in_process, effort: Effort::Presume }
    }

    /// The process of a socket that fails: the current one if it is operating on the socket, else
    /// the one that gets the error; else none, with a `tgid` of 0.
    #[inline(always)]
    pub(crate) fn search(socket: Identity, flags: Flags, in_process: bool) -> Self {
        Self { effort: Effort::Search, ..Self::presume(socket, flags, in_process) }
    }

    /// The process that a listener is tracked for.
    #[inline(always)]
    pub(crate) fn listener(address: u64) -> Self {
        let socket = Identity::of_numbers(address, 0);
        Self { socket, flags: Flags::empty(), in_process: false, effort: Effort::Listener }
    }

    /// [`Self::search`] for a Unix socket.
    #[inline(always)]
    pub(crate) fn search_unix(socket: Identity, flags: Flags) -> Self {
        Self { effort: Effort::SearchUnix, ..Self::presume(socket, flags, false) }
    }

    /// The current process, which made a call without a socket.
    #[inline(always)]
    pub(crate) fn caller() -> Self {
        let socket = Identity::NONE;
        Self { socket, flags: Flags::empty(), in_process: true, effort: Effort::Presume }
    }

    /// Finds the process. The answer must be [released](Answer::release).
    #[inline(always)]
    pub(crate) fn ask(self) -> Answer {
        let answer = Answer(claim_slot());
        let Some(recipient) = answer.recipient() else {
            return answer;
        };
        // Passed in the slot, because the address may be a typed pointer, and the call takes plain
        // numbers.
        (recipient.address, recipient.cookie) = (self.socket.address, self.socket.cookie);
        let (flags, in_process) = (u64::from(self.flags.0), u64::from(self.in_process));
        match self.effort {
            Effort::Presume => presume_recipient(answer.0, flags, in_process),
            Effort::Search | Effort::SearchUnix => search_recipient(answer.0, flags, in_process),
            Effort::Listener => listener_recipient(answer.0),
        };
        if self.effort == Effort::SearchUnix && !self.flags.has(Flags::UNACCEPTED) {
            search_unix_maker(answer.0);
        }
        // Not in `presume_recipient` and `search_recipient`, whose frames are on the deepest call path.
        if !self.flags.has(Flags::UNACCEPTED) {
            ask_socket(answer.0);
        }
        answer
    }

    /// Process id and command name alone, without a search.
    #[inline(always)]
    pub(crate) fn name(self) -> (u32, [u8; 16]) {
        if self.in_process {
            let tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
            return (tgid, bpf_get_current_comm().unwrap_or_default());
        }
        let is_open = !self.flags.has(Flags::UNACCEPTED);
        let recorded = if is_open { owner::recorded(self.socket) } else { None };
        let Some((owner, _)) = recorded else {
            return (0, [0; 16]);
        };
        let mut comm = owner.comm;
        if let Some(process) = owner.process() {
            process.comm(&mut comm);
        }
        (owner.tgid, comm)
    }
}

/// Slot of [`RECIPIENTS`] that holds the process, as a plain number.
#[derive(Clone, Copy)]
pub(crate) struct Answer(u64);

impl Answer {
    /// No slot, because nothing was asked.
    pub(crate) const NONE: Self = Self(SLOTS as u64);

    /// A separate function: the kernel inlines each lookup in an array, and each time moves and
    /// copies everything it stores about the program (`bpf_patch_insn_data`).
    #[inline(never)]
    pub(crate) fn recipient(self) -> Option<&'static mut Recipient> {
        let slot = RECIPIENTS.get_ptr_mut(self.0 as u32)?;
        // SAFETY: this CPU's slot, which only the current program has.
        Some(unsafe { &mut *slot })
    }

    /// Number by which functions pass the answer to each other.
    #[inline(always)]
    pub(crate) fn number(self) -> u64 {
        self.0
    }

    /// The answer with this number.
    #[inline(always)]
    pub(crate) fn of(number: u64) -> Self {
        Self(number)
    }

    /// Counts a failure for the process in the slot, and the port of its service.
    #[inline(always)]
    pub(crate) fn count(self, signature: &Signature, subject: &Subject) {
        let [flags, where_from, rest] = signature.to_words().map(u64::from);
        let ports = u64::from(subject.local_port) << 16 | u64::from(subject.remote_port);
        count_recipient(flags, where_from, rest, ports, self.0);
    }

    /// Verdict of the filters on the process in the slot.
    #[inline(always)]
    pub(crate) fn judge(self) -> Verdict {
        if offsets::FILTER.get() == 0 { filter::PASS } else { judge_recipient(self.0) as Verdict }
    }

    /// Frees the slot.
    #[inline(always)]
    pub(crate) fn release(self) {
        if let Some(recipient) = self.recipient() {
            // SAFETY: just looked up.
            unsafe { add(&raw mut recipient.claims, u64::MAX) };
        }
    }
}

/// Claims a slot of this CPU that no other program has; returns the number of [`Answer::NONE`] if
/// there is none.
///
/// A global function: the verifier walks it once per program, whatever the paths to it, and allows
/// only numbers as arguments.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn claim_slot() -> u64 {
    for slot in 0..u64::from(SLOTS) {
        if let Some(recipient) = Answer(slot).recipient() {
            let claims = &raw mut recipient.claims;
            // SAFETY: just looked up.
            unsafe { add(claims, 1) };
            // SAFETY: just looked up. Volatile, because other programs change it.
            if unsafe { claims.read_volatile() } == 1 {
                return slot;
            }
            // SAFETY: just looked up.
            unsafe { add(claims, u64::MAX) };
        }
    }
    u64::from(SLOTS)
}

/// Answers a slot's question with the current process if it is operating on the socket, else the
/// one that opened the socket. A global function, like `claim_slot`.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn presume_recipient(slot: u64, flags: u64, in_process: u64) -> u64 {
    answer(slot, flags, in_process, Effort::Presume)
}

/// Like [`presume_recipient`], but looks up who waits for the socket, and whether its opener still
/// holds it.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn search_recipient(slot: u64, flags: u64, in_process: u64) -> u64 {
    answer(slot, flags, in_process, Effort::Search)
}

/// Names the process that made the Unix socket, if no process is known in a slot and the maker
/// still holds the socket. A global function, like `claim_slot`.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn search_unix_maker(slot: u64) -> u64 {
    let Some(recipient) = Answer(slot).recipient() else {
        return 0;
    };
    if recipient.source != OwnerSource::Unknown as u32 || !task::is_readable() {
        return 0;
    }
    if let Some(task) = unix::maker(recipient.address)
        && holder::holds(task, recipient.address, slot) == Held::Yes
    {
        recipient.owner.set(task);
        recipient.source = OwnerSource::Holder as u32;
    }
    0
}

/// Names the socket's user and cgroup, if no process is known in a slot and the socket is of a kind
/// that connect and accept keep no record of. A global function, like `claim_slot`.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn ask_socket(slot: u64) -> u64 {
    let Some(recipient) = Answer(slot).recipient() else {
        return 0;
    };
    let is_known = recipient.source != OwnerSource::Unknown as u32;
    if is_known || recipient.address == 0 || !task::is_readable() {
        return 0;
    }
    let sock = Sock::<Probe>::new(recipient.address as *const u8);
    if !sock.kind().has_records() {
        (recipient.owner.uid, recipient.owner.cgroup_id) = (sock.uid(), sock.cgroup());
        recipient.source = OwnerSource::Socket as u32;
    }
    0
}

/// Answers a slot's question with the process that a listener is tracked for. A global function,
/// like `claim_slot`.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn listener_recipient(slot: u64) -> u64 {
    let Some(recipient) = Answer(slot).recipient() else {
        return 0;
    };
    recipient.role = Role::Server as u32;
    let source = match listeners::owner(recipient.address) {
        Some(owner) if owner.tgid != 0 => {
            recipient.owner = *owner;
            recipient.confirm(slot, task::is_readable())
        }
        _ => {
            recipient.owner = Owner::NONE;
            OwnerSource::Unknown
        }
    };
    recipient.source = source as u32;
    0
}

/// Verdict of the filters on the process in a slot, a [`Verdict`].
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn judge_recipient(slot: u64) -> u64 {
    let Some(recipient) = Recipient::of(slot) else {
        return u64::from(filter::UNSETTLED_PROCESS);
    };
    let was_followed = follow::is_asked()
        && recipient.source == OwnerSource::HandedOn as u32
        && recipient.was_followed == 1;
    u64::from(filter::judge_owner(&recipient.owner, recipient.source, was_followed))
}

/// Counts a failure for the process of an [`Answer`], or for nobody if it has none. The signature
/// is passed as [`Signature::to_words`] encodes it, `ports` as the local port before the remote
/// one.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn count_recipient(
    flags: u64,
    where_from: u64,
    rest: u64,
    ports: u64,
    slot: u64,
) -> u64 {
    let mut owned = Owned {
        cgroup_id: 0,
        signature: Signature::from_words([flags as u32, where_from as u32, rest as u32]),
        service_port: 0,
        reserved: 0,
    };
    if let Some(recipient) = Recipient::of(slot) {
        if recipient.owner.tgid != 0 || recipient.source == OwnerSource::Socket as u32 {
            owned.cgroup_id = recipient.owner.cgroup_id;
        }
        if offsets::SERVICE_PORTS.get() == 1 {
            let (local, remote) = ((ports >> 16) as u16, ports as u16);
            owned.service_port = owned.signature.service_port(recipient.role as u8, local, remote);
        }
    }
    owned.signature = owned.signature.counted();
    owned_tally::count(&owned);
    0
}

#[inline(always)]
fn answer(slot: u64, flags: u64, in_process: u64, effort: Effort) -> u64 {
    let Some(recipient) = Answer(slot).recipient() else {
        return 0;
    };
    recipient.role = 0;
    let source = recipient.find(slot, Flags(flags as u32), in_process != 0, effort);
    recipient.source = source as u32;
    0
}

impl Recipient {
    /// The recipient in a slot.
    #[inline(always)]
    pub(crate) fn of(slot: u64) -> Option<&'static Self> {
        Answer(slot).recipient().map(|recipient| &*recipient)
    }

    #[inline(always)]
    fn find(&mut self, slot: u64, flags: Flags, in_process: bool, effort: Effort) -> OwnerSource {
        // A connection that waits to be accepted has no opener, whatever was at its address before.
        let socket = Identity::of_numbers(self.address, self.cookie);
        let is_open = !flags.has(Flags::UNACCEPTED);
        let recorded = if is_open { owner::recorded(socket) } else { None };
        if let Some((_, role)) = recorded {
            self.role = role;
        }
        // Kernel threads work for others.
        if in_process && !task::current_is_kernel_thread() {
            self.owner.set_caller();
            return OwnerSource::Caller;
        }
        // Nobody waits for or holds a closed socket: its opener has closed it, or another process
        // that it was handed to.
        let is_held = !flags.has(Flags::UNACCEPTED) && !flags.has(Flags::ORPHAN);
        let searches = effort == Effort::Search && is_held && task::is_readable();
        if searches && let Some(task) = waiter::find(self.address) {
            self.owner.set(task);
            return OwnerSource::Waiter;
        }
        let Some((owner, _)) = recorded else {
            self.owner = Owner::NONE;
            return OwnerSource::Unknown;
        };
        self.owner = *owner;
        if self.owner.tgid == 0 {
            return OwnerSource::Unknown;
        }
        self.confirm(slot, searches)
    }

    /// Whether the process that opened the socket still exists, and still holds the socket.
    #[inline(always)]
    fn confirm(&mut self, slot: u64, searches: bool) -> OwnerSource {
        let owner = &mut self.owner;
        if owner.leader == 0 || !task::is_readable() {
            return OwnerSource::Opener;
        }
        let Some(leader) = owner.process() else {
            return OwnerSource::Gone;
        };
        let held = if searches { holder::holds(leader, self.address, slot) } else { Held::Unsure };
        if held == Held::No {
            if follow::is_asked() {
                self.was_followed = u64::from(follow::has(owner.tgid, owner.since_ns));
            }
            *owner = Owner::NONE;
            return OwnerSource::HandedOn;
        }
        if held == Held::Yes {
            // The process may have changed since, as by exec.
            owner.refresh(leader);
        }
        if owner.tid == owner.tgid {
            leader.comm(&mut owner.comm);
        }
        if held == Held::Yes {
            return OwnerSource::Holder;
        }
        // A task's data outlives it for a while. Only the daemon can find out whether other threads
        // of the process live on.
        if leader.is_exiting() { OwnerSource::Gone } else { OwnerSource::Opener }
    }
}
