//! Look-up of a cgroup's path by its id, as returned by `bpf_get_current_cgroup_id`.
//!
//! The id is that of the kernfs node, and also the inode of the cgroup's directory. The kernel
//! accepts it as a file handle and opens the directory without a search. Among 5,000 cgroups, that
//! takes 15 µs and a walk over all of them 36 ms (6.18; in a guest without KVM 0.3 ms and 290 ms on
//! 5.10, 0.5 ms and 120 ms on 6.12). Handles are therefore used if `CAP_DAC_READ_SEARCH` allows
//! them, else the walk.
//!
//! Ids are never reused (`kernfs_node.id` counts up to 64 bits), and cgroup2 has no renames. A path
//! therefore stays valid after its cgroup is gone, and a removed cgroup never returns.

use std::{
    ffi::c_int,
    fs::{self, File},
    io,
    num::NonZeroUsize,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use caps::{CapSet, Capability};
use lru::LruCache;
use nix::libc;

use super::{
    cgroup_walk::{Extent, walk},
    service::Unknown,
};

/// Maximum number of cached paths, of present and removed cgroups: 2 MiB with paths of typical
/// length, 8 MiB if all have the maximum length.
const KEPT: NonZeroUsize = NonZeroUsize::new(8_192).expect("not zero");

/// Longer paths are truncated. The components that name a service come far earlier.
const PATH_LIMIT: usize = 1_024;

/// Type of kernfs file handles, `FILEID_KERNFS`, since 5.5.
const FILEID_KERNFS: c_int = 0xfe;

/// Minimum pause between two walks.
const WALK_PAUSE: Duration = Duration::from_secs(1);

/// Minimum pause as a multiple of the last walk's duration: walks use at most 2 % of a processor.
const WALK_SHARE: u32 = 50;

/// Cache of cgroup paths by id.
pub(super) struct CgroupIds {
    root: PathBuf,
    /// Whether the mount shows every cgroup, so that an absent one must have been removed.
    complete: bool,
    /// The root directory, if cgroups can be opened by handle.
    handles: Option<File>,
    /// Results of look-ups. A negative result is final too.
    known: LruCache<u64, Result<Arc<str>, Unknown>>,
    next_walk: Instant,
}

impl CgroupIds {
    /// Reads every cgroup of the cgroup2 mounted at `root`, so that even cgroups removed before
    /// their first look-up are found.
    pub(super) fn new(root: PathBuf, complete: bool) -> Self {
        // Checked rather than tried: a seccomp filter may kill a process that lacks the capability.
        let allowed = caps::has_cap(None, CapSet::Effective, Capability::CAP_DAC_READ_SEARCH);
        Self::open(root, complete, allowed.unwrap_or(false))
    }

    #[cfg(test)]
    pub(super) fn without_handles(root: PathBuf, complete: bool) -> Self {
        Self::open(root, complete, false)
    }

    fn open(root: PathBuf, complete: bool, by_handle: bool) -> Self {
        let handles = by_handle.then(|| File::open(&root)).and_then(Result::ok);
        let known = LruCache::new(KEPT);
        let mut ids = Self { root, complete, handles, known, next_walk: Instant::now() };
        if let Ok(metadata) = fs::metadata(&ids.root) {
            ids.known.put(metadata.ino(), Ok("/".into()));
        }
        let _nobody_is_wanted = ids.walk(None);
        ids
    }

    /// A second instance with the same cached paths.
    pub(super) fn beside(&self) -> Self {
        Self {
            root: self.root.clone(),
            complete: self.complete,
            handles: self.handles.as_ref().and_then(|root| root.try_clone().ok()),
            known: self.known.clone(),
            next_walk: self.next_walk,
        }
    }

    /// Returns the path of a cgroup, relative to the root of the mount.
    ///
    /// # Errors
    /// [`Unknown::CgroupGone`], [`Unknown::NotVisible`], or [`Unknown::Busy`] if a later call may
    /// succeed.
    pub(super) fn path(&mut self, id: u64) -> Result<Arc<str>, Unknown> {
        if let Some(known) = self.known.get(&id) {
            return known.clone();
        }
        let found = match self.by_handle(id) {
            Some(found) => found,
            None if Instant::now() < self.next_walk => Err(Unknown::Busy),
            None => self.walk(Some(id)),
        };
        if found != Err(Unknown::Busy) {
            self.known.put(id, found.clone());
        }
        found
    }

    /// Whether a cgroup has been removed. One that was never looked up counts as removed.
    pub(super) fn is_gone(&self, id: u64) -> bool {
        let Some(Ok(path)) = self.known.peek(&id) else { return true };
        let directory = self.root.join(path.trim_start_matches('/'));
        !fs::metadata(directory).is_ok_and(|metadata| metadata.ino() == id)
    }

    /// Opens a cgroup by its handle; `None` if handles do not work here.
    fn by_handle(&mut self, id: u64) -> Option<Result<Arc<str>, Unknown>> {
        let opened = open_by_handle(self.handles.as_ref()?, id);
        let path = opened.and_then(|cgroup| {
            fs::read_link(Path::new("/proc/self/fd").join(cgroup.as_raw_fd().to_string()))
        });
        let error = match path {
            Ok(path) => return Some(self.below_root(&path).ok_or(Unknown::NotVisible)),
            Err(error) => error,
        };
        match error.raw_os_error() {
            Some(libc::ESTALE) => Some(Err(self.absent())),
            Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM) => Some(Err(Unknown::Busy)),
            _ => {
                log::debug!("cannot open cgroups by id: {error}");
                self.handles = None;
                None
            }
        }
    }

    /// Walks all cgroups and caches their paths; returns that of the wanted one.
    ///
    /// # Errors
    /// The errors of [`Self::path`].
    fn walk(&mut self, wanted: Option<u64>) -> Result<Arc<str>, Unknown> {
        let begin = Instant::now();
        let mut found = None;
        let root = self.root.clone();
        let extent = walk(&root, |id, path| {
            let is_wanted = wanted == Some(id);
            // Cgroups that nobody has looked up do not evict those that somebody has.
            let is_new = self.known.len() < KEPT.get() && !self.known.contains(&id);
            if (is_wanted || is_new)
                && let Some(path) = self.below_root(path)
            {
                if is_wanted {
                    found = Some(Arc::clone(&path));
                }
                self.known.put(id, Ok(path));
            }
        });
        self.next_walk = begin + WALK_PAUSE.max(begin.elapsed() * WALK_SHARE);
        found.ok_or_else(|| match extent {
            Extent::Whole => self.absent(),
            Extent::Readable => Unknown::NotVisible,
            Extent::Cut => Unknown::Busy,
        })
    }

    const fn absent(&self) -> Unknown {
        if self.complete { Unknown::CgroupGone } else { Unknown::NotVisible }
    }

    /// The path within the hierarchy; `None` if it is outside, like cgroups beyond this process's
    /// cgroup namespace.
    fn below_root(&self, path: &Path) -> Option<Arc<str>> {
        let below = path.strip_prefix(&self.root).ok()?.to_string_lossy();
        // The directory may have been removed since it was opened.
        let below = below.strip_suffix(" (deleted)").unwrap_or(&below);
        Some(shorten(&format!("/{below}")).into())
    }
}

