//! What the kernel side counts about itself.

/// Index into the per-CPU array of the kernel side's own counters.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Counter {
    /// Events that found the ring buffer full: counted in the tallies, missing in the stream.
    EventsLost = 0,
    /// Signatures that found the tally map full: their total is known, their kind is not.
    TallyOverflow = 1,
    /// Entry hooks that found no room for a record: the close that follows lacks its origin.
    NotesLost = 2,
    /// Sockets for which there was no room in the table: their process is unknown when they fail.
    OwnersFull = 3,
    /// Places of that table that were taken for the first time, or again after they had become free.
    OwnersRecorded = 4,
    /// Places that have become free: the difference is how many are in use.
    OwnersForgotten = 5,
    /// Socket options that were refused and found the map of their counts full.
    SockoptsFull = 6,
    /// Events that were counted as part of a flood, not streamed.
    EventsRepeated = 7,
    /// Listeners for which there was no room in their table.
    ListenersFull = 8,
    /// Processes that were started by followed ones and found no room in their map.
    FollowedFull = 9,
}

impl Counter {
    /// Every counter, in order of its index.
    pub const ALL: &'static [Self] = &[
        Self::EventsLost,
        Self::TallyOverflow,
        Self::NotesLost,
        Self::OwnersFull,
        Self::OwnersRecorded,
        Self::OwnersForgotten,
        Self::SockoptsFull,
        Self::EventsRepeated,
        Self::ListenersFull,
        Self::FollowedFull,
    ];
}
