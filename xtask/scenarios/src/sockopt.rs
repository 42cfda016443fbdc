//! Refused socket options.

use std::{
    fs::File,
    io,
    os::fd::{AsRawFd as _, RawFd},
    ptr,
};

use anyhow::Result;
use nix::libc::{self, c_int, c_void, socklen_t};
use socket2::Socket;
use socktrace_diagnosis::Cause;

use super::{
    bind,
    expected::Expected,
    has_typed_calls,
    network::Family,
    socket::{self, ensure_errno},
};

/// An option, by number and by name.
struct Name {
    level: c_int,
    option: c_int,
    names: (&'static str, &'static str),
}

const fn name(
    level: c_int,
    option: c_int,
    level_name: &'static str,
    option_name: &'static str,
) -> Name {
    Name { level, option, names: (level_name, option_name) }
}

const fn socket_level(option: c_int, name: &'static str) -> Name {
    self::name(libc::SOL_SOCKET, option, "SOL_SOCKET", name)
}

const fn tcp_level(option: c_int, name: &'static str) -> Name {
    self::name(libc::IPPROTO_TCP, option, "IPPROTO_TCP", name)
}

const fn ip_level(option: c_int, name: &'static str) -> Name {
    self::name(libc::IPPROTO_IP, option, "IPPROTO_IP", name)
}

const fn ipv6_level(option: c_int, name: &'static str) -> Name {
    self::name(libc::IPPROTO_IPV6, option, "IPPROTO_IPV6", name)
}

/// A bound socket that records its refused options.
struct Refusals {
    socket: Socket,
    expected: Vec<Expected>,
}

impl Refusals {
    fn new(family: Family) -> Result<Self> {
        Ok(Self { socket: socket::bound(family.loopback())?, expected: Vec::new() })
    }

    /// Sets an option to these bytes, which must fail.
    fn set(&mut self, name: &Name, value: &[u8], wanted: i32) -> Result<()> {
        self.set_at(name, value.as_ptr().cast(), value.len(), wanted)
    }

    fn set_number(&mut self, name: &Name, value: c_int, wanted: i32) -> Result<()> {
        self.set(name, &value.to_ne_bytes(), wanted)
    }

    fn set_at(
        &mut self,
        name: &Name,
        value: *const c_void,
        length: usize,
        wanted: i32,
    ) -> Result<()> {
        let result = setsockopt(self.socket.as_raw_fd(), name, value, length);
        self.note("setsockopt", name, result, wanted)
    }

    /// Reads an option, which must fail.
    fn get(&mut self, name: &Name, wanted: i32) -> Result<()> {
        let result = getsockopt(self.socket.as_raw_fd(), name);
        self.note("getsockopt", name, result, wanted)
    }

    fn note(
        &mut self,
        call: &'static str,
        name: &Name,
        result: io::Result<()>,
        wanted: i32,
    ) -> Result<()> {
        let (level, option) = name.names;
        let errno = socket::errno(&format!("{call} {level} {option}"), result)?;
        ensure_errno(&format!("{call} {level} {option}"), errno, wanted)?;
        let address = socket::local(&self.socket)?;
        let mut failure = Expected::alone(Cause::SockoptRejected, call, errno, address);
        if !has_typed_calls() {
            // The failure is seen on return from the system call.
            failure = failure.with("fd", self.socket.as_raw_fd());
        }
        self.expected.push(failure.option(level, option));
        Ok(())
    }
}

