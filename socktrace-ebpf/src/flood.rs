//! Counting of events of a kind that is too frequent, so that they do not fill the ring buffer. The
//! daemon reads the counts.

use aya_ebpf::{
    bindings::BPF_NOEXIST, btf_maps::HashMap, helpers::generated::bpf_ktime_get_boot_ns,
    macros::btf_map,
};
use socktrace_ebpf::{
    Counter, EventKind, Owned, OwnerSource, Repeats, Signature,
    repeats::{KINDS, PEER_BITS, WINDOW_NS, peer_bit, words},
};

use crate::{
    offsets,
    recipient::{Answer, Recipient},
    subject::Subject,
    tally::{self, add},
};

/// Kinds seen recently. The daemon removes the others.
#[btf_map]
static REPEATS: HashMap<Owned, Repeats, KINDS> = HashMap::new();

/// Kinds that find no room in `REPEATS`, regardless of port: a program that tries one port after
/// another must not take all the room.
#[btf_map]
static REPEATS_OF_ANY_PORT: HashMap<Owned, Repeats, KINDS> = HashMap::new();

/// New entry with one event. Not on the stack, which has no room for it.
#[unsafe(no_mangle)]
static FIRST: Repeats = Repeats { in_window: 1, ..Repeats::NONE };

const FULL: u8 = EventKind::ReceiveQueueFull as u8;

/// `EEXIST`: the entry already exists.
const EXISTS: i32 = -17;

/// Verdict on an event; an integer, because that is what BPF functions return. 0 means streamed.
pub(crate) type Fate = u64;
pub(crate) const STREAMED: Fate = 0;
/// Streamed, and the daemon should watch the counts for a while: a flood begins, or kinds have no room.
pub(crate) const WATCHED: Fate = 1;
/// Counted instead of streamed.
pub(crate) const COUNTED: Fate = 2;

/// Whether floods are counted.
#[inline(always)]
pub(crate) fn is_counted() -> bool {
    offsets::REPEAT_AFTER.get() != 0
}

/// Counts an event if it is part of a flood. `answer` identifies its process.
#[inline(always)]
pub(crate) fn count(signature: &Signature, subject: &Subject, answer: Answer) -> Fate {
    let [flags, where_from, rest] = signature.to_words().map(u64::from);
    let ports = u64::from(subject.local_port) << 16 | u64::from(subject.remote_port);
    let [low, high] = words(subject.remote.octets);
    count_repeat(where_from << 32 | flags, ports << 32 | rest, answer.number(), low, high)
}

/// A global function: the verifier walks it once per program, whatever the paths to it, and allows
/// only numbers as arguments. `what` and `which` hold the signature and the ports; the remote
/// address comes in two words.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn count_repeat(what: u64, which: u64, slot: u64, low: u64, high: u64) -> u64 {
    let Some(recipient) = Recipient::of(slot) else {
        return STREAMED;
    };
    let signature = Signature::from_words([what as u32, (what >> 32) as u32, which as u32]);
    let owner = &recipient.owner;
    let by_cgroup = offsets::FLOODS_BY_CGROUP.get() == 1;
    let mut kind = Owned {
        cgroup_id: match owner.tgid {
            // Without a process: none, or the socket's.
            0 => owner.cgroup_id,
            _ if by_cgroup => owner.cgroup_id,
            tgid => u64::from(tgid),
        },
        signature,
        service_port: port_of(what, which, u64::from(recipient.role)) as u16,
        // Kinds also differ by why there is no process.
        reserved: match recipient.source as u16 {
            source if owner.tgid == 0 || source == OwnerSource::Gone as u16 => source,
            _ => 0,
        },
    };
    let mut when_streamed = STREAMED;
    // By reference: copies would be on the stack.
    let (key, first) = (&kind, &FIRST);
    let mut entry = REPEATS.get_ptr_mut(key);
    if entry.is_none() {
        match REPEATS.insert(key, first, u64::from(BPF_NOEXIST)) {
            // The first event of its kind, or one of several that came at the same time.
            Ok(()) | Err(EXISTS) => return STREAMED,
            Err(_) => {}
        }
        when_streamed = WATCHED;
        kind.service_port = 0;
        let key = &kind;
        entry = REPEATS_OF_ANY_PORT.get_ptr_mut(key);
        if entry.is_none() {
            let _full = REPEATS_OF_ANY_PORT.insert(key, first, u64::from(BPF_NOEXIST));
        }
    }
    let Some(entry) = entry else {
        return when_streamed;
    };
    let process = u64::from(owner.uid) << 32 | u64::from(owner.tgid);
    let seen = Seen {
        process,
        comm: words(owner.comm),
        remote: [low, high],
        role: u64::from(recipient.role),
        limit: match signature.kind {
            // The first event is enough: under overload there is one for every datagram.
            FULL => 1,
            _ => u64::from(offsets::REPEAT_AFTER.get()),
        },
    };
    // SAFETY: just looked up. Others write there too, see `add_to`.
    add_to(unsafe { &mut *entry }, &seen, when_streamed)
}

