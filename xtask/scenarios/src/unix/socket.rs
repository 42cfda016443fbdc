//! Unix sockets, created the way programs create them.

use std::{
    fs, io, mem,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    path::PathBuf,
};

use anyhow::{Context as _, Result};
use nix::libc;
use serde_json::Value;

use socktrace_diagnosis::Cause;

use crate::{expected::Expected, socket::ensure_errno};

/// Socket types.
pub(super) const STREAM: i32 = libc::SOCK_STREAM;
pub(super) const SEQPACKET: i32 = libc::SOCK_SEQPACKET;
pub(super) const DATAGRAM: i32 = libc::SOCK_DGRAM;

/// A name: a path or an abstract name.
#[derive(Clone, Debug)]
pub(super) struct Name(Vec<u8>);

impl Name {
    /// A new path in a directory of this process.
    pub(super) fn path(file: &str) -> Result<Self> {
        let directory = PathBuf::from(format!("/tmp/unix-{}", std::process::id()));
        fs::create_dir_all(&directory)?;
        let path = directory.join(file);
        if path.symlink_metadata().is_ok_and(|it| !it.is_dir()) {
            fs::remove_file(&path)?;
        }
        Ok(Self(path.into_os_string().into_encoded_bytes()))
    }

    /// A path as given.
    pub(super) fn exactly(path: &str) -> Self {
        Self(path.as_bytes().to_vec())
    }

    /// An abstract name.
    pub(super) fn hidden(name: &str) -> Self {
        Self(format!("\0{name}-{}", std::process::id()).into_bytes())
    }

    /// The name as shown in lines.
    pub(super) fn shown(&self) -> String {
        match &self.0[..] {
            [0, rest @ ..] => format!("@{}", String::from_utf8_lossy(rest)),
            path => String::from_utf8_lossy(path).into_owned(),
        }
    }

    /// The file at a path.
    pub(super) fn file(&self) -> PathBuf {
        PathBuf::from(self.shown())
    }

    /// Address for system calls, and its length.
    pub(super) fn address(&self) -> (libc::sockaddr_un, libc::socklen_t) {
        // SAFETY: the fields are integers, which may all be 0.
        let mut address: libc::sockaddr_un = unsafe { mem::zeroed() };
        address.sun_family = libc::sa_family_t::try_from(libc::AF_UNIX).expect("small");
        for (to, from) in address.sun_path.iter_mut().zip(&self.0) {
            *to = from.cast_signed();
        }
        // A path includes its NUL.
        let nul = usize::from(self.0.first() != Some(&0));
        let length = size_of::<libc::sa_family_t>() + self.0.len() + nul;
        (address, libc::socklen_t::try_from(length).expect("short"))
    }
}

fn result(returned: i32) -> io::Result<()> {
    if returned < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Creates a socket of this type.
pub(super) fn open(socket_type: i32) -> Result<OwnedFd> {
    // SAFETY: takes numbers and touches no memory.
    let fd = unsafe { libc::socket(libc::AF_UNIX, socket_type | libc::SOCK_CLOEXEC, 0) };
    result(fd).context("socket")?;
    // SAFETY: the kernel has just opened it for this call.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Creates a connected pair.
pub(super) fn pair(socket_type: i32) -> Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: the kernel writes both descriptors.
    result(unsafe { libc::socketpair(libc::AF_UNIX, socket_type, 0, ends.as_mut_ptr()) })?;
    // SAFETY: the kernel has just opened them for this call.
    let [one, other] = ends.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    Ok((one, other))
}

pub(super) fn bind(socket: &OwnedFd, name: &Name) -> io::Result<()> {
    let (address, length) = name.address();
    // SAFETY: the address is as long as `length` says.
    result(unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) })
}

pub(super) fn listen(socket: &OwnedFd, backlog: i32) -> io::Result<()> {
    // SAFETY: takes numbers and touches no memory.
    result(unsafe { libc::listen(socket.as_raw_fd(), backlog) })
}

pub(super) fn connect(socket: &OwnedFd, name: &Name) -> io::Result<()> {
    let (address, length) = name.address();
    // SAFETY: the address is as long as `length` says.
    result(unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), length) })
}

pub(super) fn accept(listener: &OwnedFd) -> Result<OwnedFd> {
    let none = std::ptr::null_mut();
    // SAFETY: no address is requested.
    let fd = unsafe { libc::accept4(listener.as_raw_fd(), none, none.cast(), libc::SOCK_CLOEXEC) };
    result(fd).context("accept")?;
    // SAFETY: the kernel has just opened it for this call.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A listening socket.
pub(super) fn listener(socket_type: i32, name: &Name, backlog: i32) -> Result<OwnedFd> {
    let socket = open(socket_type)?;
    bind(&socket, name)?;
    listen(&socket, backlog)?;
    Ok(socket)
}

/// A connected socket.
pub(super) fn connected(socket_type: i32, name: &Name) -> Result<OwnedFd> {
    let socket = open(socket_type)?;
    connect(&socket, name)?;
    Ok(socket)
}

pub(super) fn send(socket: &OwnedFd, bytes: &[u8]) -> io::Result<usize> {
    let (from, length) = (bytes.as_ptr().cast(), bytes.len());
    // SAFETY: the buffer has `length` bytes.
    let sent = unsafe { libc::send(socket.as_raw_fd(), from, length, libc::MSG_NOSIGNAL) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

pub(super) fn receive(socket: &OwnedFd) -> io::Result<usize> {
    let mut bytes = [0_u8; 64];
    // SAFETY: the buffer has as many bytes as given.
    let got = unsafe { libc::recv(socket.as_raw_fd(), bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    usize::try_from(got).map_err(|_| io::Error::last_os_error())
}

/// Receives one message, or fails without waiting.
pub(super) fn receive_at_once(socket: &OwnedFd) -> io::Result<usize> {
    let mut bytes = [0_u8; 4_096];
    let (to, length) = (bytes.as_mut_ptr().cast(), bytes.len());
    // SAFETY: the buffer has `length` bytes.
    let got = unsafe { libc::recv(socket.as_raw_fd(), to, length, libc::MSG_DONTWAIT) };
    usize::try_from(got).map_err(|_| io::Error::last_os_error())
}

pub(super) fn make_non_blocking(socket: &OwnedFd) -> Result<()> {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};

    fcntl(socket, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok(())
}

/// Errno of a call that must fail with this one.
pub(super) fn errno<T>(call: &str, result: io::Result<T>, wanted: i32) -> Result<i32> {
    let error = result.err().with_context(|| format!("{call} succeeded"))?;
    let errno = error.raw_os_error().context("no errno")?;
    ensure_errno(call, errno, wanted)?;
    Ok(errno)
}

/// Expected report of a call by this thread on a Unix socket that failed.
pub(super) fn failed_call(
    cause: Cause,
    call: &'static str,
    errno: i32,
    name: Option<&Name>,
) -> Expected {
    let failure = Expected::of_unix(cause, call, errno).state("CLOSE").with("delivered", true);
    match name {
        Some(name) => failure.with("path", name.shown()),
        None => failure,
    }
}

/// Value of a field that is not known.
pub(super) const UNKNOWN: Value = Value::Null;
