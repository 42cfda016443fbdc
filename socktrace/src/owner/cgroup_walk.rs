//! Walk over all cgroups of cgroup2, with their ids.

use std::{
    collections::VecDeque,
    fs,
    io::ErrorKind,
    os::unix::fs::{DirEntryExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

/// Maximum number of directories read in one walk, so that no user's subtree can make it endless.
const DIRECTORY_LIMIT: usize = 65_536;

/// Links of a directory without subdirectories: its name and its own `.`.
const LEAF_LINKS: u64 = 2;

/// Completeness of a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    Whole,
    /// All cgroups except those that this process may not read.
    Readable,
    /// There were too many cgroups, or descriptors or memory ran out.
    Cut,
}

/// Calls `found` with the id and path of each cgroup below `root`.
///
/// The walk is breadth first, so that a user's deep subtree cannot keep it from finding the host's
/// services. The id is the inode, which 64-bit kernels copy from the kernfs node unchanged
/// (`kernfs_ino`), as they do with `d_ino`. kernfs counts subdirectories in `st_nlink`. Directories
/// without any, the majority, are not read, which saves three quarters of the time.
pub(super) fn walk(root: &Path, mut found: impl FnMut(u64, &Path)) -> Extent {
    let mut extent = Extent::Whole;
    let mut queue = VecDeque::from([PathBuf::from(root)]);
    for _ in 0..DIRECTORY_LIMIT {
        let Some(directory) = queue.pop_front() else { return extent };
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) => match error.kind() {
                // A cgroup may be removed at any moment.
                ErrorKind::NotFound => continue,
                ErrorKind::PermissionDenied => {
                    extent = Extent::Readable;
                    continue;
                }
                _ => return Extent::Cut,
            },
        };
        for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|t| t.is_dir())) {
            let path = entry.path();
            found(entry.ino(), &path);
            if entry.metadata().is_ok_and(|cgroup| cgroup.nlink() > LEAF_LINKS) {
                queue.push_back(path);
            }
        }
    }
    if queue.is_empty() { extent } else { Extent::Cut }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_directory_is_found_the_shallow_ones_first() {
        let root = tempfile::tempdir().expect("a directory");
        for path in ["a/deep/deeper", "b", "c/d"] {
            fs::create_dir_all(root.path().join(path)).expect("created");
        }
        fs::write(root.path().join("cgroup.procs"), "").expect("written");
        let mut all = Vec::new();
        let extent = walk(root.path(), |id, path| {
            assert_eq!(id, fs::metadata(path).expect("there").ino());
            all.push(path.strip_prefix(root.path()).expect("below").to_owned());
        });
        assert_eq!(extent, Extent::Whole);
        let depth = |path: &PathBuf| path.components().count();
        assert!(all.is_sorted_by_key(depth), "{all:?}");
        all.sort();
        let expected = ["a", "a/deep", "a/deep/deeper", "b", "c", "c/d"];
        assert_eq!(all, expected.map(PathBuf::from));
    }

    #[test]
    fn a_root_that_is_gone_has_nothing() {
        let extent = walk(Path::new("/nonexistent"), |_, path| panic!("{}", path.display()));
        assert_eq!(extent, Extent::Whole);
    }

    #[test]
    fn what_cannot_be_read_is_not_taken_for_nothing() {
        let root = tempfile::tempdir().expect("a directory");
        let file = root.path().join("file");
        fs::write(&file, "").expect("written");
        assert_eq!(walk(&file, |_, path| panic!("{}", path.display())), Extent::Cut);
    }
}
