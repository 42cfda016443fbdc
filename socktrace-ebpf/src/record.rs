//! Records of sockets: one per socket, with its owner, its first failure and the function that is
//! working on it.
//!
//! No program runs when a socket ends. A record carries the kernel's cookie of its socket, which no
//! other socket ever gets (`sock_gen_cookie`, `net/core/sock_diag.c`; a new or cloned socket has
//! none). The record of an earlier socket at the same address is not believed, and its place is
//! reused. Where programs cannot make the kernel create cookies, before 5.12 and by kprobe, records
//! are forgotten by `tcp_destroy_sock`.
//!
//! The table is set-associative: a socket's record is in one of the four places of two sets, which
//! follow from its address. A full set is shared fairly: an owner with the most places of a set
//! gives one up for an owner who has fewer, so that no one's sockets keep out everybody else's.

use core::hint::black_box;

use aya_ebpf::{btf_maps::Array, macros::btf_map};
use socktrace_ebpf::{Counter, SOCKET_WAYS, SOCKETS};

use crate::{
    failure::Failure,
    load::Probe,
    offsets,
    owner::Owner,
    sock::{Identity, Sock},
    tally::{self, add},
    verifier::is_same,
};

/// Record of a socket.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Record {
    /// Cookie of the socket; 0 where programs cannot make the kernel create one.
    cookie: u64,
    pub(crate) owner: Owner,
    pub(crate) failure: Failure,
    /// Packed [`crate::note::Note`], 0 for none.
    pub(crate) note: u64,
    /// Sequence and acknowledgement numbers of the RST that the note is about; both 0 if it is
    /// about none, or they are unknown.
    pub(crate) rst: [u32; 2],
    /// How the last attempts to send failed, as packed by [`crate::sending`]; 0 if the last one
    /// succeeded.
    pub(crate) failing: u64,
}

/// Sockets whose records are side by side.
#[repr(C)]
struct Set {
    /// Addresses of the sockets; 0 for a free place.
    sockets: [u64; SOCKET_WAYS],
    /// Number of programs that want to change `sockets`: one that finds itself alone may. Kernels
    /// before 5.12 have no compare-and-swap for programs.
    claims: u64,
}

#[btf_map]
static SOCKET_SETS: Array<Set, { SOCKETS / SOCKET_WAYS }> = Array::new();

#[btf_map]
static RECORDS: Array<Record, SOCKETS> = Array::new();

/// Result of the functions below if there is no such record.
const NONE: u64 = u64::MAX;

impl Record {
    /// Record of a socket, if it has one.
    #[inline(always)]
    pub(crate) fn find(socket: Identity) -> Option<&'static mut Self> {
        Self::at(find_record(socket.address, socket.cookie))
    }

    /// Record of a socket, made if necessary: empty, and never another socket's. `None` if there is
    /// no room. `slice` and `cgroup` identify whose room it takes.
    #[inline(always)]
    pub(crate) fn claim(socket: Identity, slice: u64, cgroup: u64) -> Option<&'static mut Self> {
        let Identity { address, cookie, needs_cookie } = socket;
        Self::at(claim_record(address, cookie, slice, cgroup, u64::from(needs_cookie)))
    }

    /// A separate function: the kernel inlines each lookup in an array, and each time moves and
    /// copies everything it stores about the program (`bpf_patch_insn_data`).
    #[inline(never)]
    fn at(place: u64) -> Option<&'static mut Self> {
        let record = RECORDS.get_ptr_mut(place as u32)?;
        // SAFETY: an entry of an array is never freed, and any bit pattern is a record. Programs on
        // other CPUs may write to it meanwhile: what is read is used once, and checked where it
        // matters.
        Some(unsafe { &mut *record })
    }

    /// Resets it to an empty record of a socket with this cookie.
    #[inline(always)]
    fn reset(&mut self, cookie: u64) {
        self.cookie = 0;
        self.owner.clear();
        self.failure.clear();
        (self.note, self.failing, self.rst) = (0, 0, [0, 0]);
        self.cookie = cookie;
    }
}

