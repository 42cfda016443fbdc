//! Cheap calls that fail in many ways, to fill tables with.

use std::{io, os::fd::AsRawFd as _, ptr};

use anyhow::{Result, ensure};
use nix::libc::{self, c_int, c_void, socklen_t};
use socket2::Socket;

/// Length of an integer option.
const NUMBER: socklen_t = 4;

/// An address that is not mapped.
const NOWHERE: *mut c_void = ptr::without_provenance_mut(1);

/// Calls setsockopt and getsockopt for this option so that they fail wherever its value is read.
/// Returns the number of failures.
pub(super) fn refuse(socket: &Socket, level: c_int, option: c_int) -> u64 {
    let (fd, mut length) = (socket.as_raw_fd(), NUMBER);
    // SAFETY: the kernel answers EFAULT for such an address.
    let set = unsafe { libc::setsockopt(fd, level, option, NOWHERE, length) };
    // SAFETY: the kernel answers EFAULT for such an address.
    let asked = unsafe { libc::getsockopt(fd, level, option, NOWHERE, &raw mut length) };
    u64::from(set != 0) + u64::from(asked != 0)
}

/// A wrong value for an option, where the kernel reads the value.
struct Wrong {
    option: c_int,
    value: &'static [u8],
    errno: c_int,
}

/// Values that a socket refuses, each for a different reason.
const WRONG: [Wrong; 4] = [
    Wrong { option: libc::SO_KEEPALIVE, value: &[1], errno: libc::EINVAL },
    Wrong { option: libc::SO_RCVTIMEO, value: &[0xff; 16], errno: libc::EDOM },
    Wrong { option: libc::SO_BINDTODEVICE, value: b"none0\0", errno: libc::ENODEV },
    Wrong { option: 9_999, value: &[0; 4], errno: libc::ENOPROTOOPT },
];

/// Number of ways in [`every_way`].
pub(super) const WAYS: u64 = 8;

/// Makes option calls fail in as many cheap ways as possible.
pub(super) fn every_way(socket: &Socket) -> Result<()> {
    let fd = socket.as_raw_fd();
    for Wrong { option, value, errno } in WRONG {
        let length = socklen_t::try_from(value.len())?;
        // SAFETY: value points to as many bytes as its length says.
        let result = unsafe {
            libc::setsockopt(fd, libc::SOL_SOCKET, option, value.as_ptr().cast(), length)
        };
        fails(result, errno)?;
    }
    // SAFETY: the kernel answers EFAULT for such an address.
    let result =
        unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_KEEPALIVE, NOWHERE, NUMBER) };
    fails(result, libc::EFAULT)?;
    for (option, mut length, errno) in [
        (9_999, 4, libc::ENOPROTOOPT),
        (libc::SO_KEEPALIVE, 4, libc::EFAULT),
        (libc::SO_KEEPALIVE, socklen_t::MAX, libc::EINVAL),
    ] {
        // SAFETY: the kernel answers EFAULT for such an address.
        let result =
            unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, option, NOWHERE, &raw mut length) };
        fails(result, errno)?;
    }
    Ok(())
}

fn fails(result: c_int, errno: c_int) -> Result<()> {
    let error = io::Error::last_os_error();
    ensure!(result != 0 && error.raw_os_error() == Some(errno), "{result}, {error}, not {errno}");
    Ok(())
}
