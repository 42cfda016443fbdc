//! Events for the ring buffer, while they are written: in the slot of the process that they name.
//!
//! Not in the ring buffer itself. The verifier has to know the size of what is written to there, and
//! would follow all that writes to an event once for each size that events have.

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

/// An event.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Draft {
    named: NamedEvent,
    /// Whether the names are sent too: 1, or 0 where both are the thread's or not known.
    has_names: u64,
}

/// Begins the event about the process in a slot: it has no more than that.
#[inline(always)]
pub(crate) fn begin(answer: Answer) -> Option<&'static mut NamedEvent> {
    begin_event(answer.number());
    let recipient = answer.recipient()?;
    Some(&mut recipient.draft.named)
}

/// Sends a slot's event. One that finds the ring buffer full is lost, and counted as such.
#[inline(always)]
pub(crate) fn send(answer: Answer) {
    send_event(answer.number());
}

/// A global function: the verifier goes through it once in a program, whatever the paths to it, and
/// takes numbers for arguments only.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn begin_event(slot: u64) -> u64 {
    let Some(recipient) = Answer::of(slot).recipient() else {
        return 0;
    };
    let draft = &mut recipient.draft;
    // The rest is sent only where it is written.
    (draft.named.event, draft.named.names) = (Event::default(), Names::NONE);
    draft.has_names = 0;
    name(recipient);
    0
}

/// A global function for the same reason.
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
    // SAFETY: no more than there is, all of which is initialized: there is no padding.
    let bytes = unsafe { slice::from_raw_parts((&raw const *named).cast::<u8>(), size) };
    if EVENTS.output_untyped::<[u8]>(bytes, 0).is_err() {
        tally::bump(Counter::EventsLost);
    }
    0
}

/// Names the process in its slot's event.
#[inline(always)]
fn name(recipient: &mut Recipient) {
    let Recipient { owner, source, role, draft, .. } = recipient;
    let NamedEvent { event, names, .. } = &mut draft.named;
    (event.tgid, event.tid, event.uid) = (owner.tgid, owner.tid, owner.uid);
    (event.cgroup_id, event.owner_seen_ns) = (owner.cgroup_id, owner.since_ns);
    (event.comm, event.owner_source) = (owner.comm, *source as u8);
    event.role = *role as u8;
    // Of a process that was there just now.
    if !task::is_readable() || owner.leader == 0 || *source == OwnerSource::Gone as u32 {
        return;
    }
    let leader = Task::new(owner.leader as *const u8);
    leader.comm(&mut names.comm);
    leader.exe(&mut names.exe);
    event.parts |= parts::NAMES;
    // Whole words are compared. Names of executables that begin with a thread's, NUL at its end
    // included, end there too.
    let thread = u128::from_ne_bytes(owner.comm);
    let [exe, _] = names.exe.as_chunks::<16>().0 else {
        return;
    };
    let same = thread == u128::from_ne_bytes(names.comm) && thread == u128::from_ne_bytes(*exe);
    draft.has_names = u64::from(!same);
}
