//! Sequence numbers of a connection's first bytes, by which both of its ends identify it.

/// Sequence number of the first byte, given the number after the last byte and the count of bytes.
/// Sequence numbers wrap at 4 GiB; counts do not.
#[must_use]
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "modulo 2^32, as the numbers are")]
pub const fn first_byte(next: u32, count: u64) -> u32 {
    next.wrapping_sub(count as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_the_same_however_much_is_sent() {
        const FIRST: u32 = 0xffff_fff0;
        for count in [0, 1, 15, 16, 17, u64::from(u32::MAX), 1 << 32, (5 << 32) + 7] {
            // As the kernel counts: modulo 2^32.
            let next = u32::try_from((u64::from(FIRST) + count) & 0xffff_ffff).expect("32 bits");
            assert_eq!(first_byte(next, count), FIRST, "{count}");
        }
    }
}
