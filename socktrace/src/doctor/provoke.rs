//! Socket failures provoked on loopback, each in one known way, within milliseconds.
//!
//! Meant for network namespaces with only loopback, free of other programs' sockets.

use std::{
    fs, io,
    mem::MaybeUninit,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::AsRawFd as _,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::libc;
use socket2::{Domain, SockAddr, SockFilter, Socket, Type};

/// Loopback, any port.
const IPV4: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const IPV6: SocketAddr = SocketAddr::new(std::net::IpAddr::V6(Ipv6Addr::LOCALHOST), 0);

/// An address that is unreachable from a host with only loopback.
const ELSEWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9);

/// Upper bound for operations that normally take milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// A quarter of a second without an acknowledgement; expires with the second 200 ms timeout.
const USER_TIMEOUT: Duration = Duration::from_millis(250);

/// Longer than a tick of the kernel's clock. Events within one tick have no order.
const MOMENT: Duration = Duration::from_millis(20);

/// A TCP option that no kernel has.
const NO_OPTION: libc::c_int = 9_999;

/// The SYN is answered by an RST: the port is bound, but nobody listens.
pub(super) fn refused() -> Result<()> {
    let (_holder, address) = bound(IPV4)?;
    let client = stream(IPV4)?;
    expect("connect", client.connect(&address), libc::ECONNREFUSED)
}

/// No Unix socket has this abstract name.
pub(super) fn unix_refused() -> Result<()> {
    let client = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    let nobody = SockAddr::unix(format!("\0socktrace-self-test-{}", std::process::id()))?;
    expect("connect", client.connect(&nobody), libc::ECONNREFUSED)
}

/// The other end of a pair is closed. The write raises SIGPIPE, which this program ignores.
pub(super) fn unix_write_after_close() -> Result<()> {
    let (near, far) = Socket::pair(Domain::UNIX, Type::STREAM, None)?;
    drop(far);
    expect("send", near.send(b"more"), libc::EPIPE)
}

/// No Unix socket exists at this path.
pub(super) fn unix_not_sent() -> Result<()> {
    let client = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
    let nowhere = SockAddr::unix("/socktrace-self-test/nowhere")?;
    expect("sendto", client.send_to(b"question", &nowhere), libc::ENOENT)
}

/// The peer resets a live connection.
pub(super) fn reset() -> Result<()> {
    let (client, server) = pair()?;
    close_with_reset(client)?;
    expect("read", receive(&server), libc::ECONNRESET)
}

/// Data is never acknowledged: a filter on the peer's socket drops all segments.
pub(super) fn timed_out() -> Result<()> {
    let (client, server) = pair()?;
    client.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    drop_all(&server)?;
    client.send(b"question")?;
    expect("read", receive(&client), libc::ETIMEDOUT)?;
    close_with_reset(server)
}

/// The client resets its connection before it is accepted. Accept succeeds.
pub(super) fn aborted_before_accept() -> Result<()> {
    /// `TCP_SYN_RECV` in `include/net/tcp_states.h`.
    const SYN_RECV: u8 = 3;
    let listener = listener()?;
    let client = stream(IPV4)?;
    client.connect(&listener.local_addr()?)?;
    let ports = [port(&listener.local_addr()?)?, port(&client.local_addr()?)?];
    // The accepting side has no file descriptor yet, so its state is read from `/proc`. If the RST
    // overtook the last ACK of the handshake, there would be nothing to accept.
    let is_there = || Ok(state(ports)?.is_some_and(|state| state != SYN_RECV));
    until("the connection is not established", is_there)?;
    close_with_reset(client)?;
    until("the connection is still open", || Ok(state(ports)?.is_none()))?;
    let (server, _) = listener.accept().context("accept must succeed")?;
    expect("read", receive(&server), libc::ECONNRESET)
}

/// The program closes a socket that is still connecting: a filter drops the SYN.
pub(super) fn cancelled() -> Result<()> {
    let listener = listener()?;
    drop_all(&listener)?;
    let client = stream(IPV4)?;
    client.set_nonblocking(true)?;
    expect("connect", client.connect(&listener.local_addr()?), libc::EINPROGRESS)
}

/// A stream socket connects without a route.
pub(super) fn no_route() -> Result<()> {
    let client = stream(IPV4)?;
    expect("connect", client.connect(&ELSEWHERE.into()), libc::ENETUNREACH)
}

/// A datagram socket connects without a route.
pub(super) fn udp_no_route() -> Result<()> {
    let client = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    expect("connect", client.connect(&ELSEWHERE.into()), libc::ENETUNREACH)
}

/// A datagram is answered by ICMP: the port is not bound.
pub(super) fn udp_refused() -> Result<()> {
    let client = datagram()?;
    let nobody = datagram()?.local_addr()?;
    client.connect(&nobody)?;
    client.send(b"question")?;
    expect("recv", receive(&client), libc::ECONNREFUSED)
}

/// A datagram does not fit because an earlier one has used up the receive buffer.
pub(super) fn udp_dropped() -> Result<()> {
    let server = datagram()?;
    server.set_recv_buffer_size(1)?;
    let client = datagram()?;
    for _ in 0..2 {
        client.send_to(&[0; 4_096], &server.local_addr()?)?;
    }
    Ok(())
}

/// A datagram is sent without a route.
pub(super) fn udp_not_sent() -> Result<()> {
    let client = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    expect("sendto", client.send_to(b"question", &ELSEWHERE.into()), libc::ENETUNREACH)
}

/// A UDP socket bound to loopback.
fn datagram() -> Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    socket.bind(&IPV4.into())?;
    Ok(socket)
}

