//! Conditions without branches, each of which would double the paths that the verifier follows.
//!
//! The verifier prunes a path that reaches an instruction in a state it has seen before. A flag set
//! by a branch is a known number on either side, and where numbers matter the two sides never meet
//! again: up to 5.15 every number matters in a program with functions of its own
//! (`mark_all_scalars_precise`).

use core::hint::black_box;

use socktrace_ebpf::Flags;

/// 1 if the two are the same, else 0.
#[inline(always)]
pub(crate) fn is_same(a: u64, b: u64) -> u64 {
    1 ^ is_other(a, b)
}

/// 1 if the two differ, else 0: a nonzero difference has its top bit set, or its negation does.
#[inline(always)]
pub(crate) fn is_other(a: u64, b: u64) -> u64 {
    let difference = a ^ b;
    black_box(difference | difference.wrapping_neg()) >> 63
}

/// 1 if the first is not smaller than the second, else 0. Both are below 2^63.
#[inline(always)]
pub(crate) fn is_at_least(a: u64, b: u64) -> u64 {
    black_box(!a.wrapping_sub(b)) >> 63
}

/// Sets a flag from a number.
pub(crate) trait FlagBit {
    /// These flags, and `flag` if `bit` is 1; otherwise `bit` is 0.
    fn with_flag(self, flag: Flags, bit: u64) -> Self;
}

impl FlagBit for Flags {
    #[inline(always)]
    fn with_flag(self, flag: Flags, bit: u64) -> Self {
        Self(self.0 | (bit as u32 * flag.0))
    }
}
