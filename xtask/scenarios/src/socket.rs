//! Sockets for scenarios: connected pairs, and calls that are expected to fail.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    mem::MaybeUninit,
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd as _, AsRawFd as _},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    errno::Errno,
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::{modules, network::Family};

/// Longest time to wait for something that is due: longer than a connect takes to give up, and
/// shorter than the host waits for a report.
const PATIENCE: Duration = Duration::from_secs(150);

/// `TCP_SYN_RECV` in `include/net/tcp_states.h`.
const SYN_RECV: u8 = 3;

/// Role of an end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Client,
    Server,
}

impl Role {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

/// Both ends of a connection as seen from one of them, IPv4-mapped addresses as IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    /// Role of the local end, once it is connected.
    pub(super) role: Option<Role>,
}

impl Ends {
    pub(super) fn new(local: SocketAddr, remote: SocketAddr) -> Self {
        let canonical = |end: SocketAddr| SocketAddr::new(end.ip().to_canonical(), end.port());
        Self { local: canonical(local), remote: canonical(remote), role: None }
    }

    /// Ends of a connected socket. Must be read before it fails.
    pub(super) fn of_client(socket: &Socket) -> Result<Self> {
        Self::of(socket, Role::Client)
    }

    /// Ends of an accepted socket. Must be read before it fails.
    pub(super) fn of_server(socket: &Socket) -> Result<Self> {
        Self::of(socket, Role::Server)
    }

    fn of(socket: &Socket, role: Role) -> Result<Self> {
        let ends = Self::new(local(socket)?, address(&socket.peer_addr()?)?);
        Ok(Self { role: Some(role), ..ends })
    }

    /// Sets the role of the local end.
    pub(super) fn of_role(self, role: Role) -> Self {
        Self { role: Some(role), ..self }
    }

    /// The same connection seen from the other end.
    pub(super) fn reversed(self) -> Self {
        let role = self.role.map(|role| match role {
            Role::Client => Role::Server,
            Role::Server => Role::Client,
        });
        Self { local: self.remote, remote: self.local, role }
    }
}

/// Address that a socket is bound to.
pub(super) fn local(socket: &Socket) -> Result<SocketAddr> {
    address(&socket.local_addr()?)
}

fn address(address: &SockAddr) -> Result<SocketAddr> {
    address.as_socket().context("no IP address")
}

/// A TCP socket of the address's family.
pub(super) fn stream(address: SocketAddr) -> Result<Socket> {
    Ok(open(address, Protocol::TCP)?)
}

/// A stream socket of this protocol, of the address's family.
pub(super) fn open(address: SocketAddr, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(protocol))?;
    if address.is_ipv6() {
        // Allows IPv4-mapped addresses, whatever the system's default.
        socket.set_only_v6(false)?;
    }
    Ok(socket)
}

/// A TCP socket bound to this address, with port 0 for any.
pub(super) fn bound(address: SocketAddr) -> Result<Socket> {
    let socket = stream(address)?;
    socket.bind(&address.into()).with_context(|| format!("cannot bind {address}"))?;
    Ok(socket)
}

/// A listening socket at this address.
pub(super) fn listener(address: SocketAddr, backlog: i32) -> Result<Socket> {
    let socket = bound(address)?;
    socket.listen(backlog)?;
    Ok(socket)
}

/// Connects to a listener, and leaves the connection in its queue.
pub(super) fn connect(listener: &Socket) -> Result<Socket> {
    let address = local(listener)?;
    let socket = stream(address)?;
    socket.connect(&address.into())?;
    Ok(socket)
}

/// A connected pair: the connecting end and the accepting end.
pub(super) struct Pair {
    pub(super) client: Socket,
    pub(super) server: Socket,
}

impl Pair {
    /// Connects two ends at this address of the same host.
    pub(super) fn new(address: SocketAddr) -> Result<Self> {
        Self::through(&listener(address, 1)?)
    }

    /// Connects two ends by way of a listener.
    pub(super) fn through(listener: &Socket) -> Result<Self> {
        let client = connect(listener)?;
        let (server, _) = listener.accept()?;
        Ok(Self { client, server })
    }

