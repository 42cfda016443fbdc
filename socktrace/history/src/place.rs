//! Location of a history. Its owner can write it, and members of a group can read it.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, fchown},
    path::{Path, PathBuf},
};

use nix::unistd::geteuid;

use super::{aside::beside, store::OpenError};

const DIRECTORY_MODE: u32 = 0o750;
const FILE_MODE: u32 = 0o640;

/// Only the owner may open the lock file, because whoever can open it can hold the lock.
const LOCK_MODE: u32 = 0o600;

/// Location of a history.
#[derive(Clone, Debug)]
pub struct Place {
    /// The file; its directory is created if missing.
    pub file: PathBuf,
    /// The group that may read it.
    pub group: Option<u32>,
}

impl Place {
    fn directory(&self) -> &Path {
        let parent = self.file.parent().filter(|path| !path.as_os_str().is_empty());
        parent.unwrap_or(Path::new("."))
    }

    /// Creates the directory if missing.
    pub(crate) fn prepare_directory(&self) -> io::Result<()> {
        let directory = self.directory();
        if directory.is_dir() {
            return Ok(());
        }
        DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory)?;
        give(&File::open(directory)?, None, self.group)
    }

    /// Creates the file if missing. `SQLite`'s additional files inherit owner and mode.
    pub(crate) fn make(&self) -> io::Result<()> {
        match OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&self.file) {
            Ok(file) => {
                file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(FILE_MODE))?;
                give(&file, self.owner()?, self.group)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Keeps other processes from writing. A separate file is locked, because `SQLite`'s own locks
    /// vanish as soon as this process closes any other descriptor of the database.
    pub(crate) fn lock(&self) -> Result<File, OpenError> {
        let path = beside(&self.file, ".lock");
        let system = |error| OpenError::System(path.clone(), error);
        let mut options = OpenOptions::new();
        let lock = options.write(true).create(true).truncate(false).mode(LOCK_MODE).open(&path);
        let lock = lock.map_err(system)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::Taken(self.file.clone())),
            Err(TryLockError::Error(error)) => return Err(system(error)),
        }
        self.owner().and_then(|owner| give(&lock, owner, None)).map_err(system)?;
        Ok(lock)
    }

    /// Owner of new files. If root runs in the directory of a service's user, files belong to that
    /// user, who has to write them later.
    fn owner(&self) -> io::Result<Option<u32>> {
        if !geteuid().is_root() {
            return Ok(None);
        }
        Ok(Some(fs::metadata(self.directory())?.uid()))
    }
}

/// Changes owner and group if this process may.
fn give(file: &File, owner: Option<u32>, group: Option<u32>) -> io::Result<()> {
    // Nothing is changed unnecessarily: the service manager's seccomp filter may not allow the
    // call.
    let now = file.metadata()?;
    let owner = owner.filter(|owner| *owner != now.uid());
    let group = group.filter(|group| *group != now.gid());
    if owner.is_none() && group.is_none() {
        return Ok(());
    }
    match fchown(file, owner, group) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        result => result,
    }
}
