//! Peers that fall silent. All timers have their defaults unless the program sets them.

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use nix::libc;
use socket2::{Socket, TcpKeepalive};
use socktrace_diagnosis::Cause;

use super::{
    expected::Expected,
    icmp::Message,
    inject::Injector,
    network::{
        Cut, Family, HOST_UNREACHABLE, Line, NOBODY_LISTENS, Network, Silence, host_unreachable,
    },
    socket::{self, Ends, Pair, ensure_errno},
};

pub(super) const READ_OR_WRITE: &str = "read_or_write";

/// Timeouts are up to a second late: times count from the first retransmission, and waking the
/// program takes time.
pub(super) const LATE: Duration = Duration::from_secs(1);

/// Number of bytes that [`socket::write`] writes.
pub(super) const WRITTEN: usize = 5;

/// Default of `net.ipv4.tcp_retries2`.
pub(super) const RETRIES: u32 = 15;

/// `TCP_RTO_MAX`, in milliseconds.
pub(super) const LONGEST_RTO: u64 = 120_000;

/// Longest interval between probes of a closed window within 20 s, in milliseconds.
const PROBED_LATE: u64 = 15_000;

/// A connection whose timer has given up.
pub(super) struct GivenUp {
    pub(super) errno: i32,
    pub(super) ends: Ends,
    /// Duration of the wait.
    pub(super) waited: Duration,
    /// Time since before the connection was made.
    age: Duration,
}

/// Reads until the timer gives up, and cleans up so that the peer's end sends nothing later.
pub(super) fn wait(line: Line, cut: Cut) -> Result<GivenUp> {
    let began = Instant::now();
    let errno = socket::read_errno(&line.pair.client)?;
    let (waited, age) = (began.elapsed(), line.since.elapsed());
    drop(cut);
    socket::close_with_reset(line.pair.server)?;
    Ok(GivenUp { errno, ends: line.ends, waited, age })
}

impl GivenUp {
    /// A failure of the program that blocks in read. The peer has been silent since before the wait.
    pub(super) fn failure(&self, cause: Cause) -> Expected {
        let failure = Expected::failure(cause, READ_OR_WRITE, self.errno, self.ends);
        self.silent(failure).known_as(&["waiter"])
    }

    fn silent(&self, failure: Expected) -> Expected {
        failure.lasted("silent_ms", self.age, self.age.saturating_sub(self.waited) + LATE)
    }

    /// The few bytes written before the wait were retransmitted throughout.
    pub(super) fn sent_again(&self, failure: Expected) -> Expected {
        failure.with("unacked_bytes", WRITTEN).lasted("elapsed_ms", self.waited, LATE)
    }

    /// The user timeout, [`LIMIT`], has expired.
    fn limit_reached(&self, cause: Cause) -> Expected {
        let failure = self.sent_again(self.failure(cause));
        // Timeouts start at 200 ms or more and double: three fit into the limit.
        let failure = failure.within("retransmits", 2, 3).within("rto_ms", 400, 2_000);
        failure.with("user_timeout_ms", LIMIT).flags(&["user_timeout", "retransmitted"])
    }

    /// The peer had answered just before the wait.
    fn silent_for_the_wait(&self, failure: Expected) -> Expected {
        failure.lasted("silent_ms", self.waited + LATE, LATE + LATE)
    }

    /// `tcp_retries2` retransmissions have failed, and the timeout has reached its maximum.
    fn retries_used_up(&self, failure: Expected) -> Expected {
        self.sent_again(failure).with("retransmits", RETRIES).with("rto_ms", LONGEST_RTO)
    }
}

/// No SYN is answered.
pub(super) fn connect(family: Family) -> Result<Vec<Expected>> {
    let network = Network::get()?;
    let cut = network.cut(Silence::Drop)?;
    let nobody = family.peer_port(NOBODY_LISTENS);
    let timed = unanswered(&socket::bound(family.host())?, nobody)?;
    drop(cut);
    Ok(vec![timed])
}

