//! From a live process to the path of its executable, and to its cgroup on hosts where the kernel
//! programs' cgroup ids do not show: with cgroup v1, and where cgroup2 is only partly visible.
//!
//! By then the process may have ended, and its pid be another's. What is read is only taken if the
//! process was there at the time of the event: it began before, and still was there after. Nor are
//! pids taken for those of another namespace.

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

/// How many processes are kept.
const KEPT: NonZeroUsize = NonZeroUsize::new(1_024).expect("not zero");

/// The most that is read of a file: some 15 hierarchies, each with a path of 4 KiB.
const SIZE_LIMIT: u64 = 64 << 10;

/// Inode of the first pid namespace, `PROC_PID_INIT_INO`.
const INITIAL_NAMESPACE: u64 = 0xEFFF_FFFC;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// A process and what it had at the second of two times since boot; it was there between them.
struct Seen {
    start_ns: u64,
    until_ns: u64,
    /// Path of the most informative cgroup.
    cgroup: Option<Arc<str>>,
    /// Path of the executable, where it may be read.
    exe: Option<Arc<str>>,
}

/// When a process with a pid was there, in nanoseconds since boot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sighting {
    pub(crate) pid: u32,
    /// When it was seen.
    pub(crate) seen_ns: u64,
    /// When it is asked about, not before.
    pub(crate) at_ns: u64,
}

/// Finds and keeps the cgroups of processes.
pub(super) struct Processes {
    proc: PathBuf,
    tick_ns: u64,
    known: LruCache<u32, Seen>,
}

impl Processes {
    /// `None` in a pid namespace: the kernel programs' pids are those of the whole host.
    pub(super) fn new() -> Option<Self> {
        let namespace = fs::metadata("/proc/self/ns/pid").ok()?;
        (namespace.ino() == INITIAL_NAMESPACE).then(|| Self::at("/proc".into()))
    }

    pub(super) fn at(proc: PathBuf) -> Self {
        let ticks = sysconf(SysconfVar::CLK_TCK).ok().flatten();
        // 100 on every architecture that is left.
        let ticks = ticks.and_then(|ticks| u64::try_from(ticks).ok()).unwrap_or(100).max(1);
        Self { proc, tick_ns: NANOS_PER_SECOND / ticks, known: LruCache::new(KEPT) }
    }

    /// The path of its most informative cgroup.
    ///
    /// # Errors
    /// [`Unknown::ProcessGone`].
    pub(super) fn cgroup(&mut self, there: Sighting) -> Result<Arc<str>, Unknown> {
        let cgroup = self.find(there).and_then(|seen| seen.cgroup.clone());
        cgroup.ok_or(Unknown::ProcessGone)
    }

    /// The path of its executable, while it is there and may be asked; and until when it was there
    /// with it.
    pub(super) fn exe(&mut self, there: Sighting) -> Option<(Arc<str>, u64)> {
        let seen = self.find(there)?;
        seen.exe.clone().map(|path| (path, seen.until_ns))
    }

    /// Whether it is still there, or was when it was asked about last.
    pub(super) fn is_there(&mut self, there: Sighting) -> bool {
        self.find(there).is_some()
    }

    fn find(&mut self, Sighting { pid, seen_ns, at_ns }: Sighting) -> Option<&Seen> {
        let is_it = |seen: &Seen| seen.start_ns <= seen_ns && at_ns <= seen.until_ns;
        // Many events of one process come at once: one look at it is good for all until then.
        if !self.known.get(&pid).is_some_and(is_it) {
            self.known.put(pid, self.look(pid).ok()?);
        }
        self.known.peek(&pid).filter(|seen| is_it(seen))
    }

    fn look(&self, pid: u32) -> io::Result<Seen> {
        let until_ns = boot_ns();
        // Through this descriptor it is the same process that is read, or none.
        let directory = File::open(self.proc.join(pid.to_string()))?;
        let read = |name: &str| {
            let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
            let file = File::from(openat(&directory, name, flags, Mode::empty())?);
            let mut text = Vec::new();
            file.take(SIZE_LIMIT).read_to_end(&mut text)?;
            Ok::<_, io::Error>(String::from_utf8_lossy(&text).into_owned())
        };
        let ticks = start_ticks(&read("stat")?).ok_or(io::ErrorKind::InvalidData)?;
        // Kernels without cgroups have no such file; other users' executables are not shown to all.
        let cgroup = read("cgroup").ok().and_then(|text| most_informative(&text).map(Into::into));
        let exe = readlinkat(&directory, "exe").ok();
        let exe = exe.map(|path| path.to_string_lossy().replace(is_deceptive, "?").into());
        Ok(Seen { start_ns: ticks.saturating_mul(self.tick_ns), until_ns, cgroup, exe })
    }
}

/// Field 22 of `/proc/PID/stat`: when the process began, in ticks since boot, rounded down. Field
/// 2, its name, may have spaces and parentheses itself.
pub(super) fn start_ticks(stat: &str) -> Option<u64> {
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// Of the lines of `/proc/PID/cgroup` the path that names a container, else the one that names a
/// unit, else the first; systemd's own hierarchy before others, which may have been left alone.
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

/// `ID:CONTROLLERS:PATH`; cgroup2 adds a word to paths of cgroups that were removed.
fn line(line: &str) -> Option<(&str, &str)> {
    let (_, rest) = line.split_once(':')?;
    let (controllers, path) = rest.split_once(':')?;
    Some((controllers, path.strip_suffix(" (deleted)").unwrap_or(path)))
}

/// The time since boot.
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

    /// Seen at the time of the event.
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
        // Long before it began, the pid was another's.
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
        // It has ended.
        fs::remove_dir_all(&directory).expect("removed");
        assert_eq!(processes.cgroup(at(42, event)).as_deref(), Ok("/system.slice/a.service"));
        assert_eq!(processes.cgroup(at(42, 50_000_000)).as_deref(), Ok("/system.slice/a.service"));
        assert_eq!(processes.cgroup(at(42, 49_999_999)), Err(Unknown::ProcessGone));
        assert_eq!(processes.cgroup(at(42, boot_ns())), Err(Unknown::ProcessGone));
        // Its pid is another's, which began after the event.
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
