//! From a cgroup's id, as `bpf_get_current_cgroup_id` gives it, to its path.
//!
//! The id is that of the kernfs node, and the inode of the cgroup's directory. The kernel takes it
//! as a file handle too, and opens the directory without a search. Among 5,000 cgroups that takes
//! 15 µs, the walk over all of them 36 ms (6.18; in a guest without KVM 0.3 ms and 290 ms on 5.10,
//! 0.5 ms and 120 ms on 6.12): so handles where `CAP_DAC_READ_SEARCH` allows them, else the walk.
//!
//! Ids are not used again (`kernfs_node.id` counts up to 64 bits) and cgroup2 renames nothing: what
//! was found stays true when the cgroup has gone, and what has gone will not come back.

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

/// How many paths are kept, of cgroups that are there and that have gone: 2 MiB as paths usually
/// are, 8 MiB when all are as long as they may.
const KEPT: NonZeroUsize = NonZeroUsize::new(8_192).expect("not zero");

/// Longer paths are cut. What a service is named by comes long before.
const PATH_LIMIT: usize = 1_024;

/// The type of kernfs's file handles, `FILEID_KERNFS`, since 5.5.
const FILEID_KERNFS: c_int = 0xfe;

/// Between two walks there is at least this,
const WALK_PAUSE: Duration = Duration::from_secs(1);

/// and so many times what the last one took: walks take 2 % of a processor at most.
const WALK_SHARE: u32 = 50;

/// Finds and keeps the paths of cgroups.
pub(super) struct CgroupIds {
    root: PathBuf,
    /// Whether the mount shows every cgroup, so that what is not there has gone.
    complete: bool,
    /// The root, where directories can be opened by handle.
    handles: Option<File>,
    /// Results of look-ups; that nothing was found is final too.
    known: LruCache<u64, Result<Arc<str>, Unknown>>,
    next_walk: Instant,
}

impl CgroupIds {
    /// Learns every cgroup of the cgroup2 that is mounted at `root`, so that those are known that
    /// go before they are asked for.
    pub(super) fn new(root: PathBuf, complete: bool) -> Self {
        // Not simply tried: a filter of system calls may kill who has not got the capability.
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

    /// Another one, that knows the same.
    pub(super) fn beside(&self) -> Self {
        Self {
            root: self.root.clone(),
            complete: self.complete,
            handles: self.handles.as_ref().and_then(|root| root.try_clone().ok()),
            known: self.known.clone(),
            next_walk: self.next_walk,
        }
    }

    /// The path of a cgroup, from the root of what is mounted.
    ///
    /// # Errors
    /// [`Unknown::CgroupGone`], [`Unknown::NotVisible`], or [`Unknown::Busy`]: then it may be found
    /// later.
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

    /// Whether a cgroup that was asked for is there no more. One that was not is taken for gone.
    pub(super) fn is_gone(&self, id: u64) -> bool {
        let Some(Ok(path)) = self.known.peek(&id) else { return true };
        let directory = self.root.join(path.trim_start_matches('/'));
        !fs::metadata(directory).is_ok_and(|metadata| metadata.ino() == id)
    }

    /// Opens a cgroup by its handle; `None` when that does not work here.
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

    /// Walks over all cgroups and keeps them; returns the wanted one.
    ///
    /// # Errors
    /// As [`Self::path`].
    fn walk(&mut self, wanted: Option<u64>) -> Result<Arc<str>, Unknown> {
        let begin = Instant::now();
        let mut found = None;
        let root = self.root.clone();
        let extent = walk(&root, |id, path| {
            let is_wanted = wanted == Some(id);
            // What nobody has asked for does not push out what somebody has.
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

    /// The path within the hierarchy; `None` when it is elsewhere, as cgroups outside of this
    /// process's cgroup namespace are.
    fn below_root(&self, path: &Path) -> Option<Arc<str>> {
        let below = path.strip_prefix(&self.root).ok()?.to_string_lossy();
        // The directory may have gone since it was opened.
        let below = below.strip_suffix(" (deleted)").unwrap_or(&below);
        Some(shorten(&format!("/{below}")).into())
    }
}

/// The path without the directories beyond the limit: whole ones, since half a name would be
/// another.
fn shorten(path: &str) -> &str {
    if path.len() <= PATH_LIMIT {
        return path;
    }
    let head = &path[..path.floor_char_boundary(PATH_LIMIT)];
    head.rsplit_once('/').map_or(head, |(whole, _)| whole)
}

/// `struct file_handle` with what kernfs puts in it.
#[repr(C)]
struct KernfsHandle {
    /// Size of what follows the type.
    handle_bytes: u32,
    handle_type: c_int,
    id: u64,
}

/// Opens a cgroup, only to learn its path.
///
/// # Errors
/// ESTALE when there is none of this id.
fn open_by_handle(root: &File, id: u64) -> io::Result<OwnedFd> {
    let mut handle = KernfsHandle { handle_bytes: 8, handle_type: FILEID_KERNFS, id };
    let handle = (&raw mut handle).cast();
    // SAFETY: the handle lives until the call returns, and `handle_bytes` of it follow the header.
    let fd = unsafe {
        libc::open_by_handle_at(root.as_raw_fd(), handle, libc::O_PATH | libc::O_CLOEXEC)
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has just opened it, and nobody else knows of it.
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
        // That walk has found the other one too.
        assert_eq!(ids.path(new).as_deref(), Ok("/new.service"));
        // No walk for what is known to have gone.
        let next_walk = Instant::now();
        ids.next_walk = next_walk;
        assert_eq!(ids.path(absent), Err(Unknown::CgroupGone));
        assert_eq!(ids.next_walk, next_walk);
        // Where not all is to be seen, it may be elsewhere.
        ids.complete = false;
        assert_eq!(ids.path(absent ^ (1 << 41)), Err(Unknown::NotVisible));
    }

    #[test]
    fn what_cannot_be_opened_by_handle_is_walked_for() {
        let root = tempfile::tempdir().expect("a directory");
        let mut ids = ids(root.path());
        // Without the capability EPERM, with it EBADF, since this is not opened for reading.
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