/// The client signs its segments, and the server, which has no key, drops them.
pub(super) fn connect_with_md5_key(family: Family) -> Result<Vec<Expected>> {
    let network = Network::get()?;
    let listener = network.in_peer(|| socket::listener(family.peer(), 1))?;
    let server = socket::local(&listener)?;
    let client = socket::bound(family.host())?;
    socket::set_md5_key(&client, server, b"secret")?;
    let timed = unanswered(&client, server)?.with("md5_key", true);
    Ok(vec![timed.saying("the socket has an MD5 key")])
}

/// Connects to a silent peer.
fn unanswered(client: &Socket, peer: SocketAddr) -> Result<Expected> {
    let ends = Ends::new(socket::local(client)?, peer);
    let began = Instant::now();
    let errno = socket::errno("connect", client.connect(&peer.into()))?;
    let waited = began.elapsed();
    let retries = Network::syn_retries()?;
    let rto = Network::syn_timeout(retries)?;
    let failure = Expected::failure(Cause::ConnectTimeout, "connect", errno, ends);
    let timed = failure.known_as(&["waiter"]).lasted("elapsed_ms", waited, LATE);
    let timed = timed.with("retransmits", retries).with("rto_ms", rto);
    Ok(timed)
}

/// Data is never acknowledged.
pub(super) fn retransmit(family: Family) -> Result<Vec<Expected>> {
    let line = Line::new(family)?;
    let cut = line.network.cut(Silence::Drop)?;
    socket::write(&line.pair.client)?;
    let given_up = wait(line, cut)?;
    Ok(vec![given_up.retries_used_up(given_up.failure(Cause::RetransmitTimeout))])
}

/// The program keeps writing after it got the error.
pub(super) fn write_after(family: Family) -> Result<Vec<Expected>> {
    let line = Line::new(family)?;
    let client = line.pair.client.try_clone()?;
    let cut = line.network.cut(Silence::Drop)?;
    socket::write(&client)?;
    let given_up = wait(line, cut)?;
    let errno = socket::write_errno(&client)?;
    let after = Expected::failure(Cause::WriteAfterTimeout, "write", errno, given_up.ends);
    // The timer's numbers are unchanged, and the peer is still silent.
    let after = given_up.retries_used_up(after.first(given_up.errno).sigpipe("none"));
    let after = after.with("unacked_bytes", 0);
    Ok(vec![given_up.retries_used_up(given_up.failure(Cause::RetransmitTimeout)), after])
}

/// User timeout that a program sets, in milliseconds.
const LIMIT: u64 = 1_500;

/// The same, with a user timeout set by the program.
pub(super) fn user(family: Family) -> Result<Vec<Expected>> {
    let line = limited(family)?;
    let cut = line.network.cut(Silence::Drop)?;
    socket::write(&line.pair.client)?;
    let given_up = wait(line, cut)?;
    Ok(vec![given_up.limit_reached(Cause::UserTimeout)])
}

/// ICMP errors arrive about sequence numbers that were never sent, as from an off-path sender that
/// has to guess. They are not the cause.
pub(super) fn user_beside_spoofed_icmp(family: Family) -> Result<Vec<Expected>> {
    const NOT_SENT_YET: u32 = 1 << 20;
    let given_up = answered_by_icmp(family, NOT_SENT_YET)?;
    ensure_errno("read", given_up.errno, libc::ETIMEDOUT)?;
    Ok(vec![given_up.limit_reached(Cause::UserTimeout)])
}

/// The same messages about sequence numbers that were sent. They are the cause.
pub(super) fn unreachable_by_injected_icmp(family: Family) -> Result<Vec<Expected>> {
    let given_up = answered_by_icmp(family, 0)?;
    ensure_errno("read", given_up.errno, libc::EHOSTUNREACH)?;
    let (kind, code) = host_unreachable(family);
    let failure = given_up.limit_reached(Cause::UnreachableTimeout);
    let failure = failure.icmp(kind, code, given_up.ends.remote);
    // An answer reverts the backoff (RFC 6069).
    let failure = failure.within("retransmits", 1, 8).within("rto_ms", 200, 2_000);
    Ok(vec![failure.flags(&["user_timeout", "retransmitted", "soft_error"])])
}

