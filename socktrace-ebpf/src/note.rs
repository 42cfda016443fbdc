//! Notes that entry hooks leave for `tcp_done`: which function is working on a socket.
//!
//! A note is in the socket's record, not per CPU: when a segment or timer is processed from the
//! socket's backlog, the code runs in process context, can be preempted and can continue on another
//! CPU.

use socktrace_ebpf::{Counter, Event, Flags, Origin};

use crate::{
    load::Load,
    record::Record,
    sock::{Identity, Sock},
    tally,
};

/// Note about a function that is running on a socket.
#[derive(Clone, Copy)]
pub(crate) struct Note {
    /// The function, an [`Origin`]; [`Origin::Other`] if none has left a note.
    pub(crate) origin: u8,
    /// Whether it had work to do: a retransmission timer with segments in flight.
    pub(crate) fired: u8,
    /// Details that `tcp_done` can no longer see.
    pub(crate) flags: u16,
}

impl Note {
    #[inline(always)]
    pub(crate) fn new(origin: Origin, flags: Flags) -> Self {
        Self { origin: origin as u8, fired: 0, flags: flags.0 as u16 }
    }

    /// Packs a note for a record into an integer, because that is what BPF functions return. The
    /// upper half identifies the socket, by the lower half of its address, because the record may
    /// have become another socket's.
    #[inline(always)]
    fn pack(self, address: u64) -> u64 {
        let Self { origin, fired, flags } = self;
        let [low, high] = flags.to_ne_bytes();
        address << 32 | u64::from(u32::from_ne_bytes([origin, fired, low, high]))
    }

    #[inline(always)]
    fn unpack(packed: u64) -> Self {
        let [origin, fired, low, high] = (packed as u32).to_ne_bytes();
        Self { origin, fired, flags: u16::from_ne_bytes([low, high]) }
    }
}

/// Leaves a note for the hooks that follow on this socket.
#[inline(always)]
pub(crate) fn put<L: Load>(sock: Sock<L>, note: Note) {
    put_rst(sock, note, [0, 0]);
}

/// Leaves a note about an RST with these sequence and acknowledgement numbers.
#[inline(always)]
pub(crate) fn put_rst<L: Load>(sock: Sock<L>, note: Note, rst: [u32; 2]) {
    let socket = sock.new_identity();
    match Record::claim(socket, 0, 0) {
        Some(record) => (record.note, record.rst) = (note.pack(socket.address), rst),
        None => tally::bump(Counter::NotesLost),
    }
}

/// Adds the numbers of the RST that has ended a connection to its event, even if the note has been taken.
#[inline(always)]
pub(crate) fn describe_rst<L: Load>(sock: Sock<L>, event: &mut Event) {
    if let Some(record) = Record::find(sock.identity()) {
        event.rst = record.rst;
    }
}

/// Removes and returns the note on this socket; if there is none, the origin is [`Origin::Other`].
#[inline(always)]
pub(crate) fn take<L: Load>(sock: Sock<L>) -> Note {
    let socket = sock.identity();
    Note::unpack(note_of(socket.address, socket.cookie, 1))
}

/// Whether a function is working on this socket.
#[inline(always)]
pub(crate) fn has<L: Load>(sock: Sock<L>) -> bool {
    let socket = sock.identity();
    note_of(socket.address, socket.cookie, 0) != 0
}

/// Function that is working on this socket, an [`Origin`].
#[inline(always)]
pub(crate) fn origin<L: Load>(sock: Sock<L>) -> u8 {
    let socket = sock.identity();
    Note::unpack(note_of(socket.address, socket.cookie, 0)).origin
}

/// Packed note on a socket, 0 for none. Removes the note if `takes` is 1.
///
/// A global function: the verifier walks it once per program, whatever the paths to it, and allows
/// only numbers as arguments.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn note_of(address: u64, cookie: u64, takes: u64) -> u64 {
    let Some(record) = Record::find(Identity::of_numbers(address, cookie)) else {
        return 0;
    };
    let note = record.note;
    if note >> 32 != address & 0xffff_ffff {
        return 0;
    }
    if takes == 1 {
        record.note = 0;
    }
    note
}
