//! A connection's name that is the same at both ends, even across address translation.

use std::fmt;

use siphasher::sip::SipHasher24;

/// Published, so that names are the same everywhere: two hosts have nothing else in common.
const KEY: &[u8; 16] = b"socktrace flow 1";

/// Name of a connection, the same at both ends: a hash of the sequence numbers of the first byte in
/// each direction, which address translation leaves alone. The numbers themselves are not shown,
/// because with those of a live connection others could inject segments into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Flow(u64);

impl Flow {
    /// Name of a connection, given the sequence numbers of the first bytes of this host and of its
    /// peer; `None` if they are unknown.
    pub(crate) fn of([own, peer]: [u32; 2]) -> Option<Self> {
        if (own, peer) == (0, 0) {
            return None;
        }
        // Neither end knows which of the numbers the other one calls its own.
        let (low, high) = (own.min(peer), own.max(peer));
        let numbers = u64::from(low) << 32 | u64::from(high);
        Some(Self(SipHasher24::new_with_key(KEY).hash(&numbers.to_be_bytes())))
    }
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_call_a_connection_the_same() {
        let here = Flow::of([7, 0xffff_fffe]).expect("a flow");
        assert_eq!(Flow::of([0xffff_fffe, 7]), Some(here));
        assert_ne!(Flow::of([8, 0xffff_fffe]), Some(here));
        assert_ne!(Flow::of([7, 7]), Some(here));
    }

    #[test]
    fn a_name_is_what_was_published() {
        // Computed by another implementation of SipHash-2-4.
        let flow = Flow::of([1, 2]).expect("a flow");
        assert_eq!(flow.to_string(), "081a8d636a7bc395");
    }

    #[test]
    fn one_number_can_be_zero_and_not_both() {
        assert!(Flow::of([0, 1]).is_some());
        assert_eq!(Flow::of([0, 0]), None);
    }
}