/// An ICMP error about data that was delivered later is not the cause of a later timeout.
pub(super) fn user_after_survived_icmp(family: Family) -> Result<Vec<Expected>> {
    let line = limited(family)?;
    let Pair { client, server } = &line.pair;
    let cut = line.network.cut(HOST_UNREACHABLE)?;
    socket::send(client, b"question")?;
    socket::until("nothing is sent again", || Ok(socket::retransmits(client)? > 0))?;
    drop(cut);
    socket::receive(server, b"question")?;
    socket::send(server, b"answer")?;
    socket::receive(client, b"answer")?;
    let cut = line.network.cut(Silence::Drop)?;
    socket::write(client)?;
    let given_up = wait(line, cut)?;
    ensure_errno("read", given_up.errno, libc::ETIMEDOUT)?;
    let failure = given_up.limit_reached(Cause::UserTimeout);
    Ok(vec![given_up.silent_for_the_wait(failure)])
}

fn limited(family: Family) -> Result<Line> {
    let line = Line::new(family)?;
    line.pair.client.set_tcp_user_timeout(Some(Duration::from_millis(LIMIT)))?;
    Ok(line)
}

/// Segments are dropped, and each is answered by ICMP host unreachable, about a sequence number
/// that is higher by `shift`.
fn answered_by_icmp(family: Family, shift: u32) -> Result<GivenUp> {
    let line = limited(family)?;
    let (kind, code) = host_unreachable(family);
    let message = Message::new(kind, code, libc::EHOSTUNREACH);
    let injector = line.network.in_peer(|| Injector::new(line.ends, message))?.off_by(shift);
    let cut = line.network.cut(Silence::Drop)?;
    injector.during(|| {
        socket::write(&line.pair.client)?;
        wait(line, cut)
    })
}

/// Large segments are dropped on the way, and small ones pass.
pub(super) fn user_by_large_segments(family: Family) -> Result<Vec<Expected>> {
    const LARGE: [u8; 4_000] = [b'l'; 4_000];

    let line = Line::new(family)?;
    let client = &line.pair.client;
    client.set_tcp_user_timeout(Some(Duration::from_secs(5)))?;
    client.set_tcp_nodelay(true)?;
    socket::exchange(client, &line.pair.server)?;
    let cut = line.network.cut(Silence::DropLarge)?;
    socket::send(client, &LARGE)?;
    let small = socket::write(client)?;
    let given_up = wait(line, cut)?;
    let failure = given_up.failure(Cause::UserTimeout).with("unacked_bytes", LARGE.len() + small);
    let failure = failure.lasted("elapsed_ms", given_up.waited, LATE);
    let failure = failure.lasted("silent_ms", given_up.waited, LATE);
    let failure = failure.within("retransmits", 3, 5).within("rto_ms", 800, 8_000);
    let failure = failure.with("full_sized_lost", true).saying("is the MTU of the path smaller");
    Ok(vec![failure.with("user_timeout_ms", 5_000).flags(&["user_timeout", "retransmitted"])])
}

/// The same after an idle period: only the time that data has waited counts.
pub(super) fn user_after_idle(family: Family) -> Result<Vec<Expected>> {
    let line = Line::new(family)?;
    line.pair.client.set_tcp_user_timeout(Some(Duration::from_secs(3)))?;
    thread::sleep(Duration::from_secs(6));
    let cut = line.network.cut(Silence::Drop)?;
    socket::write(&line.pair.client)?;
    let given_up = wait(line, cut)?;
    let failure = given_up.sent_again(given_up.failure(Cause::UserTimeout));
    let failure = failure.within("retransmits", 3, 5).within("rto_ms", 400, 4_000);
    let failure = failure.with("user_timeout_ms", 3_000).flags(&["user_timeout", "retransmitted"]);
    Ok(vec![failure.saying("5 bytes not taken by the peer for 3.")])
}