    /// Resets the connection from the client, and reads the reset at the server.
    pub(super) fn reset(self) -> Result<()> {
        close_with_reset(self.client)?;
        ensure_errno("read", read_errno(&self.server)?, libc::ECONNRESET)
    }
}

/// Closes the socket so that it sends an RST.
pub(super) fn close_with_reset(socket: Socket) -> Result<()> {
    socket.set_linger(Some(Duration::ZERO))?;
    drop(socket);
    Ok(())
}

/// Resets a connection that nobody has accepted yet; returns its ends as seen by the accepting side.
///
/// Waits until that side has the connection, since one that is reset earlier is never accepted.
/// Then waits until that side has processed the reset: on several processors both may take a
/// moment, and there is no accepted socket yet to query.
pub(super) fn reset_unaccepted(client: Socket) -> Result<Ends> {
    let ends = Ends::of_client(&client)?.reversed();
    let is_there = || Ok(state(ends)?.is_some_and(|state| state != SYN_RECV));
    until("the connection is not established", is_there)?;
    close_with_reset(client)?;
    until_gone(ends)?;
    Ok(ends)
}

/// Waits until the connection is gone, without touching its socket.
pub(super) fn until_gone(ends: Ends) -> Result<()> {
    until("the connection is still open", || Ok(state(ends)?.is_none()))
}

/// Waits until a connect has met the peer's own connect: the peer's SYN has arrived, but no answer
/// to this end's SYN.
pub(super) fn until_met(socket: &Socket) -> Result<()> {
    until("no SYN has come", || Ok(info(socket)?.tcpi_state == SYN_RECV))
}

/// Waits until a listener has a connection to accept.
pub(super) fn until_acceptable(listener: &Socket) -> Result<()> {
    until_ready(listener, PollFlags::POLLIN)
}

/// State of the connection with these ports, which are sufficient to identify it.
fn state(ends: Ends) -> Result<Option<u8>> {
    let [local, remote] = [ends.local, ends.remote].map(|end| format!(":{:04X}", end.port()));
    let mut tables = fs::read_to_string("/proc/net/tcp")?;
    // Missing without IPv6.
    tables += &fs::read_to_string("/proc/net/tcp6").unwrap_or_default();
    let state = tables.lines().find_map(|row| {
        let mut columns = row.split_whitespace().skip(1);
        let mut next_is = |port: &str| columns.next().is_some_and(|end| end.ends_with(port));
        if next_is(&local) && next_is(&remote) { columns.next() } else { None }
    });
    Ok(state.map(|state| u8::from_str_radix(state, 16)).transpose()?)
}

/// Waits until the peer has acknowledged this end's FIN.
pub(super) fn until_end_taken(socket: &Socket) -> Result<()> {
    /// `TCP_FIN_WAIT2` in `include/net/tcp_states.h`.
    const FIN_WAIT2: u8 = 5;
    until("the peer takes no FIN", || Ok(info(socket)?.tcpi_state == FIN_WAIT2))
}

/// Waits until this end, which has closed first, has processed the acknowledgment of its FIN.
pub(super) fn until_end_known(ends: Ends) -> Result<()> {
    /// `TCP_FIN_WAIT1` in `include/net/tcp_states.h`.
    const FIN_WAIT1: u8 = 4;
    until("the FIN is not acknowledged", || Ok(state(ends)? != Some(FIN_WAIT1)))
}

/// Waits until this end's connection is closed too.
pub(super) fn until_closed(socket: &Socket) -> Result<()> {
    /// `TCP_CLOSE` in `include/net/tcp_states.h`.
    const CLOSE: u8 = 7;
    until("the connection does not end", || Ok(info(socket)?.tcpi_state == CLOSE))
}

