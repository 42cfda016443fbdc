//! Failures and their owners: the key of the counts by owner.

use crate::Signature;

/// Kind of a signature that is not an event, beside [`EventKind`](crate::EventKind): connections
/// that waited to be accepted. Its `errno` is a slot of
/// [`SLOW_ACCEPT_MS`](crate::histogram::SLOW_ACCEPT_MS).
pub const SLOW_ACCEPT: u8 = 22;

/// Kind of a signature for handshake packets that listeners have dropped. Its `errno` is 1 if the
/// accept queue was full.
pub const LISTENER_DROPS: u8 = 21;

/// A signature, and the cgroup of the process that owned the socket.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owned {
    /// Cgroup, as in [`crate::Event::cgroup_id`]; 0 if the process is unknown.
    pub cgroup_id: u64,
    /// What happened.
    pub signature: Signature,
    /// Port of the end that listens, in host byte order; 0 if unknown or not requested.
    pub service_port: u16,
    /// Zero, except in the keys of [`crate::repeats`].
    pub reserved: u16,
}

const _: () = assert!(size_of::<Owned>() == 24 && align_of::<Owned>() == 8);

impl Owned {
    /// Encodes the key.
    #[must_use]
    pub fn to_bytes(self) -> [u8; size_of::<Self>()] {
        let Self { cgroup_id, signature, service_port, reserved } = self;
        let mut bytes = [0; size_of::<Self>()];
        bytes[..8].copy_from_slice(&cgroup_id.to_ne_bytes());
        bytes[8..20].copy_from_slice(&signature.to_bytes());
        bytes[20..22].copy_from_slice(&service_port.to_ne_bytes());
        bytes[22..].copy_from_slice(&reserved.to_ne_bytes());
        bytes
    }

    /// Decodes a key.
    #[must_use]
    pub fn from_bytes(bytes: [u8; size_of::<Self>()]) -> Self {
        let [c0, c1, c2, c3, c4, c5, c6, c7, signature @ .., p0, p1, r0, r1] = bytes;
        Self {
            cgroup_id: u64::from_ne_bytes([c0, c1, c2, c3, c4, c5, c6, c7]),
            signature: Signature::from_bytes(signature),
            service_port: u16::from_ne_bytes([p0, p1]),
            reserved: u16::from_ne_bytes([r0, r1]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_back() {
        let signature = Signature {
            flags: 0x0102_0304,
            errno: 104,
            kind: 1,
            origin: 2,
            state: 3,
            family: 4,
            sigpipe: 5,
            protocol: 6,
        };
        let owned = Owned { cgroup_id: 1 << 40 | 7, signature, service_port: 443, reserved: 0 };
        assert_eq!(Owned::from_bytes(owned.to_bytes()), owned);
        assert_eq!(Signature::from_words(signature.to_words()), signature);
    }
}