/// Values that every socket refuses.
pub(super) fn bad_values(family: Family) -> Result<Vec<Expected>> {
    let mut refusals = Refusals::new(family)?;
    refusals.set(&socket_level(libc::SO_RCVBUF, "SO_RCVBUF"), &[0], libc::EINVAL)?;
    refusals.set(&socket_level(libc::SO_KEEPALIVE, "SO_KEEPALIVE"), &[1, 0], libc::EINVAL)?;
    let linger = socket_level(libc::SO_LINGER, "SO_LINGER");
    refusals.set_at(
        &linger,
        ptr::without_provenance(1),
        size_of::<libc::linger>(),
        libc::EFAULT,
    )?;
    let seconds = 1_i64.to_ne_bytes();
    let too_many_microseconds = 2_000_000_i64.to_ne_bytes();
    let timeout = [seconds, too_many_microseconds].concat();
    refusals.set(&socket_level(libc::SO_RCVTIMEO, "SO_RCVTIMEO"), &timeout, libc::EDOM)?;
    let device = socket_level(libc::SO_BINDTODEVICE, "SO_BINDTODEVICE");
    refusals.set(&device, b"none0\0", libc::ENODEV)?;
    refusals.set_number(&tcp_level(libc::TCP_KEEPIDLE, "TCP_KEEPIDLE"), 0, libc::EINVAL)?;
    refusals.set_number(
        &tcp_level(libc::TCP_USER_TIMEOUT, "TCP_USER_TIMEOUT"),
        -1,
        libc::EINVAL,
    )?;
    let congestion = tcp_level(libc::TCP_CONGESTION, "TCP_CONGESTION");
    refusals.set(&congestion, b"nonesuch", libc::ENOENT)?;
    if family == Family::Ipv6 {
        let hops = ipv6_level(libc::IPV6_UNICAST_HOPS, "IPV6_UNICAST_HOPS");
        refusals.set_number(&hops, 1000, libc::EINVAL)?;
        refusals.set_number(&ipv6_level(libc::IPV6_V6ONLY, "IPV6_V6ONLY"), 1, libc::EINVAL)?;
    } else {
        refusals.set_number(&ip_level(libc::IP_TTL, "IP_TTL"), 0, libc::EINVAL)?;
    }
    Ok(refusals.expected)
}

/// Options that do not exist.
pub(super) fn unknown(family: Family) -> Result<Vec<Expected>> {
    let mut refusals = Refusals::new(family)?;
    refusals.get(&socket_level(9999, "option_9999"), libc::ENOPROTOOPT)?;
    refusals.get(&tcp_level(9999, "option_9999"), libc::ENOPROTOOPT)?;
    refusals.set_number(&socket_level(9999, "option_9999"), 1, libc::ENOPROTOOPT)?;
    Ok(refusals.expected)
}

/// Descriptors that are not open, or lead to a file. Reported only for TCP options.
pub(super) fn no_socket(_: Family) -> Result<Vec<Expected>> {
    let file = File::open("/proc/self/exe")?;
    let no_delay = tcp_level(libc::TCP_NODELAY, "TCP_NODELAY");
    let broadcast = socket_level(libc::SO_BROADCAST, "SO_BROADCAST");
    let on: c_int = 1;
    let mut expected = Vec::new();
    for (fd, wanted) in [(-1, libc::EBADF), (file.as_raw_fd(), libc::ENOTSOCK)] {
        let set = |name| setsockopt(fd, name, (&raw const on).cast(), size_of_val(&on));
        for (call, result) in
            [("setsockopt", set(&no_delay)), ("getsockopt", getsockopt(fd, &no_delay))]
        {
            let errno = socket::errno(call, result)?;
            ensure_errno(call, errno, wanted)?;
            let (level, option) = no_delay.names;
            let refused = Expected::no_socket(Cause::SockoptRejected, call, errno);
            let refused = refused.with("fd", u32::try_from(fd).ok());
            expected.push(refused.option(level, option));
        }
        ensure_errno("setsockopt", socket::errno("setsockopt", set(&broadcast))?, wanted)?;
    }
    Ok(expected)
}

/// Sets an option to `length` bytes at `value`, which may be invalid.
fn setsockopt(fd: RawFd, name: &Name, value: *const c_void, length: usize) -> io::Result<()> {
    let length = socklen_t::try_from(length).map_err(io::Error::other)?;
    // SAFETY: the kernel reads `length` bytes, or answers EFAULT.
    let result = unsafe { libc::setsockopt(fd, name.level, name.option, value, length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Reads an option.
fn getsockopt(fd: RawFd, name: &Name) -> io::Result<()> {
    let mut value: c_int = 0;
    let mut length = socklen_t::try_from(size_of_val(&value)).map_err(io::Error::other)?;
    let value = (&raw mut value).cast();
    // SAFETY: the kernel writes at most `length` bytes to `value`.
    let result = unsafe { libc::getsockopt(fd, name.level, name.option, value, &raw mut length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Options that require privileges.
pub(super) fn not_permitted(family: Family) -> Result<Vec<Expected>> {
    let mut refusals = Refusals::new(family)?;
    bind::as_nobody(move || {
        let force = socket_level(libc::SO_RCVBUFFORCE, "SO_RCVBUFFORCE");
        refusals.set_number(&force, 4096, libc::EPERM)?;
        refusals.set_number(&socket_level(libc::SO_MARK, "SO_MARK"), 1, libc::EPERM)?;
        refusals.set_number(&tcp_level(libc::TCP_REPAIR, "TCP_REPAIR"), 1, libc::EPERM)?;
        Ok(refusals.expected)
    })
}
