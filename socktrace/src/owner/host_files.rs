//! Safe reading of files written by container runtimes and the kubelet.
//!
//! Their directories belong to root, but the files in them may have been created on behalf of
//! others, and this process may be root. Below such a directory, links are not followed, and only
//! regular files are read, up to a size limit.

use std::{
    fs::{self, File},
    io::Read as _,
    os::fd::OwnedFd,
    path::PathBuf,
};

use nix::{
    fcntl::{OFlag, open, openat},
    sys::stat::Mode,
};
use serde::de::DeserializeOwned;

/// Size limit of a file. A container's configuration has 10 KiB, or 100 KiB with many mounts and a
/// long environment; Podman's list of containers has 1 KiB for each.
const SIZE_LIMIT: u64 = 4 << 20;

/// Maximum number of entries read from a directory. The kubelet runs 110 pods by default.
const ENTRY_LIMIT: usize = 16_384;

/// Files of this host.
#[derive(Clone, Debug)]
pub(super) struct HostFiles {
    root: PathBuf,
}

impl HostFiles {
    /// The files visible to this process.
    pub(super) fn new() -> Self {
        Self::at("/".into())
    }

    pub(super) fn at(root: PathBuf) -> Self {
        Self { root }
    }

    /// Reads a JSON file below an absolute directory; `None` if it does not exist, cannot be read
    /// or has unexpected content.
    pub(super) fn json<T: DeserializeOwned>(&self, directory: &str, file: &str) -> Option<T> {
        let text = self.read(directory, file)?;
        serde_json::from_slice(&text)
            .inspect_err(|error| log::debug!("cannot parse {directory}/{file}: {error}"))
            .ok()
    }

    fn read(&self, directory: &str, file: &str) -> Option<Vec<u8>> {
        // The directory itself may be a link, because administrators move it to other disks.
        let step = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut place = open(&self.below(directory), step, Mode::empty()).ok()?;
        let (above, name) = file.rsplit_once('/').unwrap_or(("", file));
        for part in above.split('/').filter(|part| !part.is_empty()) {
            place = Self::open_at(&place, part, step)?;
        }
        // A FIFO must not make this process wait for a writer.
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let file = File::from(Self::open_at(&place, name, flags)?);
        let metadata = file.metadata().ok()?;
        if !metadata.is_file() || metadata.len() > SIZE_LIMIT {
            return None;
        }
        let mut text = Vec::new();
        // The file may have grown since.
        file.take(SIZE_LIMIT).read_to_end(&mut text).ok()?;
        Some(text)
    }

    /// Opens a directory entry unless it is a link or leads up.
    fn open_at(directory: &OwnedFd, name: &str, flags: OFlag) -> Option<OwnedFd> {
        if name == ".." {
            return None;
        }
        openat(directory, name, flags | OFlag::O_NOFOLLOW, Mode::empty()).ok()
    }

    /// Calls `read` on the names in an absolute directory; returns the first result.
    pub(super) fn find<T>(&self, directory: &str, read: impl Fn(&str) -> Option<T>) -> Option<T> {
        let entries = fs::read_dir(self.below(directory)).ok()?;
        entries.take(ENTRY_LIMIT).flatten().find_map(|entry| read(entry.file_name().to_str()?))
    }

    fn below(&self, absolute: &str) -> PathBuf {
        self.root.join(absolute.trim_start_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use nix::unistd::mkfifo;

    use super::*;

    fn number(files: &HostFiles, file: &str) -> Option<u32> {
        files.json("/state", file)
    }

    #[test]
    fn only_regular_files_that_lie_there_are_read() {
        let root = tempfile::tempdir().expect("a directory");
        let files = HostFiles::at(root.path().into());
        let state = root.path().join("state");
        assert_eq!(number(&files, "x"), None);
        fs::create_dir_all(state.join("sub")).expect("created");
        fs::write(state.join("sub/good"), "7").expect("written");
        fs::write(root.path().join("outside"), "8").expect("written");
        symlink("sub/good", state.join("link")).expect("linked");
        symlink("sub", state.join("linked")).expect("linked");
        mkfifo(&state.join("pipe"), Mode::S_IRUSR).expect("made");
        assert_eq!(number(&files, "sub/good"), Some(7));
        for file in ["link", "linked/good", "../outside", "/etc/passwd", "pipe", "sub", "none"] {
            assert_eq!(number(&files, file), None, "{file}");
        }
        // The directory itself may be a link.
        fs::rename(&state, root.path().join("disk")).expect("moved");
        symlink("disk", &state).expect("linked");
        assert_eq!(number(&files, "sub/good"), Some(7));
    }

    #[test]
    fn a_huge_file_is_not_read() {
        let root = tempfile::tempdir().expect("a directory");
        fs::create_dir(root.path().join("state")).expect("created");
        let file = File::create(root.path().join("state/huge")).expect("created");
        file.set_len(SIZE_LIMIT + 1).expect("a hole");
        let files = HostFiles::at(root.path().into());
        assert_eq!(files.read("/state", "huge"), None);
        file.set_len(SIZE_LIMIT).expect("a hole");
        assert_eq!(files.read("/state", "huge").map(|text| text.len() as u64), Some(SIZE_LIMIT));
    }

    #[test]
    fn names_in_a_directory() {
        let root = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(root.path().join("logs/a_1")).expect("created");
        let files = HostFiles::at(root.path().into());
        let after = |name: &str| name.strip_prefix("a_").map(str::to_owned);
        assert_eq!(files.find("/logs", after).as_deref(), Some("1"));
        assert_eq!(files.find("/none", after), None);
    }
}