/// Truncates a path to the limit at a directory boundary, because half a name could be another
/// name.
fn shorten(path: &str) -> &str {
    if path.len() <= PATH_LIMIT {
        return path;
    }
    let head = &path[..path.floor_char_boundary(PATH_LIMIT)];
    head.rsplit_once('/').map_or(head, |(whole, _)| whole)
}

/// `struct file_handle` with kernfs's payload.
#[repr(C)]
struct KernfsHandle {
    /// Size of the fields after the type.
    handle_bytes: u32,
    handle_type: c_int,
    id: u64,
}

/// Opens a cgroup with `O_PATH`, just to read its path.
///
/// # Errors
/// ESTALE if no cgroup has this id.
fn open_by_handle(root: &File, id: u64) -> io::Result<OwnedFd> {
    let mut handle = KernfsHandle { handle_bytes: 8, handle_type: FILEID_KERNFS, id };
    let handle = (&raw mut handle).cast();
    // SAFETY: the handle lives until the call returns, and `handle_bytes` bytes follow its header.
    let fd = unsafe {
        libc::open_by_handle_at(root.as_raw_fd(), handle, libc::O_PATH | libc::O_CLOEXEC)
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has just opened it, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::OpenOptionsExt as _;

    use super::*;

    fn ids(root: &Path) -> CgroupIds {
        CgroupIds::without_handles(root.to_owned(), true)
    }

    fn make(root: &Path, name: &str) -> u64 {
        fs::create_dir(root.join(name)).expect("created");
        fs::metadata(root.join(name)).expect("there").ino()
    }

    #[test]
    fn names_outlive_their_cgroups() {
        let root = tempfile::tempdir().expect("a directory");
        let old = make(root.path(), "old.service");
        let mut ids = ids(root.path());
        fs::remove_dir(root.path().join("old.service")).expect("removed");
        assert_eq!(ids.path(old).as_deref(), Ok("/old.service"));
        let root_inode = fs::metadata(root.path()).expect("there").ino();
        assert_eq!(ids.path(root_inode).as_deref(), Ok("/"));
    }

    #[test]
    fn walks_pause_and_what_they_miss_has_gone() {
        let root = tempfile::tempdir().expect("a directory");
        let mut ids = ids(root.path());
        let new = make(root.path(), "new.service");
        let absent = new ^ (1 << 40);
        assert_eq!(ids.path(new), Err(Unknown::Busy));
        ids.next_walk = Instant::now();
        assert_eq!(ids.path(absent), Err(Unknown::CgroupGone));
        // That walk has also found the other one.
        assert_eq!(ids.path(new).as_deref(), Ok("/new.service"));
        // A cgroup known to be gone causes no walk.
        let next_walk = Instant::now();
        ids.next_walk = next_walk;
        assert_eq!(ids.path(absent), Err(Unknown::CgroupGone));
        assert_eq!(ids.next_walk, next_walk);
        // If not all cgroups are visible, it may exist elsewhere.
        ids.complete = false;
        assert_eq!(ids.path(absent ^ (1 << 41)), Err(Unknown::NotVisible));
    }

    #[test]
    fn what_cannot_be_opened_by_handle_is_walked_for() {
        let root = tempfile::tempdir().expect("a directory");
        let mut ids = ids(root.path());
        // EPERM without the capability; EBADF with it, because this descriptor has `O_PATH`.
        let unusable = File::options().read(true).custom_flags(libc::O_PATH).open(root.path());
        ids.handles = Some(unusable.expect("opened"));
        let new = make(root.path(), "new.service");
        ids.next_walk = Instant::now();
        assert_eq!(ids.path(new).as_deref(), Ok("/new.service"));
        assert!(ids.handles.is_none());
    }

    #[test]
    fn long_paths_lose_whole_directories() {
        assert_eq!(shorten("/a/b"), "/a/b");
        let long = format!("/{}/{}", "a".repeat(1_000), "\u{e9}".repeat(100));
        assert_eq!(shorten(&long), &long[..1_001]);
        assert!(shorten(&"\u{e9}".repeat(1_000)).len() <= PATH_LIMIT);
    }
}
