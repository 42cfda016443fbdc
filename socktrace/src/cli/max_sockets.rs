//! Of how many sockets the owner is remembered.

use std::ops::RangeInclusive;

use nix::unistd::{SysconfVar, sysconf};

/// How many can be asked for.
pub(super) const RANGE: RangeInclusive<u32> = 1..=10_000_000;

/// How many by default: from what a small host takes to what takes 16 MB.
#[expect(clippy::cast_possible_truncation, reason = "a small number")]
const DEFAULTS: RangeInclusive<u32> = socktrace_ebpf::SOCKETS as u32..=131_072;

/// Memory of the host for each of them: what is remembered of one takes 123 bytes, less than a
/// four-thousandth.
const MEMORY_OF_ONE: u64 = 512 * 1024;

/// How many this host's memory suggests.
pub(super) fn default() -> u32 {
    let number = |what| sysconf(what).ok().flatten().and_then(|value| u64::try_from(value).ok());
    let pages = number(SysconfVar::_PHYS_PAGES);
    let memory = pages.zip(number(SysconfVar::PAGE_SIZE)).map(|(pages, size)| pages * size);
    for_memory(memory.unwrap_or_default())
}

/// How many a host with so many bytes of memory has by default.
fn for_memory(bytes: u64) -> u32 {
    let (least, most) = (*DEFAULTS.start(), *DEFAULTS.end());
    u32::try_from(bytes / MEMORY_OF_ONE).unwrap_or(most).clamp(least, most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_grows_with_memory_within_bounds() {
        const GIB: u64 = 1 << 30;

        for (memory, sockets) in [
            (0, 16_384),
            (GIB, 16_384),
            (8 * GIB, 16_384),
            (16 * GIB, 32_768),
            (48 * GIB, 98_304),
            (64 * GIB, 131_072),
            (4_096 * GIB, 131_072),
            (u64::MAX, 131_072),
        ] {
            assert_eq!(for_memory(memory), sockets, "{memory}");
        }
    }

    #[test]
    fn this_host_has_a_default_that_can_be_asked_for() {
        assert!(RANGE.contains(&default()) && DEFAULTS.contains(&default()));
    }
}
