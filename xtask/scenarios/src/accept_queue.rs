//! Connections waiting to be accepted: their listener is closed, or its queue is full.

use std::time::Instant;

use anyhow::Result;
use socket2::Socket;
use socktrace_diagnosis::Cause;

use super::{
    expected::Expected,
    listener::overflow,
    network::{Family, Network, Silence},
    process::Process,
    socket::{self, Ends},
};

/// The listener is closed while a connection waits in its queue: the client is reset.
pub(super) fn by_closing_listener(family: Family) -> Result<Vec<Expected>> {
    let listener = socket::listener(family.loopback(), 1)?;
    let client = socket::connect(&listener)?;
    let ends = Ends::of_client(&client)?;
    drop(listener);
    let errno = socket::read_errno(&client)?;
    let failure = Expected::failure(Cause::ResetByPeer, "read_or_write", errno, ends);
    Ok(vec![failure.reset_by_listener()])
}

/// The same with data that the kernel has received for the listener's program.
pub(super) fn by_closing_listener_with_data(family: Family) -> Result<Vec<Expected>> {
    let listener = socket::listener(family.loopback(), 1)?;
    let client = socket::connect(&listener)?;
    let ends = Ends::of_client(&client)?;
    socket::write(&client)?;
    drop(listener);
    let errno = socket::read_errno(&client)?;
    let failure = Expected::failure(Cause::ResetByPeer, "read_or_write", errno, ends);
    Ok(vec![failure.reset_by_listener()])
}

/// A listener on the other host with a full accept queue, and a client whose handshake that host
/// has not completed.
struct FullQueue {
    network: Network,
    listener: Socket,
    /// Process that called listen.
    opener: Process,
    filler: Socket,
    client: Socket,
}

impl FullQueue {
    /// Applies an IPv4 setting on the other host, which also governs TCP over IPv6.
    fn new(family: Family, setting: &'static str, value: u32) -> Result<Self> {
        let network = Network::get()?;
        network.set_in_peer(setting, value)?;
        // Room for one connection.
        let (listener, opener) =
            network.in_peer(|| Ok((socket::listener(family.peer(), 0)?, Process::this())))?;
        let cut = network.cut(Silence::LastOfHandshake)?;
        let client = socket::connect(&listener)?;
        drop(cut);
        let filler = socket::connect(&listener)?;
        Ok(Self { network, listener, opener, filler, client })
    }

    /// Closes the remaining connections in order. The accept finds the drops, unless the daemon has
    /// just polled them.
    fn close(self, setting: &'static str, usual: u32) -> Result<Expected> {
        /// More than the client retransmits in the meantime.
        const MOST: u64 = 32;
        let Self { network, listener, opener, filler, .. } = self;
        network.set_in_peer(setting, usual)?;
        let dropped = network.in_peer(|| {
            let (server, _) = listener.accept()?;
            drop(filler);
            socket::read_end(&server)?;
            overflow(&listener, (1, MOST), 0)
        })?;
        Ok(dropped.or_by(opener).within("accept_queue", 0, 1))
    }
}

/// The other host's accept queue is full when the handshake completes. Data is never acknowledged,
/// and answered with an RST once the other host has given up the handshake.
pub(super) fn without_answer(family: Family) -> Result<Vec<Expected>> {
    const RETRIES: &str = "tcp_synack_retries";
    const USUAL: u32 = 5;

    let full = FullQueue::new(family, RETRIES, 1)?;
    let ends = Ends::of_client(&full.client)?;
    let written = Instant::now();
    let count = socket::write(&full.client)?;
    let errno = socket::read_errno(&full.client)?;
    let failure = Expected::failure(Cause::ResetWithoutAnswer, "read_or_write", errno, ends);
    let failure = failure.lasted("elapsed_ms", written.elapsed(), written.elapsed());
    let failure = failure.within("retransmits", 1, 8).within("rto_ms", 400, 60_000);
    let dropped = full.close(RETRIES, USUAL)?;
    Ok(vec![
        dropped,
        failure.with("unacked_bytes", count).saying("its accept queue is probably full"),
    ])
}

/// The other host answers with an RST at once.
pub(super) fn by_full_queue(family: Family) -> Result<Vec<Expected>> {
    const ABORT: &str = "tcp_abort_on_overflow";

    let full = FullQueue::new(family, ABORT, 1)?;
    let ends = Ends::of_client(&full.client)?;
    let count = socket::write(&full.client)?;
    let errno = socket::read_errno(&full.client)?;
    let dropped = full.close(ABORT, 0)?;
    let failure = Expected::failure(Cause::ResetByPeer, "read_or_write", errno, ends);
    let failure = failure.flags(&["unanswered"]).with("unacked_bytes", count);
    Ok(vec![dropped, failure.saying("its accept queue may be full")])
}
