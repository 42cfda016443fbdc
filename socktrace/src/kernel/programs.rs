//! Kernel statistics of the loaded programs: how often and how long they ran, and the calls of
//! hooked functions that they missed.
//!
//! Since 5.12 a tracing program does not run on a CPU where it is already running, in a task that
//! was interrupted or, with `CONFIG_PREEMPT` or `CONFIG_PREEMPT_LAZY`, preempted in the middle of it
//! (`prog->active` in `__bpf_prog_enter_recur`, `kernel/bpf/trampoline.c`). The kernel counts such
//! calls, and the count is all that is known about them.

use std::{
    collections::BTreeMap,
    fs, io,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd, RawFd},
    time::Duration,
};

use super::{hooks::Hook, object::Object, variant::Variant};

/// Fields of the fdinfo of a program or map.
const MISSES: &str = "recursion_misses:";
const RUNS: &str = "run_cnt:";
const RUN_TIME_NS: &str = "run_time_ns:";
const MEMORY: &str = "memlock:";

/// Whether the kernel measures the run time of programs: 1 or 0.
const STATS_ENABLED: &str = "/proc/sys/kernel/bpf_stats_enabled";

const DESCRIPTORS: &str = "/proc/self/fdinfo";

/// The loaded programs.
pub(crate) struct Programs(Vec<LoadedProgram>);

struct LoadedProgram {
    hook: Hook,
    name: &'static str,
    fd: OwnedFd,
}

/// Number of runs and run time of a program while the kernel measured it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Runs {
    pub(crate) count: u64,
    pub(crate) time: Duration,
}

impl Programs {
    /// Records which programs are loaded.
    ///
    /// # Errors
    /// When descriptors run out.
    pub(crate) fn new(Object(ebpf): &Object) -> io::Result<Self> {
        let mut programs = Vec::new();
        for &hook in Hook::ALL {
            for program in hook.all_variants().flat_map(Variant::needed) {
                let name = program.name;
                // Only one variant of a hook is loaded, and some programs belong to several.
                let is_known = programs.iter().any(|known: &LoadedProgram| known.name == name);
                if !is_known
                    && let Some(Ok(fd)) = ebpf.program(name).map(aya::programs::Program::fd)
                {
                    programs.push(LoadedProgram {
                        hook,
                        name,
                        fd: fd.as_fd().try_clone_to_owned()?,
                    });
                }
            }
        }
        Ok(Self(programs))
    }

    /// The kernel's current numbers.
    pub(crate) fn look(&self) -> Seen {
        let described = descriptions();
        let of = |program: &LoadedProgram| described.get(&program.fd.as_raw_fd());
        let mut missed = BTreeMap::new();
        for program in &self.0 {
            if let Some(count) = of(program).and_then(|text| number(text, MISSES)) {
                *missed.entry(program.hook).or_default() += count;
            }
        }
        let each = self.0.iter();
        let runs = is_measuring().then(|| {
            each.filter_map(|program| Some((program.name, runs(of(program)?)?))).collect()
        });
        // A map or program with two descriptors counts once, by its id.
        let sizes: BTreeMap<_, _> = described.values().filter_map(|text| size(text)).collect();
        Seen { missed, runs, memory: (!sizes.is_empty()).then(|| sizes.values().sum()) }
    }
}

/// Kernel statistics of the loaded programs and maps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Missed calls by hook, without hooks whose misses the kernel does not count, as before 5.12.
    pub(crate) missed: BTreeMap<Hook, u64>,
    /// Runs and run time of each program, by name; `None` unless the kernel measures them.
    pub(crate) runs: Option<BTreeMap<&'static str, Runs>>,
    /// Kernel memory used by the maps and programs of this process, in bytes.
    pub(crate) memory: Option<u64>,
}

fn is_measuring() -> bool {
    fs::read_to_string(STATS_ENABLED).is_ok_and(|text| text.trim() != "0")
}

/// Fdinfo of each descriptor of this process.
fn descriptions() -> BTreeMap<RawFd, String> {
    let entries = fs::read_dir(DESCRIPTORS).into_iter().flatten().flatten();
    // Descriptors come and go, such as the one of this listing.
    let described = entries.filter_map(|entry| {
        let fd = entry.file_name().to_str()?.parse().ok()?;
        Some((fd, fs::read_to_string(entry.path()).ok()?))
    });
    described.collect()
}

/// Identity and size of a map or program.
fn size(text: &str) -> Option<((bool, u64), u64)> {
    let map = number(text, "map_id:").map(|id| (true, id));
    let id = map.or_else(|| number(text, "prog_id:").map(|id| (false, id)))?;
    Some((id, number(text, MEMORY)?))
}

fn runs(text: &str) -> Option<Runs> {
    let time = Duration::from_nanos(number(text, RUN_TIME_NS)?);
    Some(Runs { count: number(text, RUNS)?, time })
}

fn number(text: &str, field: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(field))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str =
        "pos:\t0\nprog_type:\t26\nmemlock:\t4096\nprog_id:\t7\nrun_time_ns:\t250\nrun_cnt:\t3\n";

    #[test]
    fn a_number_is_found_where_there_is_one() {
        assert_eq!(number(OLD, MISSES), None);
        assert_eq!(
            number(&format!("{OLD}recursion_misses:\t14\nverified_insns:\t99\n"), MISSES),
            Some(14)
        );
        assert_eq!(runs(OLD), Some(Runs { count: 3, time: Duration::from_nanos(250) }));
        assert_eq!(runs("run_cnt:\t3\n"), None);
    }

    #[test]
    fn maps_and_programs_have_numbers_of_their_own() {
        assert_eq!(size(OLD), Some(((false, 7), 4_096)));
        assert_eq!(size("map_type:\t1\nmemlock:\t8192\nmap_id:\t7\n"), Some(((true, 7), 8_192)));
        assert_eq!(size("pos:\t0\nflags:\t02\n"), None);
    }
}