/// Parts of an event that its entry stores or compares.
struct Seen {
    process: u64,
    comm: [u64; 2],
    remote: [u64; 2],
    role: u64,
    /// Number of events of its kind in a window that make a flood.
    limit: u64,
}

/// Port by which kinds are distinguished: the service's or, if it is unknown which end listens, the
/// lower one. Also a global function: deriving the role from a signature has many paths.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn port_of(what: u64, which: u64, role: u64) -> u64 {
    let signature = Signature::from_words([what as u32, (what >> 32) as u32, which as u32]);
    let (local, remote) = ((which >> 48) as u16, (which >> 32) as u16);
    let port = match signature.service_port(role as u8, local, remote) {
        0 if local < remote || remote == 0 => local,
        0 => remote,
        port => port,
    };
    u64::from(port)
}

/// Adds an event to the entry of its kind, and decides what becomes of it.
///
/// Other CPUs, and a program that interrupts this one, may do so at the same time. The deciding
/// value is read once: an event is counted or streamed, never both or neither. The rest is best
/// effort, because atomics that return the old value came only with 5.12: a window may miss events.
#[inline(always)]
fn add_to(repeats: &mut Repeats, seen: &Seen, when_streamed: Fate) -> Fate {
    let limit = seen.limit;
    // SAFETY: the helper takes nothing and cannot fail.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    let began = load(&repeats.window_ns);
    if began == 0 {
        // The window begins with the event that made the entry, for which the clock was not read.
        store(&mut repeats.window_ns, now);
    } else {
        let elapsed = now.saturating_sub(began);
        if elapsed >= WINDOW_NS {
            // The flood goes on if the window right before this one had as many.
            if elapsed >= 2 * WINDOW_NS || load(&repeats.in_window) <= limit {
                store(&mut repeats.flooding, 0);
            }
            store(&mut repeats.window_ns, now);
            store(&mut repeats.in_window, 0);
        }
    }
    // SAFETY: part of the map value.
    unsafe { add(&raw mut repeats.in_window, 1) };
    if load(&repeats.flooding) == 0 {
        if load(&repeats.in_window) < limit {
            return when_streamed;
        }
        begin(repeats, seen, now);
        return WATCHED;
    }
    if repeats.process != seen.process || repeats.comm != seen.comm {
        store(&mut repeats.processes_differ, 1);
    }
    if repeats.remote != seen.remote {
        store(&mut repeats.remotes_differ, 1);
    }
    let bit = peer_bit(seen.remote);
    if let Some(word) = repeats.peers.get_mut(bit / 64 % (PEER_BITS / 64)) {
        let others = load(word);
        store(word, others | 1 << (bit % 64));
    }
    store(&mut repeats.last_ns, now);
    // SAFETY: part of the map value.
    unsafe { add(&raw mut repeats.count, 1) };
    // Last, so that the daemon finds at least as many events in the entries as here.
    tally::bump(Counter::EventsRepeated);
    COUNTED
}

/// Begins a flood with this event, which is streamed.
#[inline(always)]
fn begin(repeats: &mut Repeats, seen: &Seen, now: u64) {
    store(&mut repeats.since_ns, now);
    store(&mut repeats.process, seen.process);
    (repeats.comm, repeats.remote) = (seen.comm, seen.remote);
    store(&mut repeats.processes_differ, 0);
    store(&mut repeats.remotes_differ, 0);
    store(&mut repeats.role, seen.role);
    repeats.peers = Repeats::NONE.peers;
    store(&mut repeats.flooding, 1);
}

/// Reads a field that others may change.
#[inline(always)]
fn load(field: &u64) -> u64 {
    // SAFETY: a reference is valid.
    unsafe { core::ptr::read_volatile(field) }
}

/// Writes a field that others may read.
#[inline(always)]
fn store(field: &mut u64, value: u64) {
    // SAFETY: a reference is valid.
    unsafe { core::ptr::write_volatile(field, value) };
}
