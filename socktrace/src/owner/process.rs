//! Executables of live processes, and their cgroups on hosts where the kernel programs' cgroup ids
//! are not enough: with cgroup v1, or if cgroup2 is only partly visible.
//!
//! By the time of the look-up, the process may have exited and its pid been reused. A result counts
//! only if the process existed at the time of the event: it must have started before and still
//! exist afterwards. Pids of other pid namespaces are not looked up.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    num::NonZeroUsize,
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    sync::Arc,
};

use lru::LruCache;
use nix::{
    fcntl::{OFlag, openat, readlinkat},
    sys::stat::Mode,
    time::{ClockId, clock_gettime},
    unistd::{SysconfVar, sysconf},
};

use super::{
    plain::is_deceptive,
    service::{Service, Unknown},
};

/// Maximum number of cached processes.
const KEPT: NonZeroUsize = NonZeroUsize::new(1_024).expect("not zero");

/// Maximum number of bytes read from a file: some 15 hierarchies, each with a path of 4 KiB.
const SIZE_LIMIT: u64 = 64 << 10;

/// Inode of the initial pid namespace, `PROC_PID_INIT_INO`.
const INITIAL_NAMESPACE: u64 = 0xEFFF_FFFC;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// A process and its state. It existed from `start_ns` to `until_ns`, when it was looked up, both
/// since boot.
struct Seen {
    start_ns: u64,
    until_ns: u64,
    /// Path of the most informative cgroup.
    cgroup: Option<Arc<str>>,
    /// Path of the executable, if readable.
    exe: Option<Arc<str>>,
}

/// Sighting of a process with a pid, with times in nanoseconds since boot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sighting {
    pub(crate) pid: u32,
    /// Time at which the process was seen.
    pub(crate) seen_ns: u64,
    /// Time to which the query refers, not earlier.
    pub(crate) at_ns: u64,
}

/// Cache of processes and their cgroups.
pub(super) struct Processes {
    proc: PathBuf,
    tick_ns: u64,
    known: LruCache<u32, Seen>,
}

impl Processes {
    /// `None` outside the initial pid namespace: the kernel programs report the whole host's pids.
    pub(super) fn new() -> Option<Self> {
        let namespace = fs::metadata("/proc/self/ns/pid").ok()?;
        (namespace.ino() == INITIAL_NAMESPACE).then(|| Self::at("/proc".into()))
    }

    pub(super) fn at(proc: PathBuf) -> Self {
        let ticks = sysconf(SysconfVar::CLK_TCK).ok().flatten();
        // 100 on every architecture still supported.
        let ticks = ticks.and_then(|ticks| u64::try_from(ticks).ok()).unwrap_or(100).max(1);
        Self { proc, tick_ns: NANOS_PER_SECOND / ticks, known: LruCache::new(KEPT) }
    }

    /// Returns the path of the process's most informative cgroup.
    ///
    /// # Errors
    /// [`Unknown::ProcessGone`].
    pub(super) fn cgroup(&mut self, there: Sighting) -> Result<Arc<str>, Unknown> {
        let cgroup = self.find(there).and_then(|seen| seen.cgroup.clone());
        cgroup.ok_or(Unknown::ProcessGone)
    }

    /// Returns the path of the process's executable, if the process exists and the path is
    /// readable, and the time up to which this is known to be valid.
    pub(super) fn exe(&mut self, there: Sighting) -> Option<(Arc<str>, u64)> {
        let seen = self.find(there)?;
        seen.exe.clone().map(|path| (path, seen.until_ns))
    }

    /// Whether the process still exists, or existed at its last look-up.
    pub(super) fn is_there(&mut self, there: Sighting) -> bool {
        self.find(there).is_some()
    }

    fn find(&mut self, Sighting { pid, seen_ns, at_ns }: Sighting) -> Option<&Seen> {
        let is_it = |seen: &Seen| seen.start_ns <= seen_ns && at_ns <= seen.until_ns;
        // A process's events often come in bursts. One look-up is valid for all events before it.
        if !self.known.get(&pid).is_some_and(is_it) {
            self.known.put(pid, self.look(pid).ok()?);
        }
        self.known.peek(&pid).filter(|seen| is_it(seen))
    }

    fn look(&self, pid: u32) -> io::Result<Seen> {
        let until_ns = boot_ns();
        // Reads through this descriptor reach the same process or fail.
        let directory = File::open(self.proc.join(pid.to_string()))?;
        let read = |name: &str| {
            let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
            let file = File::from(openat(&directory, name, flags, Mode::empty())?);
            let mut text = Vec::new();
            file.take(SIZE_LIMIT).read_to_end(&mut text)?;
            Ok::<_, io::Error>(String::from_utf8_lossy(&text).into_owned())
        };
        let ticks = start_ticks(&read("stat")?).ok_or(io::ErrorKind::InvalidData)?;
        // Kernels without cgroups have no such file; other users' executables may not be readable.
        let cgroup = read("cgroup").ok().and_then(|text| most_informative(&text).map(Into::into));
        let exe = readlinkat(&directory, "exe").ok();
        let exe = exe.map(|path| path.to_string_lossy().replace(is_deceptive, "?").into());
        Ok(Seen { start_ns: ticks.saturating_mul(self.tick_ns), until_ns, cgroup, exe })
    }
}