impl Set {
    /// A separate function, like [`Record::at`].
    #[inline(never)]
    fn at(set: u32) -> Option<&'static mut Self> {
        let set = SOCKET_SETS.get_ptr_mut(set)?;
        // SAFETY: an entry of an array is never freed, and any bit pattern is a set. What other programs
        // change meanwhile is read volatile where it matters.
        Some(unsafe { &mut *set })
    }
}

/// The two sets that may hold a socket's record.
#[inline(always)]
fn sets(address: u64) -> [u32; 2] {
    // 2^64 divided by the golden ratio: addresses differ in their middle bits, the products in
    // their high ones.
    let hash = address.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mask = offsets::SOCKET_SET_MASK.get();
    let first = (hash >> 40) as u32 & mask;
    // Another set, unless there is only one.
    [first, first ^ (((hash >> 20) as u32 | 1) & mask)]
}

/// Place of the record with this address in a set, or [`NONE`].
#[inline(always)]
fn place_in(set: u32, address: u64) -> u64 {
    let Some(entry) = Set::at(set) else {
        return NONE;
    };
    for way in 0..SOCKET_WAYS {
        if entry.sockets[way] == address {
            return place(set, way);
        }
    }
    NONE
}

#[inline(always)]
fn place(set: u32, way: usize) -> u64 {
    u64::from(set) * SOCKET_WAYS as u64 + way as u64
}

/// Place of the record with this address, whichever socket it is about, or [`NONE`].
#[inline(always)]
fn place_of(address: u64) -> u64 {
    let [first, second] = sets(address);
    match place_in(first, address) {
        NONE => place_in(second, address),
        place => place,
    }
}

/// [`place_of`] as a global function, like all of those below: the verifier walks them once per
/// program, whatever the paths to them, and allows only numbers as arguments.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn search_sets(address: u64) -> u64 {
    place_of(address)
}

/// Place of a socket's record, or [`NONE`].
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn find_record(address: u64, cookie: u64) -> u64 {
    if address == 0 {
        return NONE;
    }
    let place = place_of(address);
    match Record::at(place) {
        // A record without a cookie: see `Identity`.
        Some(record) if record.cookie == cookie || record.cookie == 0 => place,
        _ => NONE,
    }
}

/// Like [`find_record`], but makes a record if there is none; [`NONE`] if there is no room.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn claim_record(
    address: u64,
    cookie: u64,
    slice: u64,
    cgroup: u64,
    needs_cookie: u64,
) -> u64 {
    if address == 0 || (needs_cookie == 1 && cookie == 0) {
        return NONE;
    }
    let place = search_sets(address);
    if let Some(record) = Record::at(place) {
        // Only programs that work on this very socket get here.
        if record.cookie == 0 {
            // Made without a cookie: see `Identity`.
            record.cookie = cookie;
        } else if record.cookie != cookie {
            record.reset(cookie);
        }
        return place;
    }
    let mut place = take_ended(address, cookie, 0);
    if place == NONE {
        place = take_ended(address, cookie, 1);
    }
    if place != NONE {
        return place;
    }
    // Only in the first set, from an owner who has more of its places, by slice or else by cgroup.
    let mut way = greediest(address, slice, 0);
    if way == NONE {
        way = greediest(address, cgroup, 1);
    }
    // Not kept from before: stack usage peaks here.
    let [first, _] = sets(black_box(address));
    if way != NONE
        && let Some(entry) = Set::at(first)
    {
        // Unlike the compiler, the verifier does not know what the function returns.
        let way = black_box(way) as usize % SOCKET_WAYS;
        place = take_place(self::place(first, way), entry.sockets[way], address, cookie);
    }
    if place == NONE {
        tally::bump(Counter::OwnersFull);
    }
    place
}