/// The program writes after shutting down its sending side.
pub(super) fn write_after_shutdown() -> Result<()> {
    let (client, server) = pair()?;
    client.shutdown(std::net::Shutdown::Write)?;
    let written = client.send_with_flags(b"more", libc::MSG_NOSIGNAL);
    expect("send", written, libc::EPIPE)?;
    ensure!(receive(&server)? == 0, "the peer reads data");
    drop(server);
    ensure!(receive(&client)? == 0, "the program reads data");
    Ok(())
}

/// The peer reads a request and closes without answering.
pub(super) fn premature_eof() -> Result<()> {
    let (client, server) = pair()?;
    thread::sleep(MOMENT);
    client.send(b"question")?;
    ensure!(receive(&server)? > 0, "no question came");
    drop(server);
    ensure!(receive(&client)? == 0, "an answer came");
    Ok(())
}

/// The IPv4 address is already in use.
pub(super) fn bind() -> Result<()> {
    bind_twice(IPV4)
}

/// The IPv6 address is already in use.
pub(super) fn bind6() -> Result<()> {
    bind_twice(IPV6)
}

fn bind_twice(address: SocketAddr) -> Result<()> {
    let (_holder, taken) = bound(address)?;
    expect("bind", stream(address)?.bind(&taken), libc::EADDRINUSE)
}

/// Another socket already listens at the address.
pub(super) fn listen() -> Result<()> {
    let first = stream(IPV4)?;
    first.set_reuse_address(true)?;
    first.bind(&IPV4.into())?;
    let second = stream(IPV4)?;
    second.set_reuse_address(true)?;
    second.bind(&first.local_addr()?)?;
    first.listen(1)?;
    expect("listen", second.listen(1), libc::EADDRINUSE)
}

/// A socket option that does not exist is set.
pub(super) fn set_option() -> Result<()> {
    let socket = stream(IPV4)?;
    let value: libc::c_int = 1;
    // SAFETY: the value lives until the call returns, and its size is passed.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            NO_OPTION,
            (&raw const value).cast(),
            INT_SIZE,
        )
    };
    expect("setsockopt", result_of(result), libc::ENOPROTOOPT)
}

/// A socket option that does not exist is read.
pub(super) fn get_option() -> Result<()> {
    let socket = stream(IPV4)?;
    let mut value: libc::c_int = 0;
    let mut size = INT_SIZE;
    // SAFETY: value and size live until the call returns, and the size is that of the value.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            NO_OPTION,
            (&raw mut value).cast(),
            &raw mut size,
        )
    };
    expect("getsockopt", result_of(result), libc::ENOPROTOOPT)
}

const INT_SIZE: libc::socklen_t = 4;

fn result_of(returned: libc::c_int) -> io::Result<()> {
    if returned == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn stream(address: SocketAddr) -> Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)
        .context("cannot make a socket")?;
    // No call may block forever.
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket)
}

fn bound(address: SocketAddr) -> Result<(Socket, SockAddr)> {
    let socket = stream(address)?;
    socket.bind(&address.into()).with_context(|| format!("cannot bind {address}"))?;
    let address = socket.local_addr()?;
    Ok((socket, address))
}

fn listener() -> Result<Socket> {
    let (socket, _) = bound(IPV4)?;
    socket.listen(1)?;
    Ok(socket)
}

/// A connection: the connecting end, then the accepted end.
fn pair() -> Result<(Socket, Socket)> {
    let listener = listener()?;
    let client = stream(IPV4)?;
    client.connect(&listener.local_addr()?)?;
    let (server, _) = listener.accept()?;
    server.set_read_timeout(Some(PATIENCE))?;
    Ok((client, server))
}

/// Attaches a filter that drops every segment for this socket.
fn drop_all(socket: &Socket) -> Result<()> {
    /// `BPF_RET | BPF_K`.
    const RETURN: u16 = 0x06;
    socket
        .attach_filter(&[SockFilter::new(RETURN, 0, 0, 0)])
        .context("cannot attach a filter to a socket")
}

/// Closes with `SO_LINGER` 0, which sends an RST.
fn close_with_reset(socket: Socket) -> Result<()> {
    socket.set_linger(Some(Duration::ZERO))?;
    drop(socket);
    Ok(())
}

fn receive(socket: &Socket) -> io::Result<usize> {
    let mut buffer = [MaybeUninit::uninit(); 16];
    socket.recv(&mut buffer)
}

fn expect<T>(call: &str, result: io::Result<T>, errno: libc::c_int) -> Result<()> {
    match result {
        Err(error) if error.raw_os_error() == Some(errno) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("{call} failed in another way")),
        Ok(_) => bail!("{call} succeeded"),
    }
}

fn port(address: &SockAddr) -> Result<u16> {
    Ok(address.as_socket().context("no IP address")?.port())
}

/// State of the connection from the first to the second port.
fn state(ports: [u16; 2]) -> Result<Option<u8>> {
    // Not `/proc/net`, which shows the main thread's namespace.
    let table = fs::read_to_string("/proc/thread-self/net/tcp")?;
    let [local, remote] = ports.map(|port| format!(":{port:04X}"));
    let state = table.lines().find_map(|row| {
        let mut columns = row.split_whitespace().skip(1);
        let mut next_is = |port: &str| columns.next().is_some_and(|end| end.ends_with(port));
        if next_is(&local) && next_is(&remote) { columns.next() } else { None }
    });
    Ok(state.map(|state| u8::from_str_radix(state, 16)).transpose()?)
}

fn until(problem: &str, is_done: impl Fn() -> Result<bool>) -> Result<()> {
    let started = Instant::now();
    while !is_done()? {
        ensure!(started.elapsed() < PATIENCE, "{problem} after {PATIENCE:?}");
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}