/// Waits until a condition holds; `problem` is the message if it never does.
pub(super) fn until(problem: &str, is_done: impl Fn() -> Result<bool>) -> Result<()> {
    let started = Instant::now();
    while !is_done()? {
        ensure!(started.elapsed() < PATIENCE, "{problem} after {PATIENCE:?}");
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Whether a connect is still in progress. Leaves the socket's errno in place.
pub(super) fn is_connecting(socket: &Socket) -> Result<bool> {
    /// `TCP_SYN_SENT` in `include/net/tcp_states.h`.
    const SYN_SENT: u8 = 2;
    Ok(info(socket)?.tcpi_state == SYN_SENT)
}

/// Kills the TCP socket with this local end from another process, whose pid is returned.
pub(super) fn kill(end: SocketAddr) -> Result<u32> {
    modules::require("tcp_diag")?;
    let filter = format!("sport = :{}", end.port());
    let mut killer =
        Command::new("ss").args(["-K", "-t", "-n", &filter]).stdout(Stdio::null()).spawn()?;
    ensure!(killer.wait()?.success(), "ss -K failed");
    Ok(killer.id())
}

/// Makes the socket vanish without sending a packet, as when its host crashes and restarts.
pub(super) fn forget(socket: Socket) -> Result<()> {
    set_option(&socket, libc::IPPROTO_TCP, libc::TCP_REPAIR, 1)?;
    drop(socket);
    Ok(())
}

/// Sets an integer socket option.
pub(super) fn set_option(socket: &Socket, level: i32, option: i32, value: i32) -> io::Result<()> {
    set_option_bytes(socket, level, option, &value.to_ne_bytes())
}

fn set_option_bytes(socket: &Socket, level: i32, option: i32, value: &[u8]) -> io::Result<()> {
    let length = value.len().try_into().map_err(io::Error::other)?;
    let (value, fd) = (value.as_ptr().cast(), socket.as_raw_fd());
    // SAFETY: `value` points to `length` bytes.
    let result = unsafe { libc::setsockopt(fd, level, option, value, length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Signs segments to a peer with this key, and accepts only segments from there that are signed with it.
pub(super) fn set_md5_key(socket: &Socket, peer: SocketAddr, key: &[u8]) -> Result<()> {
    // `struct tcp_md5sig` in `include/uapi/linux/tcp.h`: an address, the length of the key, the key.
    const TCP_MD5SIG: i32 = 14;
    const KEY_LENGTH: usize = 130;
    const KEY: usize = 136;
    const SIZE: usize = 216;

    let (family, address, octets) = match peer.ip() {
        IpAddr::V4(ip) => (libc::AF_INET, 4, ip.octets().to_vec()),
        IpAddr::V6(ip) => (libc::AF_INET6, 8, ip.octets().to_vec()),
    };
    let mut option = [0; SIZE];
    let mut put = |at: usize, bytes: &[u8]| option[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &u16::try_from(family)?.to_ne_bytes());
    put(address, &octets);
    put(KEY_LENGTH, &u16::try_from(key.len())?.to_ne_bytes());
    put(KEY, key);
    set_option_bytes(socket, libc::IPPROTO_TCP, TCP_MD5SIG, &option).context("TCP_MD5SIG")
}

/// Starts a non-blocking connect.
pub(super) fn start_connect(socket: &Socket, address: SocketAddr) -> Result<()> {
    socket.set_nonblocking(true)?;
    let errno = errno("connect", socket.connect(&address.into()))?;
    ensure!(errno == libc::EINPROGRESS, "connect failed with errno {errno}, not EINPROGRESS");
    Ok(())
}

/// Waits until a connect is finished, and returns `SO_ERROR`; 0 for success.
pub(super) fn finish_connect(socket: &Socket) -> Result<i32> {
    until_ready(socket, PollFlags::POLLOUT)?;
    let error = socket.take_error()?;
    error.map_or(Ok(0), |error| error.raw_os_error().context("no errno"))
}

/// Waits until the connection is reset, which on several processors may take a moment.
pub(super) fn until_reset(socket: &Socket) -> Result<()> {
    // POLLERR and POLLHUP are reported even if not requested.
    until_ready(socket, PollFlags::empty())
}

fn until_ready(socket: &Socket, events: PollFlags) -> Result<()> {
    let mut polled = [PollFd::new(socket.as_fd(), events)];
    let ready = poll(&mut polled, PollTimeout::try_from(PATIENCE)?)?;
    ensure!(ready == 1, "nothing happens in {PATIENCE:?}");
    Ok(())
}

/// A port that was free a moment ago: bound, and closed again.
pub(super) fn closed_port(family: Family) -> Result<SocketAddr> {
    local(&bound(family.loopback())?)
}

/// Checks the errno of a call.
pub(super) fn ensure_errno(call: &str, got: i32, wanted: i32) -> Result<()> {
    let name = Errno::from_raw;
    ensure!(got == wanted, "{call} failed with {:?}, not {:?}", name(got), name(wanted));
    Ok(())
}

/// Errno of a call that must fail.
pub(super) fn errno<T>(call: &str, result: io::Result<T>) -> Result<i32> {
    match result {
        Ok(_) => bail!("{call} succeeded"),
        Err(error) => error.raw_os_error().with_context(|| format!("{call}: {error}")),
    }
}

/// Errno of a read that must fail.
pub(super) fn read_errno(socket: &Socket) -> Result<i32> {
    errno("read", read(socket))
}

/// Checks that a read returns 0: the peer has closed.
pub(super) fn read_end(socket: &Socket) -> Result<()> {
    let count = read(socket)?;
    ensure!(count == 0, "read returned {count} bytes where the end was due");
    Ok(())
}

/// Errno of a write that must fail; no SIGPIPE.
pub(super) fn write_errno(socket: &Socket) -> Result<i32> {
    errno("write", write(socket))
}

/// Reads a few bytes.
pub(super) fn read(mut socket: &Socket) -> io::Result<usize> {
    socket.read(&mut [0; 16])
}

/// Number of bytes that [`write()`] writes.
pub(super) const WRITTEN: usize = 5;

/// Writes a few bytes; no SIGPIPE.
pub(super) fn write(socket: &Socket) -> io::Result<usize> {
    socket.send_with_flags(b"hello", libc::MSG_NOSIGNAL)
}

/// Writes until the peer's window is closed and the send buffer is full; returns the
/// number of bytes written.
///
/// On return, the peer has acknowledged everything that it will take.
pub(super) fn fill(socket: &Socket) -> Result<usize> {
    let chunk = vec![0_u8; 64 * 1024];
    socket.set_nonblocking(true)?;
    let mut written = 0;
    let mut last_progress = Instant::now();
    while last_progress.elapsed() < Duration::from_secs(1) {
        match socket.send_with_flags(&chunk, libc::MSG_NOSIGNAL) {
            Ok(count) => {
                written += count;
                last_progress = Instant::now();
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                thread::sleep(Duration::from_millis(50));
            }
            Err(error) => return Err(error.into()),
        }
    }
    socket.set_nonblocking(false)?;
    Ok(written)
}

/// Number of bytes written but not sent yet.
pub(super) fn unsent(socket: &Socket) -> Result<u64> {
    /// `SIOCOUTQNSD` in `include/uapi/linux/sockios.h`.
    const OUTQ_NOT_SENT: libc::Ioctl = 0x894b;
    let mut count: libc::c_int = 0;
    // SAFETY: the kernel writes one int there.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), OUTQ_NOT_SENT, &raw mut count) };
    ensure!(result == 0, "no SIOCOUTQNSD: {}", io::Error::last_os_error());
    Ok(count.try_into()?)
}

/// A question and an answer.
pub(super) fn exchange(client: &Socket, server: &Socket) -> Result<()> {
    send(client, b"question")?;
    receive(server, b"question")?;
    send(server, b"answer")?;
    receive(client, b"answer")
}

/// Sends all bytes.
pub(super) fn send(mut socket: &Socket, bytes: &[u8]) -> Result<()> {
    Ok(socket.write_all(bytes)?)
}

/// Receives exactly these bytes.
pub(super) fn receive(mut socket: &Socket, bytes: &[u8]) -> Result<()> {
    let mut buffer = vec![0; bytes.len()];
    socket.read_exact(&mut buffer)?;
    ensure!(buffer == bytes, "other bytes came than were sent");
    Ok(())
}

/// Number of times the oldest unacknowledged segment was retransmitted.
pub(super) fn retransmits(socket: &Socket) -> Result<u8> {
    Ok(info(socket)?.tcpi_retransmits)
}

fn info(socket: &Socket) -> Result<libc::tcp_info> {
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut length = size_of::<libc::tcp_info>().try_into()?;
    // SAFETY: `info` has `length` bytes.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    ensure!(result == 0, "no TCP_INFO: {}", io::Error::last_os_error());
    // SAFETY: all fields are integers, for which 0 is valid.
    Ok(unsafe { info.assume_init() })
}
