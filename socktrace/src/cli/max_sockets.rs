//! Maximum number of sockets whose owner is tracked.

use std::ops::RangeInclusive;

use nix::unistd::{SysconfVar, sysconf};

/// Accepted values.
pub(super) const RANGE: RangeInclusive<u32> = 1..=10_000_000;

/// Range of the default: from one for a small host to one that takes 16 MB.
#[expect(clippy::cast_possible_truncation, reason = "a small number")]
const DEFAULTS: RangeInclusive<u32> = socktrace_ebpf::SOCKETS as u32..=131_072;

/// Memory of the host per tracked socket, whose 123 bytes are less than a four-thousandth of it.
const MEMORY_OF_ONE: u64 = 512 * 1024;

/// Default for this host's memory.
pub(super) fn default() -> u32 {
    let number = |what| sysconf(what).ok().flatten().and_then(|value| u64::try_from(value).ok());
    let pages = number(SysconfVar::_PHYS_PAGES);
    let memory = pages.zip(number(SysconfVar::PAGE_SIZE)).map(|(pages, size)| pages * size);
    for_memory(memory.unwrap_or_default())
}

/// Default for a host with this much memory.
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
