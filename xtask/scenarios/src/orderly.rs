//! Well-behaved connections, closed in every order: socktrace must not report them.

use std::{
    fs,
    net::Shutdown,
    sync::{Barrier, mpsc},
    thread,
};

use anyhow::{Context as _, Result};
use socket2::Socket;

use super::{
    expected::Expected,
    network::Family,
    socket::{self, Pair},
};

/// Number of connections per order of closing.
const CONNECTIONS: usize = 2_000;

/// The client closes first; the server reads the end and closes.
pub(super) fn client_first(family: Family) -> Result<Vec<Expected>> {
    many(family, |Pair { client, server }| {
        socket::exchange(&client, &server)?;
        drop(client);
        socket::read_end(&server)
    })
}

/// The server closes first.
pub(super) fn server_first(family: Family) -> Result<Vec<Expected>> {
    many(family, |Pair { client, server }| {
        socket::exchange(&client, &server)?;
        drop(server);
        socket::read_end(&client)
    })
}

/// The client shuts down sending, and the server answers after that, as with `nc` or rsh.
pub(super) fn half_close(family: Family) -> Result<Vec<Expected>> {
    many(family, |Pair { client, server }| {
        socket::send(&client, b"question")?;
        client.shutdown(Shutdown::Write)?;
        socket::receive(&server, b"question")?;
        socket::read_end(&server)?;
        socket::send(&server, b"answer")?;
        drop(server);
        socket::receive(&client, b"answer")?;
        socket::read_end(&client)
    })
}

/// Both ends close at the same moment, from two threads.
pub(super) fn simultaneous(family: Family) -> Result<Vec<Expected>> {
    let barrier = Barrier::new(2);
    let (sender, receiver) = mpsc::channel::<Socket>();
    thread::scope(|scope| {
        scope.spawn(|| {
            for server in receiver {
                barrier.wait();
                drop(server);
                barrier.wait();
            }
        });
        // Dropped with this closure, which also ends the thread.
        let sender = sender;
        many(family, |Pair { client, server }| {
            socket::exchange(&client, &server)?;
            sender.send(server).context("the thread is gone")?;
            barrier.wait();
            drop(client);
            barrier.wait();
            Ok(())
        })
    })
}

/// More `TIME_WAIT` sockets than all connections of a guest leave behind. The default depends on the
/// guest's small memory; beyond it the kernel closes at once, and a late FIN is answered with an RST.
const TIME_WAIT_SOCKETS: &str = "100000";

fn many(family: Family, with: impl Fn(Pair) -> Result<()>) -> Result<Vec<Expected>> {
    fs::write("/proc/sys/net/ipv4/tcp_max_tw_buckets", TIME_WAIT_SOCKETS)?;
    let listener = socket::listener(family.loopback(), 1)?;
    for _ in 0..CONNECTIONS {
        with(Pair::through(&listener)?)?;
    }
    Ok(vec![Expected::lost_end(family.loopback())])
}
