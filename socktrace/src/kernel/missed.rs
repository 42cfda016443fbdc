//! Calls of hooked functions that the kernel kept from the programs.
//!
//! Since 5.12 a tracing program does not run where it is at work already: on a processor whose
//! current task was interrupted, or with `CONFIG_PREEMPT` or `CONFIG_PREEMPT_LAZY` preempted, in
//! the middle of it (`prog->active` in `__bpf_prog_enter_recur`, `kernel/bpf/trampoline.c`). The
//! kernel counts such calls, and the count is all there is of them.

use std::{
    collections::BTreeMap,
    fs, io,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
};

use aya::Ebpf;

use super::{hooks::Hook, variant::Variant};

/// The line of a program's description in `/proc` that has the count.
const FIELD: &str = "recursion_misses:";

/// The programs that are loaded, and the hooks they serve.
pub(crate) struct Missed {
    programs: Vec<(Hook, OwnedFd)>,
}

impl Missed {
    /// Remembers which programs are loaded.
    ///
    /// # Errors
    /// When descriptors run out.
    pub(crate) fn new(ebpf: &Ebpf) -> io::Result<Self> {
        let mut programs = Vec::new();
        for hook in Hook::ALL {
            for program in hook.variants().iter().flat_map(Variant::needed) {
                // Of the variants of a hook one is loaded.
                if let Some(Ok(fd)) = ebpf.program(program.name).map(aya::programs::Program::fd) {
                    programs.push((*hook, fd.as_fd().try_clone_to_owned()?));
                }
            }
        }
        Ok(Self { programs })
    }

    /// How many calls were missed by hook. A hook whose misses the kernel does not count, as
    /// before 5.12, is left out.
    pub(crate) fn counts(&self) -> BTreeMap<Hook, u64> {
        let mut counts = BTreeMap::new();
        for (hook, fd) in &self.programs {
            let path = format!("/proc/self/fdinfo/{}", fd.as_raw_fd());
            let Ok(text) = fs::read_to_string(path) else { continue };
            if let Some(count) = parse(&text) {
                *counts.entry(*hook).or_default() += count;
            }
        }
        counts
    }
}

fn parse(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(FIELD))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_found_where_there_is_one() {
        let old = "pos:\t0\nprog_type:\t26\nrun_cnt:\t0\n";
        assert_eq!(parse(old), None);
        assert_eq!(parse(&format!("{old}recursion_misses:\t14\nverified_insns:\t99\n")), Some(14));
    }
}
