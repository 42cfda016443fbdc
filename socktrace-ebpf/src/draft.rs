//! Events for the ring buffer while they are being written, each in the slot of the process it names.
//!
//! They are not written to the ring buffer itself: the verifier must know the size of what is
//! written there, and would walk all code that writes to an event once for each size an event can
//! have.

use core::slice;

use aya_ebpf::{btf_maps::RingBuf, macros::btf_map};
use socktrace_ebpf::{
    Counter, Event, NamedEvent, Names, OwnerSource, RING_BYTES,
    event::{NAMED_BYTES, parts},
};

use crate::{
    hops,
    recipient::{Answer, Recipient},
    tally,
    task::{self, Task},
};

#[btf_map]
static EVENTS: RingBuf<Event, RING_BYTES> = RingBuf::new();

/// Event being written.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Draft {
    named: NamedEvent,
    /// Whether the names are sent too: 1, or 0 if both equal the thread's or are unknown.
    has_names: u64,
}

/// Begins the event about the process in a slot. A slot has only one event.
#[inline(always)]
pub(crate) fn begin(answer: Answer) -> Option<&'static mut NamedEvent> {
    begin_event(answer.number());
    let recipient = answer.recipient()?;
    Some(&mut recipient.draft.named)
}

/// Sends a slot's event. If the ring buffer is full, the event is lost and counted as lost.
#[inline(always)]
pub(crate) fn send(answer: Answer) {
    send_event(answer.number());
}

/// A global function: the verifier walks it once per program, whatever the paths to it, and allows
/// only numbers as arguments.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn begin_event(slot: u64) -> u64 {
    let Some(recipient) = Answer::of(slot).recipient() else {
        return 0;
    };
    let draft = &mut recipient.draft;
    // The rest is sent only if it has been written.
    (draft.named.event, draft.named.names) = (Event::default(), Names::NONE);
    draft.has_names = 0;
    name(recipient);
    0
}

/// A global function for the same reason as [`begin_event`].
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn send_event(slot: u64) -> u64 {
    let Some(recipient) = Answer::of(slot).recipient() else {
        return 0;
    };
    let Draft { named, has_names } = &mut recipient.draft;
    hops::describe(recipient.address, &mut named.event);
    let size = if named.event.parts & parts::UNIX != 0 {
        size_of::<NamedEvent>()
    } else if *has_names == 1 {
        NAMED_BYTES
    } else {
        size_of::<Event>()
    };
    // SAFETY: `size` is within `named`, which is fully initialized and has no padding.
    let bytes = unsafe { slice::from_raw_parts((&raw const *named).cast::<u8>(), size) };
    if EVENTS.output_untyped::<[u8]>(bytes, 0).is_err() {
        tally::bump(Counter::EventsLost);
    }
    0
}

/// Writes the names of a slot's process to its event.
#[inline(always)]
fn name(recipient: &mut Recipient) {
    let Recipient { owner, source, role, draft, .. } = recipient;
    let NamedEvent { event, names, .. } = &mut draft.named;
    (event.tgid, event.tid, event.uid) = (owner.tgid, owner.tid, owner.uid);
    (event.cgroup_id, event.owner_seen_ns) = (owner.cgroup_id, owner.since_ns);
    (event.comm, event.owner_source) = (owner.comm, *source as u8);
    event.role = *role as u8;
    // Only the names of a process that was there just now can be read.
    if !task::is_readable() || owner.leader == 0 || *source == OwnerSource::Gone as u32 {
        return;
    }
    let leader = Task::new(owner.leader as *const u8);
    leader.comm(&mut names.comm);
    leader.exe(&mut names.exe);
    event.parts |= parts::NAMES;
    // Whole words are compared. An executable's name that begins with the thread's, including its
    // terminating NUL, ends there too.
    let thread = u128::from_ne_bytes(owner.comm);
    let [exe, _] = names.exe.as_chunks::<16>().0 else {
        return;
    };
    let same = thread == u128::from_ne_bytes(names.comm) && thread == u128::from_ne_bytes(*exe);
    draft.has_names = u64::from(!same);
}
