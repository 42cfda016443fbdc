//! Typical work of programs with sockets, over loopback and in one thread.

use std::{
    io::{self, Read as _},
    mem::MaybeUninit,
    net::{Ipv4Addr, SocketAddr},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    libc,
    sys::wait::waitpid,
    unistd::{ForkResult, fork},
};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::native;

/// Longer than the kernel remembers a closed connection. Remembered connections make free ports
/// harder to find.
const FORGOTTEN: Duration = Duration::from_secs(61);

/// One kind of work.
pub(super) struct Workload {
    pub(super) name: &'static str,
    /// Prepares the work.
    start: fn() -> Result<Work>,
    /// Whether it leaves connections in TIME-WAIT behind.
    lingers: bool,
    /// Whether it is a call that fails in a loop, which a tool should count instead of showing each
    /// failure.
    pub(super) is_loop: bool,
}

pub(super) type Work = Box<dyn FnMut() -> Result<()>>;

/// All workloads.
pub(super) const ALL: [Workload; 12] = [
    Workload { lingers: true, ..Workload::new(ORDERLY, orderly) },
    Workload::new("reset_before_accept", reset_before_accept),
    Workload::new(RESET, reset_after_accept),
    Workload::new("send", send),
    Workload::new("udp_socket", udp_socket),
    Workload::new("udp_echo", udp_echo),
    Workload::new("connect_refused", connect_refused),
    Workload::new("unix_connection", unix_connection),
    Workload::new("process", process),
    Workload::new("unix_send", unix_send),
    Workload { is_loop: true, ..Workload::new(EPIPE, write_after_reset) },
    Workload { is_loop: true, ..Workload::new("setsockopt_rejected", setsockopt_rejected) },
];

pub(super) const ORDERLY: &str = "orderly";
pub(super) const RESET: &str = "reset_after_accept";
pub(super) const EPIPE: &str = "write_after_reset";

/// Looks up a workload by its name.
pub(super) fn named(name: &str) -> Result<&'static Workload> {
    const { &ALL }.iter().find(|workload| workload.name == name).context("no such workload")
}

impl Workload {
    const fn new(name: &'static str, start: fn() -> Result<Work>) -> Self {
        Self { name, start, lingers: false, is_loop: false }
    }

    /// Prepares the work, and runs it a few times as a warm-up.
    pub(super) fn start(&self) -> Result<Work> {
        // Costs almost nothing where the clock skips idle time, and takes too long where it does
        // not.
        if self.lingers && !native::is_host() {
            thread::sleep(FORGOTTEN);
        }
        let mut work = (self.start)()?;
        for _ in 0..32 {
            work()?;
        }
        Ok(work)
    }
}

/// A listening socket and its address.
pub(super) struct Listener {
    socket: Socket,
    address: SockAddr,
}

impl Listener {
    /// Listens at this address of the loopback interface, on any port.
    pub(super) fn at(address: Ipv4Addr) -> Result<Self> {
        let socket = stream()?;
        socket.bind(&SocketAddr::from((address, 0)).into())?;
        socket.listen(64)?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }

    fn new() -> Result<Self> {
        Self::at(Ipv4Addr::LOCALHOST)
    }

    fn connect(&self) -> Result<Socket> {
        let client = stream()?;
        client.connect(&self.address)?;
        Ok(client)
    }

    fn accept(&self) -> Result<Socket> {
        Ok(self.socket.accept()?.0)
    }

    /// Opens a connection, and returns both ends.
    pub(super) fn pair(&self) -> Result<(Socket, Socket)> {
        let client = self.connect()?;
        Ok((client, self.accept()?))
    }
}

fn stream() -> io::Result<Socket> {
    Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))
}

fn reset(socket: Socket) -> Result<()> {
    socket.set_linger(Some(Duration::ZERO))?;
    drop(socket);
    Ok(())
}

/// Reads, and expects ECONNRESET.
fn read_reset(mut socket: &Socket) -> Result<()> {
    let errno = socket.read(&mut [0; 8]).err().and_then(|error| error.raw_os_error());
    ensure!(errno == Some(libc::ECONNRESET), "read ended with {errno:?}");
    Ok(())
}

fn orderly() -> Result<Work> {
    let listener = Listener::new()?;
    Ok(Box::new(move || {
        let (client, mut server) = listener.pair()?;
        drop(client);
        ensure!(server.read(&mut [0; 8])? == 0, "the connection has no end");
        Ok(())
    }))
}

fn reset_before_accept() -> Result<Work> {
    let listener = Listener::new()?;
    Ok(Box::new(move || {
        reset(listener.connect()?)?;
        read_reset(&listener.accept()?)
    }))
}

