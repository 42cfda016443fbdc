//! Size of the buffer between kernel and stream.

use std::ops::RangeInclusive;

use crate::kernel::load::RING_BYTES;

/// Default size, in KiB.
pub(super) const DEFAULT_KIB: u32 = RING_BYTES / KIB;

/// Bytes in a KiB.
pub(super) const KIB: u32 = 1024;

/// From one page to a size that a flood still fills within seconds.
const RANGE: RangeInclusive<u32> = 4..=65_536;

/// Parses a size in KiB: the kernel requires a power of two.
pub(super) fn parse(text: &str) -> Result<u32, String> {
    let (least, most) = (RANGE.start(), RANGE.end());
    match text.parse() {
        Ok(kib) if RANGE.contains(&kib) && kib.is_power_of_two() => Ok(kib),
        _ => Err(format!("not a power of two from {least} to {most}, such as 1024 or 4096")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_two() {
        for size in ["0", "3", "100", "131072", "256k", "-4", ""] {
            let problem = parse(size).expect_err("no such size");
            assert!(problem.contains("power of two from 4 to 65536"), "{problem}");
        }
        assert_eq!(parse("4"), Ok(4));
        assert_eq!(parse(&DEFAULT_KIB.to_string()), Ok(1_024));
    }
}
