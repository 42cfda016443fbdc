//! UNIX sockets in the file system.

use std::{
    fs::{self, File, Metadata, Permissions, TryLockError},
    io,
    os::unix::{
        fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use socket2::{Domain, SockAddr, Socket, Type};

/// The backlog, the same as for the standard library's listeners.
const BACKLOG: i32 = 128;

/// Longest wait for another process that is creating a socket in the same directory, and the
/// polling interval.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(10);

/// The file of a socket, removed when dropped. It stays if another file has replaced it, or if its
/// directory belongs to another user; in the latter case, the next [`SocketFile::bind`] replaces
/// it.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    /// Creates a socket that listens at `path`. A stale socket is replaced.
    ///
    /// # Errors
    /// When another process listens there, another kind of file exists, or access is denied.
    pub(super) fn bind(path: &Path, mode: u32) -> io::Result<(UnixListener, Self)> {
        // A socket that is not listening yet looks like a stale one.
        let _lock = lock(path)?;
        let socket = match bind(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_stale(path)? => {
                fs::remove_file(path)?;
                bind(path)?
            }
            result => result?,
        };
        // Nobody can connect before `listen`, hence not before the mode is set.
        fs::set_permissions(path, Permissions::from_mode(mode))?;
        socket.listen(BACKLOG)?;
        let identity = identity(&fs::symlink_metadata(path)?);
        Ok((socket.into(), Self { path: path.to_owned(), identity }))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let still_ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| identity(&metadata) == self.identity);
        if still_ours && let Err(error) = fs::remove_file(&self.path) {
            // A process that has dropped root cannot remove files from root's directories.
            let level = match error.kind() {
                io::ErrorKind::PermissionDenied => log::Level::Debug,
                _ => log::Level::Warn,
            };
            log::log!(level, "cannot remove {}: {error}", self.path.display());
        }
    }
}

/// Keeps other processes from creating a socket in the same directory until the lock is dropped.
fn lock(path: &Path) -> io::Result<File> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = File::open(directory.unwrap_or(Path::new(".")))?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        match directory.try_lock() {
            Ok(()) => return Ok(directory),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if Instant::now() >= deadline => {
                let text = "another process holds the lock of its directory (flock)";
                return Err(io::Error::new(io::ErrorKind::TimedOut, text));
            }
            Err(TryLockError::WouldBlock) => thread::sleep(PAUSE),
        }
    }
}

fn bind(path: &Path) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    Ok(socket)
}

/// Whether the file is a socket that refuses connections, left behind by a killed process.
fn is_stale(path: &Path) -> io::Result<bool> {
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "a file that is not a socket is in the way",
        ));
    }
    match UnixStream::connect(path) {
        Ok(_) => Ok(false),
        Err(error) => Ok(error.kind() == io::ErrorKind::ConnectionRefused),
    }
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("metrics.sock");
        (directory, path)
    }

    #[test]
    fn it_has_the_mode_and_goes_with_its_owner() {
        let (_directory, path) = place();
        let (_listener, file) = SocketFile::bind(&path, 0o606).expect("bound");
        let mode = fs::metadata(&path).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o606);
        UnixStream::connect(&path).expect("it listens");
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn a_stale_one_is_replaced() {
        let (_directory, path) = place();
        let (listener, file) = SocketFile::bind(&path, 0o600).expect("bound");
        drop(listener);
        // As after a kill.
        std::mem::forget(file);
        let (_listener, file) = SocketFile::bind(&path, 0o600).expect("bound again");
        UnixStream::connect(&path).expect("it listens");
        drop(file);
    }

    #[test]
    fn one_that_does_not_listen_yet_is_not_left_over() {
        let (_directory, path) = place();
        // State of another process's socket for a moment.
        let lock = lock(&path).expect("locked");
        let socket = bind(&path).expect("bound");
        let other = thread::scope(|scope| {
            let other = scope.spawn(|| SocketFile::bind(&path, 0o600));
            thread::sleep(5 * PAUSE);
            socket.listen(BACKLOG).expect("listens");
            drop(lock);
            other.join().expect("no panic")
        });
        assert_eq!(other.expect_err("in use").kind(), io::ErrorKind::AddrInUse);
        UnixStream::connect(&path).expect("it still listens");
    }

    #[test]
    fn what_others_use_is_left_alone() {
        let (_directory, path) = place();
        let (_listener, file) = SocketFile::bind(&path, 0o600).expect("bound");
        let error = SocketFile::bind(&path, 0o600).expect_err("in use");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        UnixStream::connect(&path).expect("it still listens");

        // Another process has put its own file there, which stays.
        fs::remove_file(&path).expect("removed");
        fs::write(&path, "precious").expect("written");
        drop(file);
        assert_eq!(fs::read_to_string(&path).expect("it is there"), "precious");
        let error = SocketFile::bind(&path, 0o600).expect_err("no socket");
        assert_eq!(error.to_string(), "a file that is not a socket is in the way");
    }
}
