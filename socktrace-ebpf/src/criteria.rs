//! Filter criteria, in the form in which the kernel programs look them up.
//!
//! A [`Criterion`] is one value of one kind, for which a map holds a verdict. There are two such
//! maps. The daemon fills one before the programs are attached, and the other as it learns what the
//! kernel cannot know, see [`CriterionKind::is_learnt`]. Networks have a map of their own, keyed by
//! [`Network`].

use crate::Signature;

/// Maximum number of learnt verdicts; beyond it the least recently used are evicted, and learnt again.
pub const VERDICT_ENTRIES: usize = 8 * 1024;

/// Verdict on a value that filters include.
pub const WANTED: u32 = 1;
/// Verdict on a value that filters exclude.
pub const UNWANTED: u32 = 2;

/// How to treat values that have no verdict; set for each kind.
pub mod mode {
    /// No filter on this kind: no verdict is looked up.
    pub const ANY: u32 = 0;
    /// Some values are excluded: all others pass.
    pub const EXCEPT: u32 = 1;
    /// Some values are included: no others pass.
    pub const ONLY: u32 = 2;
}

/// Kind of a value.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CriterionKind {
    /// Process id in the initial namespace.
    Pid = 1,
    /// Command name, padded with NUL.
    Comm = 2,
    /// Real user.
    Uid = 3,
    /// Inode of a network namespace.
    Netns = 4,
    /// Port of either end.
    Port = 5,
    /// Id of a cgroup whose service the daemon has found.
    Cgroup = 6,
    /// Whole signature, which the daemon has diagnosed.
    Signature = 7,
}

impl CriterionKind {
    /// Whether only the daemon can judge it: events without a verdict in the kernel go up to the daemon.
    #[must_use]
    pub const fn is_learnt(self) -> bool {
        matches!(self, Self::Cgroup | Self::Signature)
    }
}

/// Value with a verdict: the key of both maps.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Criterion {
    /// A [`CriterionKind`].
    pub kind: u32,
    /// The value, followed by zeros.
    pub value: [u32; 4],
}

const _: () = assert!(size_of::<Criterion>() == 20 && align_of::<Criterion>() == 4);

impl Criterion {
    /// A value that is a number.
    #[must_use]
    #[inline]
    pub const fn number(kind: CriterionKind, number: u32) -> Self {
        Self { kind: kind as u32, value: [number, 0, 0, 0] }
    }

    /// A command name, padded with NUL.
    #[must_use]
    #[inline]
    pub fn comm(comm: [u8; 16]) -> Self {
        let mut value = [0; 4];
        for (word, chunk) in value.iter_mut().zip(comm.as_chunks::<4>().0) {
            *word = u32::from_ne_bytes(*chunk);
        }
        Self { kind: CriterionKind::Comm as u32, value }
    }

    /// The cgroup with this id.
    #[must_use]
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
    pub const fn cgroup(id: u64) -> Self {
        Self { kind: CriterionKind::Cgroup as u32, value: [id as u32, (id >> 32) as u32, 0, 0] }
    }

    /// A signature.
    #[must_use]
    #[inline]
    pub const fn signature(signature: &Signature) -> Self {
        let [flags, where_from, rest] = signature.to_words();
        Self { kind: CriterionKind::Signature as u32, value: [flags, where_from, rest, 0] }
    }

    /// Bytes of the key, as the daemon passes it to the kernel.
    #[must_use]
    pub fn to_bytes(self) -> [u8; size_of::<Self>()] {
        let [a, b, c, d] = self.value;
        let mut bytes = [0; size_of::<Self>()];
        for (chunk, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip([self.kind, a, b, c, d]) {
            *chunk = word.to_ne_bytes();
        }
        bytes
    }
}

/// End of a connection that an address belongs to.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// This host.
    Local = 1,
    /// The peer.
    Remote = 2,
}

/// Data of a longest-prefix map's key: the scope, whose bits must all match, then an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network(pub [u8; 20]);

impl Network {
    /// Length of the scope in bits; the address follows it.
    pub const SCOPE_BITS: u32 = 32;

    /// An address of a [`crate::Family`], laid out as in [`crate::Address`].
    #[must_use]
    #[inline]
    pub fn new(end: End, family: u8, octets: [u8; 16]) -> Self {
        let mut data = [0; 20];
        data[0] = end as u8;
        data[1] = family;
        data[4..].copy_from_slice(&octets);
        Self(data)
    }
}
