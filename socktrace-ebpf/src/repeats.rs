//! Floods: events of one kind that come faster than people can read. They are counted in the
//! kernel, and reported as a number.
//!
//! A kind is an [`Owned`](crate::Owned): whose socket it was, what happened, and the port of the
//! service. If the process is unknown or has gone, `reserved` holds the
//! [`OwnerSource`](crate::OwnerSource).

/// Length of the window in which events of one kind are counted, in nanoseconds.
pub const WINDOW_NS: u64 = 100_000_000;

/// Default number of events of one kind in a window after which further ones are counted instead of
/// streamed.
pub const REPEAT_AFTER: usize = 50;

/// Number of kinds that are tracked at once. Beyond it, as many again are tracked without
/// distinguishing ports; events of kinds that find no room there either are streamed one by one.
pub const KINDS: usize = 1_024;

/// Bits in the bitmap of peers, a power of two.
pub const PEER_BITS: usize = 512;

const PEER_WORDS: usize = PEER_BITS / 64;

/// Number of words in [`Repeats`].
pub const WORDS: usize = 14 + PEER_WORDS;

/// Counts of one kind of event.
///
/// CPUs write to it concurrently. [`Self::count`] is exact: each event either increments it or is
/// streamed. The limit on streamed events may be missed by a few.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeats {
    /// When the window began, in nanoseconds since boot; 0 after the first event.
    pub window_ns: u64,
    /// Events in the window.
    pub in_window: u64,
    /// Whether this is a flood: 1 or 0. Events are streamed while it is not, and counted while it is.
    pub flooding: u64,
    /// Events that were counted instead of streamed. It only grows.
    pub count: u64,
    /// When the flood began, in nanoseconds since boot.
    pub since_ns: u64,
    /// When the last event was counted.
    pub last_ns: u64,
    /// Process of the event with which the flood began: its `tgid` in the lower half, its user in
    /// the upper half; 0 if unknown.
    pub process: u64,
    /// Command name of its thread.
    pub comm: [u64; 2],
    /// Whether an event was counted of another process, or of a thread with another name.
    pub processes_differ: u64,
    /// Remote address of that event.
    pub remote: [u64; 2],
    /// Whether an event with another remote address was counted.
    pub remotes_differ: u64,
    /// How the socket of that event was opened, a [`crate::Role`]; 0 if unknown.
    pub role: u64,
    /// A bit for each remote address since the flood began, see [`peer_bit`].
    pub peers: [u64; PEER_WORDS],
}

const _: () = assert!(size_of::<Repeats>() == 8 * WORDS && align_of::<Repeats>() == 8);

impl Repeats {
    /// No events yet.
    pub const NONE: Self = Self::from_words([0; WORDS]);

    /// Reads it from the words of a map value.
    #[must_use]
    pub const fn from_words(words: [u64; WORDS]) -> Self {
        let [
            window_ns,
            in_window,
            flooding,
            count,
            since_ns,
            last_ns,
            process,
            comm_begin,
            comm_end,
            processes_differ,
            remote_begin,
            remote_end,
            remotes_differ,
            role,
            peers @ ..,
        ] = words;
        let (comm, remote) = ([comm_begin, comm_end], [remote_begin, remote_end]);
        Self {
            window_ns,
            in_window,
            flooding,
            count,
            since_ns,
            last_ns,
            process,
            comm,
            processes_differ,
            remote,
            remotes_differ,
            role,
            peers,
        }
    }
}

/// Converts an address or a name to two words.
#[must_use]
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the two halves")]
pub const fn words(bytes: [u8; 16]) -> [u64; 2] {
    let both = u128::from_ne_bytes(bytes);
    [both as u64, (both >> 64) as u64]
}

/// Inverse of [`words`].
#[must_use]
pub fn bytes([low, high]: [u64; 2]) -> [u8; 16] {
    (u128::from(high) << 64 | u128::from(low)).to_ne_bytes()
}

/// Bit of a remote address, given as two words. Consecutive addresses must not get consecutive
/// bits, or counting bits would not estimate their number: the mixer is the one of `MurmurHash3`.
#[must_use]
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "fewer bits are left")]
pub const fn peer_bit([low, high]: [u64; 2]) -> usize {
    let mut hash = low ^ high.rotate_left(32);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^= hash >> 33;
    (hash & (PEER_BITS as u64 - 1)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_in_the_order_of_memory() {
        let mut words = [0; WORDS];
        for (index, word) in (0..).zip(&mut words) {
            *word = index;
        }
        let repeats = Repeats::from_words(words);
        // SAFETY: both have the same size, and neither has padding.
        let back: [u64; WORDS] = unsafe { core::mem::transmute(repeats) };
        assert_eq!(back, words);
        assert_eq!(repeats.peers, [14, 15, 16, 17, 18, 19, 20, 21]);
    }

    #[test]
    fn addresses_in_a_row_collide_as_often_as_any() {
        let mut peers = [0_u64; PEER_WORDS];
        for host in 0..u32::try_from(PEER_BITS).expect("small") {
            let address = crate::Address::ipv4((0x0a00_0000 + host).to_be_bytes());
            assert_eq!(bytes(words(address.octets)), address.octets);
            let bit = peer_bit(words(address.octets));
            peers[bit / 64] |= 1 << (bit % 64);
        }
        let bits: u32 = peers.iter().map(|word| word.count_ones()).sum();
        // 1 - 1/e of them, within three standard deviations.
        assert!((296..=352).contains(&bits), "{bits} bits of {PEER_BITS} addresses");
    }
}
