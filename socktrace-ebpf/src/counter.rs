//! Counters of the kernel side's own operation.

/// Index into the per-CPU array of the kernel side's own counters.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Counter {
    /// Events lost because the ring buffer was full: counted in the tallies, missing from the stream.
    EventsLost = 0,
    /// Signatures that found the tally map full: their total is known, their kinds are not.
    TallyOverflow = 1,
    /// Entry hooks that found no room for a record: the close that follows lacks its origin.
    NotesLost = 2,
    /// Sockets that found no room in the owner table: their process is unknown when they fail.
    OwnersFull = 3,
    /// Entries of the owner table taken for the first time, or again after they were freed.
    OwnersRecorded = 4,
    /// Entries of the owner table freed: the difference is the number in use.
    OwnersForgotten = 5,
    /// Refused socket options that found the map of their counts full.
    SockoptsFull = 6,
    /// Events counted as part of a flood instead of streamed.
    EventsRepeated = 7,
    /// Listeners that found no room in their table.
    ListenersFull = 8,
    /// Processes started by followed ones that found no room in their map.
    FollowedFull = 9,
}

impl Counter {
    /// Every counter, in index order.
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