fn reset_after_accept() -> Result<Work> {
    let listener = Listener::new()?;
    Ok(Box::new(move || {
        let (client, server) = listener.pair()?;
        reset(client)?;
        read_reset(&server)
    }))
}

fn send() -> Result<Work> {
    let (client, server) = Listener::new()?.pair()?;
    Ok(Box::new(move || {
        let mut byte = [MaybeUninit::uninit()];
        ensure!(client.send(b"x")? == 1 && server.recv(&mut byte)? == 1, "no byte came");
        Ok(())
    }))
}

fn datagram() -> io::Result<Socket> {
    Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))
}

/// Creates a socket, connects it as a resolver does, and closes it. The port is fixed, as the
/// number of ports that the kernel tries before it finds a free one is random.
fn udp_socket() -> Result<Work> {
    const PORT: u16 = 5_353;
    let server = datagram()?;
    server.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    let address = server.local_addr()?;
    Ok(Box::new(move || {
        let _server = &server;
        let client = datagram()?;
        client.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, PORT)).into())?;
        client.connect(&address)?;
        Ok(())
    }))
}

/// Sends a question and receives its answer.
fn udp_echo() -> Result<Work> {
    let server = datagram()?;
    server.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    let client = datagram()?;
    client.connect(&server.local_addr()?)?;
    Ok(Box::new(move || {
        let mut byte = [MaybeUninit::uninit()];
        ensure!(client.send(b"x")? == 1, "nothing is sent");
        let (length, from) = server.recv_from(&mut byte)?;
        ensure!(length == 1 && server.send_to(b"y", &from)? == 1, "no byte came");
        ensure!(client.recv(&mut byte)? == 1, "no answer came");
        Ok(())
    }))
}

fn connect_refused() -> Result<Work> {
    // Bound but not listening: nobody else gets this port.
    let socket = stream()?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    let address = socket.local_addr()?;
    Ok(Box::new(move || {
        let _owner = &socket;
        let errno = stream()?.connect(&address).err().and_then(|error| error.raw_os_error());
        ensure!(errno == Some(libc::ECONNREFUSED), "connect ended with {errno:?}");
        Ok(())
    }))
}

fn unix_stream() -> io::Result<Socket> {
    Socket::new(Domain::UNIX, Type::STREAM, None)
}

fn unix_connection() -> Result<Work> {
    let address = SockAddr::unix(format!("\0bench-{}", std::process::id()))?;
    let listener = unix_stream()?;
    listener.bind(&address)?;
    listener.listen(64)?;
    Ok(Box::new(move || {
        let client = unix_stream()?;
        client.connect(&address)?;
        let (server, _) = listener.accept()?;
        drop(client);
        let mut byte = [MaybeUninit::uninit()];
        ensure!(server.recv(&mut byte)? == 0, "a byte came");
        Ok(())
    }))
}

/// Starts a process that exits at once, and waits for it.
#[expect(clippy::unnecessary_wraps, reason = "as of all workloads")]
fn process() -> Result<Work> {
    Ok(Box::new(|| {
        // SAFETY: the child only exits.
        match unsafe { fork() }? {
            // SAFETY: takes an integer and does not return.
            ForkResult::Child => unsafe { libc::_exit(0) },
            ForkResult::Parent { child } => waitpid(child, None)?,
        };
        Ok(())
    }))
}

fn unix_send() -> Result<Work> {
    let (client, server) = Socket::pair(Domain::UNIX, Type::STREAM, None)?;
    Ok(Box::new(move || {
        let mut byte = [MaybeUninit::uninit()];
        ensure!(client.send(b"x")? == 1 && server.recv(&mut byte)? == 1, "no byte came");
        Ok(())
    }))
}

fn write_after_reset() -> Result<Work> {
    let (client, server) = Listener::new()?.pair()?;
    reset(client)?;
    read_reset(&server)?;
    Ok(Box::new(move || {
        let result = server.send_with_flags(b"x", libc::MSG_NOSIGNAL);
        let errno = result.err().and_then(|error| error.raw_os_error());
        ensure!(errno == Some(libc::EPIPE), "write ended with {errno:?}");
        Ok(())
    }))
}

fn setsockopt_rejected() -> Result<Work> {
    let socket = stream()?;
    Ok(Box::new(move || {
        let value = 1;
        // SAFETY: an int is passed with its size.
        let result = unsafe {
            libc::setsockopt(
                std::os::fd::AsRawFd::as_raw_fd(&socket),
                libc::SOL_SOCKET,
                9_999,
                (&raw const value).cast(),
                4,
            )
        };
        ensure!(result == -1, "setsockopt succeeded");
        Ok(())
    }))
}