/// Takes a place of a socket's first set, or of its second one if `second` is 1, that is free or
/// whose socket has ended.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn take_ended(address: u64, cookie: u64, second: u64) -> u64 {
    let [first, other] = sets(address);
    let set = if second == 1 { other } else { first };
    let Some(entry) = Set::at(set) else {
        return NONE;
    };
    for way in 0..SOCKET_WAYS {
        if entry.sockets[way] == 0 {
            return take_place(place(set, way), 0, address, cookie);
        }
    }
    for way in 0..SOCKET_WAYS {
        let former = entry.sockets[way];
        if has_ended(former, place(set, way)) != 0 {
            return take_place(place(set, way), former, address, cookie);
        }
    }
    NONE
}

/// Whether the socket at this address, whose record is in this place, has ended: 1 or 0. TCP
/// sockets are in memory that stays theirs (`SLAB_TYPESAFE_BY_RCU`); other memory, once reused, has
/// another cookie.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn has_ended(address: u64, place: u64) -> u64 {
    // Not by `Record::at`: stack usage peaks here.
    let Some(record) = RECORDS.get(place as u32) else {
        return 0;
    };
    if offsets::READ_KERNEL.get() != 1 {
        return 0;
    }
    let socket = Sock::<Probe>::new(address as *const u8);
    let is_another = record.cookie != 0 && socket.cookie() != record.cookie;
    u64::from(is_another || socket.is_closed_for_good())
}

/// Way of one of the owners with the most places of a socket's first set, if they have more than
/// the newcomer, and more than one; else [`NONE`]. Places are compared by slice, or by cgroup if
/// `by_cgroup` is 1.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn greediest(address: u64, newcomer: u64, by_cgroup: u64) -> u64 {
    let [set, _] = sets(address);
    let mut holders = [0; SOCKET_WAYS];
    for (way, holder) in holders.iter_mut().enumerate() {
        if let Some(record) = Record::at(place(set, way)) {
            *holder = if by_cgroup == 1 { record.owner.cgroup_id } else { record.owner.slice };
        }
    }
    let [a, b, c, d] = holders;
    let count =
        |holder| is_same(a, holder) + is_same(b, holder) + is_same(c, holder) + is_same(d, holder);
    let mut most = count(newcomer) | 1;
    let mut victim = NONE;
    for (way, holder) in (0..).zip(holders) {
        let its = count(holder);
        if its > most {
            (most, victim) = (its, way);
        }
    }
    victim
}

/// Gives a place that `former` has to another socket; [`NONE`] if another program has come first or
/// is changing the set.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn take_place(place: u64, former: u64, address: u64, cookie: u64) -> u64 {
    let (set, way) = ((place / SOCKET_WAYS as u64) as u32, place as usize % SOCKET_WAYS);
    let Some(set) = Set::at(set) else {
        return NONE;
    };
    let Some(record) = Record::at(place) else {
        return NONE;
    };
    let claims = &raw mut set.claims;
    let socket = &raw mut set.sockets[way];
    // SAFETY: just looked up.
    unsafe { add(claims, 1) };
    // SAFETY: just looked up. Volatile, because other programs change it.
    let is_alone = unsafe { claims.read_volatile() } == 1;
    // SAFETY: just looked up. Volatile for the same reason.
    let taken = is_alone && unsafe { socket.read_volatile() } == former;
    if taken {
        if former == 0 {
            tally::bump(Counter::OwnersRecorded);
        }
        // SAFETY: just looked up. Nobody finds the record while it belongs to neither socket.
        unsafe { socket.write_volatile(0) };
        // No other program changes this set.
        record.reset(cookie);
        // SAFETY: just looked up.
        unsafe { socket.write_volatile(address) };
    }
    // SAFETY: just looked up.
    unsafe { add(claims, u64::MAX) };
    if taken { place } else { NONE }
}

/// Forgets the socket at this address, where no cookies show that it has ended.
#[inline(always)]
pub(crate) fn forget(address: u64) {
    for set in sets(address) {
        let place = place_in(set, address);
        if place != NONE && take_place(place, address, 0, 0) != NONE {
            tally::bump(Counter::OwnersForgotten);
        }
    }
}
