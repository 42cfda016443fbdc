//! Processes that recent events have named. Many events of one process come in a row, and each
//! would have its names copied and its executable looked up.

use std::{array, sync::Arc};

use socktrace_ebpf::{Event, NamedEvent, Names};

use super::Process;

/// Number of processes kept: more than fail at once on most hosts.
const SLOTS: usize = 32;

/// Time after the last look at a process, in nanoseconds since boot, during which the same
/// description still means the same process: the kernel hands out pids in turn (`idr_alloc_cyclic`
/// in `alloc_pid`, since 4.15), and there are tens of thousands.
const STILL_NS: u64 = 100_000_000;

/// A process, as events describe it.
#[derive(PartialEq, Eq)]
struct Description {
    tgid: u32,
    tid: u32,
    uid: u32,
    owner_source: u8,
    comm: [u8; 16],
    names: Names,
}

impl Description {
    fn of(&NamedEvent { event, names, .. }: &NamedEvent) -> Self {
        let Event { tgid, tid, uid, owner_source, comm, .. } = event;
        Self { tgid, tid, uid, owner_source, comm, names }
    }
}

/// A process, and two times since boot between which it is known to have existed.
struct Known {
    description: Description,
    seen_ns: u64,
    until_ns: u64,
    process: Arc<Process>,
}

/// Recent processes, each in the slot of its thread.
pub(super) struct RecentProcesses([Option<Known>; SLOTS]);

impl Default for RecentProcesses {
    fn default() -> Self {
        Self(array::from_fn(|_| None))
    }
}

impl RecentProcesses {
    /// Process of an event, if it is kept: with the same description, and seen while that process
    /// existed.
    pub(super) fn find(&self, named: &NamedEvent) -> Option<Arc<Process>> {
        let event = &named.event;
        let known = self.0[slot(event)].as_ref()?;
        let is_it = known.seen_ns <= event.owner_seen_ns
            && event.boot_ns <= known.until_ns.saturating_add(STILL_NS)
            && known.description == Description::of(named);
        is_it.then(|| Arc::clone(&known.process))
    }

    /// Keeps the process of an event, which was inspected while it still existed.
    pub(super) fn keep(&mut self, named: &NamedEvent, until_ns: u64, process: &Arc<Process>) {
        self.0[slot(&named.event)] = Some(Known {
            description: Description::of(named),
            seen_ns: named.event.owner_seen_ns,
            until_ns,
            process: Arc::clone(process),
        });
    }
}

fn slot(event: &Event) -> usize {
    event.tid as usize % SLOTS
}

#[cfg(test)]
mod tests {
    use socktrace_ebpf::event::EXE_NAME;

    use super::*;
    use crate::record::tests::{named, record, reset_event};

    #[test]
    fn a_process_is_known_by_the_same_words_while_it_was_there() {
        let event = Event { boot_ns: 100, owner_seen_ns: 50, ..reset_event() };
        let process = record(event).process.expect("known");
        let mut recent = RecentProcesses::default();
        assert_eq!(recent.find(&named(event)), None);
        recent.keep(&named(event), 200, &process);
        assert_eq!(recent.find(&named(event)), Some(Arc::clone(&process)));
        let same_slot = event.tid + u32::try_from(SLOTS).expect("small");
        for (other, is_known) in [
            (Event { boot_ns: 200, owner_seen_ns: 200, ..event }, true),
            (Event { boot_ns: 200 + STILL_NS, ..event }, true),
            // It may have ended since.
            (Event { boot_ns: 201 + STILL_NS, ..event }, false),
            // Its pid may have been another's.
            (Event { owner_seen_ns: 49, ..event }, false),
            (Event { tgid: event.tgid + 1, ..event }, false),
            (Event { tid: event.tid + 1, ..event }, false),
            (Event { tid: same_slot, ..event }, false),
            (Event { uid: 0, ..event }, false),
            (Event { owner_source: 9, ..event }, false),
            (Event { comm: [b'x'; 16], ..event }, false),
        ] {
            assert_eq!(recent.find(&named(other)).is_some(), is_known, "{other:?}");
        }
        let names = named(event).names;
        for names in [Names { comm: [b'x'; 16], ..names }, Names { exe: [b'x'; EXE_NAME], ..names }]
        {
            assert_eq!(
                recent.find(&NamedEvent { event, names, ..NamedEvent::default() }),
                None,
                "{names:?}"
            );
        }
    }
}
