//! Peers that fall silent. All timers run at their defaults unless the program sets them.

use std::time::Duration;

use anyhow::{Result, ensure};
use nix::libc;
use socket2::{Socket, TcpKeepalive};

use super::{
    expected::Expected,
    network::{
        Cut, Family, HOST_UNREACHABLE, Line, NOBODY_LISTENS, Network, Silence, host_unreachable,
    },
    socket::{self, Ends},
};

const READ_OR_WRITE: &str = "read_or_write";

/// Reads until the timer gives up, and clears up so that the peer's end sends nothing later.
fn wait(line: Line, cut: Cut) -> Result<(i32, Ends)> {
    let errno = socket::read_errno(&line.pair.client)?;
    drop(cut);
    socket::close_with_reset(line.pair.server)?;
    Ok((errno, line.ends))
}

/// No SYN is answered.
pub(super) fn connect(family: Family) -> Result<Vec<Expected>> {
    let network = Network::get()?;
    let nobody = family.peer_port(NOBODY_LISTENS);
    let client = socket::bound(family.host())?;
    let ends = Ends::new(socket::local(&client)?, nobody);
    let cut = network.cut(Silence::Drop)?;
    let errno = socket::errno("connect", client.connect(&nobody.into()))?;
    drop(cut);
    Ok(vec![Expected::failure("connect_timeout", "connect", errno, ends)])
}

/// Data is never acknowledged.
pub(super) fn retransmit(family: Family) -> Result<Vec<Expected>> {
    let line = Line::new(family)?;
    let cut = line.network.cut(Silence::Drop)?;
    socket::write(&line.pair.client)?;
    let (errno, ends) = wait(line, cut)?;
    Ok(vec![Expected::failure("retransmit_timeout", READ_OR_WRITE, errno, ends)])
}

/// The program writes on after it was told.
pub(super) fn write_after(family: Family) -> Result<Vec<Expected>> {
    let line = Line::new(family)?;
    let client = line.pair.client.try_clone()?;
    let cut = line.network.cut(Silence::Drop)?;
    socket::write(&client)?;
    let (first, ends) = wait(line, cut)?;
    let errno = socket::write_errno(&client)?;
    let after = Expected::failure("write_after_timeout", "write", errno, ends);
    Ok(vec![
        Expected::failure("retransmit_timeout", READ_OR_WRITE, first, ends),
        after.first(first).sigpipe("none"),
    ])
}

/// The same, with a limit that the program set.
pub(super) fn user(family: Family) -> Result<Vec<Expected>> {
    let line = Line::new(family)?;
    line.pair.client.set_tcp_user_timeout(Some(Duration::from_millis(1500)))?;
    let cut = line.network.cut(Silence::Drop)?;
    socket::write(&line.pair.client)?;
    let (errno, ends) = wait(line, cut)?;
    Ok(vec![Expected::failure("user_timeout", READ_OR_WRITE, errno, ends)])
}

/// The peer keeps answering and keeps its window closed for longer than the program allows.
pub(super) fn user_with_closed_window(family: Family) -> Result<Vec<Expected>> {
    let line = Line::new(family)?;
    line.pair.client.set_tcp_user_timeout(Some(Duration::from_secs(20)))?;
    fill(&line.pair.client)?;
    let cut = line.network.cut(Silence::None)?;
    let (errno, ends) = wait(line, cut)?;
    Ok(vec![Expected::failure("user_timeout", READ_OR_WRITE, errno, ends)])
}

/// Keepalive probes of an idle connection are not answered.
pub(super) fn keepalive(family: Family) -> Result<Vec<Expected>> {
    let line = Line::new(family)?;
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_mins(1))
        .with_interval(Duration::from_secs(10))
        .with_retries(6);
    line.pair.client.set_tcp_keepalive(&keepalive)?;
    let cut = line.network.cut(Silence::Drop)?;
    let (errno, ends) = wait(line, cut)?;
    Ok(vec![Expected::failure("keepalive_timeout", READ_OR_WRITE, errno, ends)])
}

/// The peer closes its window and then falls silent: window probes are not answered.
pub(super) fn zero_window(family: Family) -> Result<Vec<Expected>> {
    let line = Line::new(family)?;
    fill(&line.pair.client)?;
    let cut = line.network.cut(Silence::Drop)?;
    let (errno, ends) = wait(line, cut)?;
    Ok(vec![Expected::failure("zero_window_timeout", READ_OR_WRITE, errno, ends)])
}

/// Data is answered by ICMP host unreachable only: the retries run out with that errno.
pub(super) fn unreachable(family: Family) -> Result<Vec<Expected>> {
    let line = Line::new(family)?;
    let cut = line.network.cut(HOST_UNREACHABLE)?;
    socket::write(&line.pair.client)?;
    let (errno, ends) = wait(line, cut)?;
    ensure!(errno == libc::EHOSTUNREACH, "read failed with errno {errno}, not EHOSTUNREACH");
    let (kind, code) = host_unreachable(family);
    let failure = Expected::failure("unreachable_timeout", READ_OR_WRITE, errno, ends);
    Ok(vec![failure.icmp(kind, code, ends.remote)])
}

fn fill(socket: &Socket) -> Result<()> {
    let written = socket::fill(socket)?;
    ensure!(written > 0, "nothing could be written");
    Ok(())
}
