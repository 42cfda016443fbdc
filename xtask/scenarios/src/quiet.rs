//! Everyday behavior of programs that is not a failure: socktrace must not report it.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    net::Shutdown,
    os::fd::AsRawFd as _,
    ptr,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::libc;
use socket2::{SockAddr, Socket};

use super::{
    expected::Expected,
    network::{Family, Network, Silence},
    socket::{self, Pair, ensure_errno},
};

const OFTEN: usize = 50;

/// Nothing to report.
const SILENCE: Vec<Expected> = Vec::new();

/// A server that calls accept before there are connections.
pub(super) fn nonblocking_accept(family: Family) -> Result<Vec<Expected>> {
    let listener = socket::listener(family.loopback(), 8)?;
    listener.set_nonblocking(true)?;
    for _ in 0..OFTEN {
        let errno = socket::errno("accept", listener.accept())?;
        ensure_errno("accept", errno, libc::EAGAIN)?;
    }
    let pair = Pair::through(&listener)?;
    close(pair.client, pair.server)?;
    Ok(SILENCE)
}

/// A writer whose buffer is full, and a reader with nothing to read.
pub(super) fn nonblocking_write(family: Family) -> Result<Vec<Expected>> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    client.set_nonblocking(true)?;
    let mut read = &client;
    let errno = socket::errno("read", read.read(&mut [0; 16]))?;
    ensure_errno("read", errno, libc::EAGAIN)?;
    let chunk = vec![0; 64 * 1024];
    for _ in 0..OFTEN {
        match (&client).write(&chunk) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
    client.shutdown(Shutdown::Write)?;
    (&server).read_to_end(&mut Vec::new())?;
    close(server, client)?;
    Ok(SILENCE)
}

/// A read that times out as set by the program.
pub(super) fn read_timeout(family: Family) -> Result<Vec<Expected>> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    client.set_read_timeout(Some(Duration::from_millis(20)))?;
    let errno = socket::read_errno(&client)?;
    ensure_errno("read", errno, libc::EAGAIN)?;
    close(client, server)?;
    Ok(SILENCE)
}

/// A non-blocking connect, and connects on sockets that are connected or listening.
pub(super) fn nonblocking_connect(family: Family) -> Result<Vec<Expected>> {
    let listener = socket::listener(family.loopback(), 8)?;
    let address = socket::local(&listener)?;
    let client = socket::stream(address)?;
    socket::start_connect(&client, address)?;
    ensure!(socket::finish_connect(&client)? == 0, "the connect fails");
    // The first call after the handshake reports success; the next fails, since that was already reported.
    client.connect(&address.into())?;
    for socket in [&client, &listener] {
        let errno = socket::errno("connect", socket.connect(&address.into()))?;
        ensure_errno("connect", errno, libc::EISCONN)?;
    }
    let (server, _) = listener.accept()?;
    close(client, server)?;
    Ok(SILENCE)
}

/// A connect that succeeds with the second SYN, and a program that calls connect again in between.
pub(super) fn slow_connect(family: Family) -> Result<Vec<Expected>> {
    let network = Network::get()?;
    let listener = network.in_peer(|| socket::listener(family.peer(), 1))?;
    let address = socket::local(&listener)?;
    let client = socket::bound(family.host())?;
    let cut = network.cut(Silence::Drop)?;
    socket::start_connect(&client, address)?;
    let errno = socket::errno("connect", client.connect(&address.into()))?;
    ensure_errno("connect", errno, libc::EALREADY)?;
    drop(cut);
    ensure!(socket::finish_connect(&client)? == 0, "the connect fails");
    let (server, _) = listener.accept()?;
    close(client, server)?;
    Ok(SILENCE)
}

/// Many questions and answers on a connection, which either side closes.
pub(super) fn keep_alive(family: Family) -> Result<Vec<Expected>> {
    let listener = socket::listener(family.loopback(), 8)?;
    for client_closes in [true, false] {
        let Pair { client, server } = Pair::through(&listener)?;
        for _ in 0..OFTEN {
            socket::exchange(&client, &server)?;
        }
        if client_closes { close(client, server) } else { close(server, client) }?;
    }
    Ok(SILENCE)
}

/// A pool of connections that are idle for a long time and are closed by either side.
pub(super) fn idle_pool(family: Family) -> Result<Vec<Expected>> {
    let listener = socket::listener(family.loopback(), 8)?;
    let pool = [(); 8].map(|()| Pair::through(&listener));
    let pool = pool.into_iter().collect::<Result<Vec<_>>>()?;
    for Pair { client, server } in &pool {
        socket::exchange(client, server)?;
    }
    std::thread::sleep(Duration::from_mins(5));
    for (index, Pair { client, server }) in pool.into_iter().enumerate() {
        if index % 2 == 0 { close(client, server) } else { close(server, client) }?;
    }
    Ok(SILENCE)
}

/// Listeners that share a port.
pub(super) fn shared_port(family: Family) -> Result<Vec<Expected>> {
    let mut address = family.loopback();
    let mut listeners = Vec::new();
    for _ in 0..2 {
        let listener = socket::stream(address)?;
        listener.set_reuse_port(true)?;
        listener.bind(&address.into())?;
        listener.listen(64)?;
        listener.set_nonblocking(true)?;
        address = socket::local(&listener)?;
        listeners.push(listener);
    }
    for _ in 0..OFTEN {
        let client = socket::connect(&listeners[0])?;
        let accepted = listeners.iter().find_map(|listener| listener.accept().ok());
        let (server, _) = accepted.context("no listener has the connection")?;
        server.set_nonblocking(false)?;
        close(client, server)?;
    }
    Ok(SILENCE)
}

/// Calls that only show a program that its socket is not connected.
pub(super) fn not_connected(family: Family) -> Result<Vec<Expected>> {
    let socket = socket::bound(family.loopback())?;
    // The shutdown comes last, because it takes effect despite its errno.
    let errnos = [
        socket::errno("getpeername", socket.peer_addr())?,
        socket::read_errno(&socket)?,
        socket::errno("shutdown", socket.shutdown(Shutdown::Both))?,
    ];
    ensure!(errnos == [libc::ENOTCONN; 3], "failed with {errnos:?}");
    Ok(SILENCE)
}

/// Calls on a descriptor that is not a socket: the program's intention is unknown.
pub(super) fn no_socket(family: Family) -> Result<Vec<Expected>> {
    let address = SockAddr::from(family.loopback());
    let file = File::open("/dev/null")?;
    for (descriptor, wanted) in [(file.as_raw_fd(), libc::ENOTSOCK), (-1, libc::EBADF)] {
        let size = address.len();
        // SAFETY: the address has that length.
        let bound = unsafe { libc::bind(descriptor, address.as_ptr().cast(), size) };
        ensure_errno("bind", failed(bound)?, wanted)?;
        // SAFETY: takes numbers.
        let listens = unsafe { libc::listen(descriptor, 1) };
        ensure_errno("listen", failed(listens)?, wanted)?;
        // SAFETY: no address is requested.
        let accepted = unsafe { libc::accept(descriptor, ptr::null_mut(), ptr::null_mut()) };
        ensure_errno("accept", failed(accepted)?, wanted)?;
    }
    Ok(SILENCE)
}

/// Errno of a libc call that must have failed.
fn failed(result: i32) -> Result<i32> {
    socket::errno("a call", if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) })
}

/// Closes one end, then the other once it has seen the end.
fn close(first: Socket, second: Socket) -> Result<()> {
    drop(first);
    second.set_nonblocking(false)?;
    socket::read_end(&second)?;
    drop(second);
    Ok(())
}