/// Field 22 of `/proc/PID/stat`: the start time in ticks since boot, rounded down. Field 2, the
/// name, may contain spaces and parentheses.
pub(super) fn start_ticks(stat: &str) -> Option<u64> {
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// The most informative path in `/proc/PID/cgroup`: one that names a container, else one that names
/// a unit, else the first. systemd's own hierarchy comes before others, which may be unused.
pub(super) fn most_informative(cgroups: &str) -> Option<&str> {
    let mut paths: Vec<(&str, &str)> = cgroups.lines().filter_map(line).collect();
    paths.sort_by_key(|(controllers, _)| match *controllers {
        "name=systemd" => 0,
        "" => 1,
        _ => 2,
    });
    let rank = |path: &str| {
        let service = Service::from_cgroup_path(path);
        (service.container.is_none(), service.unit.is_none(), path == "/")
    };
    paths.into_iter().map(|(_, path)| path).min_by_key(|path| rank(path))
}

/// Parses `ID:CONTROLLERS:PATH`. cgroup2 appends a word to the paths of removed cgroups.
fn line(line: &str) -> Option<(&str, &str)> {
    let (_, rest) = line.split_once(':')?;
    let (controllers, path) = rest.split_once(':')?;
    Some((controllers, path.strip_suffix(" (deleted)").unwrap_or(path)))
}

/// Time since boot.
pub(super) fn boot_ns() -> u64 {
    let nanos = |time: nix::sys::time::TimeSpec| {
        let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
        seconds * NANOS_PER_SECOND + u64::try_from(time.tv_nsec()).unwrap_or(0)
    };
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(0, nanos)
}

#[cfg(test)]
mod tests {
    use std::process;

    use super::*;

    const ID: &str = "cf87ba651579c9231db817909e7865e5747bd7abcac0c57ce23cf4abbaee046b";

    /// A process seen at the time of the event.
    fn at(pid: u32, ns: u64) -> Sighting {
        Sighting { pid, seen_ns: ns, at_ns: ns }
    }

    #[test]
    fn this_process_is_found_while_it_lives() {
        let mut processes = Processes::at("/proc".into());
        let own = fs::read_to_string("/proc/self/cgroup").expect("cgroups");
        let path = processes.cgroup(at(process::id(), boot_ns())).expect("alive");
        assert!(own.contains(&*path), "{path}");
        let (exe, _until_ns) = processes.exe(at(process::id(), boot_ns())).expect("its own");
        assert_eq!(exe.as_ref(), std::env::current_exe().expect("a path").to_string_lossy());
        // Long before it started, the pid belonged to another process.
        assert!(!processes.is_there(at(process::id(), 0)));
        assert!(!processes.is_there(Sighting { at_ns: boot_ns(), ..at(process::id(), 0) }));
        assert_eq!(processes.cgroup(at(u32::MAX, boot_ns())), Err(Unknown::ProcessGone));
    }

    #[test]
    fn what_was_seen_is_good_for_events_until_then_and_no_later() {
        let proc = tempfile::tempdir().expect("a directory");
        let directory = proc.path().join("42");
        let begin = |ticks: u64| {
            fs::create_dir_all(&directory).expect("created");
            let stat = format!("42 (a) b) R{} {ticks} 0 0", " 0".repeat(18));
            fs::write(directory.join("stat"), stat).expect("written");
        };
        let mut processes = Processes { tick_ns: 10_000_000, ..Processes::at(proc.path().into()) };
        begin(5);
        fs::write(directory.join("cgroup"), "0::/system.slice/a.service\n").expect("written");
        let event = boot_ns();
        assert_eq!(processes.cgroup(at(42, event)).as_deref(), Ok("/system.slice/a.service"));
        // The process has exited.
        fs::remove_dir_all(&directory).expect("removed");
        assert_eq!(processes.cgroup(at(42, event)).as_deref(), Ok("/system.slice/a.service"));
        assert_eq!(processes.cgroup(at(42, 50_000_000)).as_deref(), Ok("/system.slice/a.service"));
        assert_eq!(processes.cgroup(at(42, 49_999_999)), Err(Unknown::ProcessGone));
        assert_eq!(processes.cgroup(at(42, boot_ns())), Err(Unknown::ProcessGone));
        // The pid has been reused by a process that started after the event.
        let event = boot_ns();
        begin(event / 10_000_000 + 1);
        fs::write(directory.join("cgroup"), "0::/system.slice/b.service\n").expect("written");
        assert_eq!(processes.cgroup(at(42, event)), Err(Unknown::ProcessGone));
    }

    #[test]
    fn the_most_informative_hierarchy() {
        let docker = format!("/docker/{ID}");
        for (lines, expected) in [
            ("0::/system.slice/a.service".to_owned(), Some("/system.slice/a.service")),
            ("0::/system.slice/a.service (deleted)".to_owned(), Some("/system.slice/a.service")),
            (
                format!("4:memory:{docker}\n1:name=systemd:/system.slice/x.service\n0::/"),
                Some(docker.as_str()),
            ),
            (
                "4:memory:/user.slice\n1:name=systemd:/user.slice/user-1.slice/session-2.scope\n\
              0::/user.slice/user-1.slice/session-2.scope"
                    .to_owned(),
                Some("/user.slice/user-1.slice/session-2.scope"),
            ),
            ("5:pids:/\n4:memory:/a:b/c\n3:cpu,cpuacct:/\n0::/".to_owned(), Some("/a:b/c")),
            ("1:name=systemd:/\n0::/".to_owned(), Some("/")),
            (String::new(), None),
            ("nonsense\n1:x".to_owned(), None),
        ] {
            assert_eq!(most_informative(&lines), expected, "{lines}");
        }
    }
}