/// The peer keeps answering, and keeps its window closed beyond the user timeout.
pub(super) fn user_with_closed_window(family: Family) -> Result<Vec<Expected>> {
    let line = Line::new(family)?;
    line.pair.client.set_tcp_user_timeout(Some(Duration::from_secs(20)))?;
    fill(&line.pair.client)?;
    let unsent = socket::unsent(&line.pair.client)?;
    let cut = line.network.cut(Silence::None)?;
    let GivenUp { errno, ends, waited, .. } = wait(line, cut)?;
    let failure = Expected::failure(Cause::UserTimeout, READ_OR_WRITE, errno, ends);
    // The window was probed even before the wait.
    let failure = failure.within("elapsed_ms", 20_000, 20_000 + PROBED_LATE);
    ensure!(waited < Duration::from_mins(1), "it took {waited:?}");
    let failure = failure.known_as(&["waiter"]).with("user_timeout_ms", 20_000);
    let failure = failure.flags(&["user_timeout", "zero_window", "unsent"]);
    // The peer answers all probes except some: `net.ipv4.tcp_invalid_ratelimit`.
    let failure = failure.within("silent_ms", 0, 20_000).within("probes", 0, 2);
    Ok(vec![failure.with("unsent_bytes", unsent)])
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
    let given_up = wait(line, cut)?;
    let failure = given_up.failure(Cause::KeepaliveTimeout).with("probes", 6);
    Ok(vec![failure.saying("the limit was their number (TCP_KEEPCNT)")])
}

/// The same with a user timeout, which overrides the number of probes.
pub(super) fn keepalive_with_user_timeout(family: Family) -> Result<Vec<Expected>> {
    let line = Line::new(family)?;
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(10))
        .with_interval(Duration::from_secs(10))
        .with_retries(111);
    line.pair.client.set_tcp_keepalive(&keepalive)?;
    line.pair.client.set_tcp_user_timeout(Some(Duration::from_millis(33_500)))?;
    let cut = line.network.cut(Silence::Drop)?;
    let given_up = wait(line, cut)?;
    let failure = given_up.failure(Cause::KeepaliveTimeout).with("probes", 3);
    let failure = failure.with("user_timeout_ms", 33_500);
    let failure = failure.flags(&["user_timeout", "probed", "keepalive"]);
    Ok(vec![failure.saying("the limit was TCP_USER_TIMEOUT of 33.5 s")])
}

/// The peer closes its window and then falls silent: window probes are not answered.
pub(super) fn zero_window(family: Family) -> Result<Vec<Expected>> {
    let line = Line::new(family)?;
    fill(&line.pair.client)?;
    let unsent = socket::unsent(&line.pair.client)?;
    let cut = line.network.cut(Silence::Drop)?;
    let given_up = wait(line, cut)?;
    let failure = given_up.failure(Cause::ZeroWindowTimeout);
    let failure = failure.with("unsent_bytes", unsent).with("probes", RETRIES);
    // The window was probed even before the wait.
    Ok(vec![failure.lasted("elapsed_ms", given_up.waited + LATE, 3 * LATE)])
}

/// Data is only answered by ICMP host unreachable: the retries run out with that errno.
pub(super) fn unreachable(family: Family) -> Result<Vec<Expected>> {
    let line = Line::new(family)?;
    let cut = line.network.cut(HOST_UNREACHABLE)?;
    socket::write(&line.pair.client)?;
    let given_up = wait(line, cut)?;
    let errno = given_up.errno;
    ensure!(errno == libc::EHOSTUNREACH, "read failed with errno {errno}, not EHOSTUNREACH");
    let (kind, code) = host_unreachable(family);
    let failure =
        given_up.failure(Cause::UnreachableTimeout).icmp(kind, code, given_up.ends.remote);
    Ok(vec![match family {
        Family::Ipv6 => given_up.retries_used_up(failure),
        // An answer reverts the backoff (RFC 6069), so that more retries fit in the same time.
        Family::Ipv4 | Family::Mapped => given_up
            .sent_again(failure)
            .within("retransmits", RETRIES.into(), u8::MAX.into())
            .within("rto_ms", 400, LONGEST_RTO),
    }])
}

pub(super) fn fill(socket: &Socket) -> Result<()> {
    let written = socket::fill(socket)?;
    ensure!(written > 0, "nothing could be written");
    Ok(())
}
