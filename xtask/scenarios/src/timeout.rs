//! Peers that fall silent. All timers run at their defaults unless the program sets them.

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

/// A timeout comes up to a second late: the first retransmission is what times are counted from, and
/// it takes time to wake the program.
pub(super) const LATE: Duration = Duration::from_secs(1);

/// What [`socket::write`] writes.
pub(super) const WRITTEN: usize = 5;

/// `net.ipv4.tcp_retries2` by default.
pub(super) const RETRIES: u32 = 15;

/// `TCP_RTO_MAX`, in milliseconds.
pub(super) const LONGEST_RTO: u64 = 120_000;

/// The pauses between probes of a closed window grow to this in a time of 20 s, in milliseconds.
const PROBED_LATE: u64 = 15_000;

/// A connection whose timer has given up.
pub(super) struct GivenUp {
    pub(super) errno: i32,
    pub(super) ends: Ends,
    /// Since the wait began.
    pub(super) waited: Duration,
    /// Since the connection was made.
    age: Duration,
}

/// Reads until the timer gives up, and clears up so that the peer's end sends nothing later.
pub(super) fn wait(line: Line, cut: Cut) -> Result<GivenUp> {
    let began = Instant::now();
    let errno = socket::read_errno(&line.pair.client)?;
    let (waited, age) = (began.elapsed(), line.since.elapsed());
    drop(cut);
    socket::close_with_reset(line.pair.server)?;
    Ok(GivenUp { errno, ends: line.ends, waited, age })
}

impl GivenUp {
    /// A failure of the program that waits to read. The peer has been silent from before the wait.
    pub(super) fn failure(&self, cause: Cause) -> Expected {
        let failure = Expected::failure(cause, READ_OR_WRITE, self.errno, self.ends);
        self.silent(failure).known_as(&["waiter"])
    }

    fn silent(&self, failure: Expected) -> Expected {
        failure.lasted("silent_ms", self.age, self.age.saturating_sub(self.waited) + LATE)
    }

    /// The few bytes written before the wait were sent again all the time.
    pub(super) fn sent_again(&self, failure: Expected) -> Expected {
        failure.with("unacked_bytes", WRITTEN).lasted("elapsed_ms", self.waited, LATE)
    }

    /// After [`LIMIT`].
    fn limit_reached(&self, cause: Cause) -> Expected {
        let failure = self.sent_again(self.failure(cause));
        // Timeouts of 200 ms and more, which double, make three of it.
        let failure = failure.within("retransmits", 2, 3).within("rto_ms", 400, 2_000);
        failure.with("user_timeout_ms", LIMIT).flags(&["user_timeout", "retransmitted"])
    }

    /// The peer had answered just before the wait.
    fn silent_for_the_wait(&self, failure: Expected) -> Expected {
        failure.lasted("silent_ms", self.waited + LATE, LATE + LATE)
    }

    /// As often as `tcp_retries2` has it, with the longest timeout in the end.
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

/// The client signs its segments, and the server has no key: it drops them.
pub(super) fn connect_with_md5_key(family: Family) -> Result<Vec<Expected>> {
    let network = Network::get()?;
    let listener = network.in_peer(|| socket::listener(family.peer(), 1))?;
    let server = socket::local(&listener)?;
    let client = socket::bound(family.host())?;
    socket::set_md5_key(&client, server, b"secret")?;
    let timed = unanswered(&client, server)?.with("md5_key", true);
    Ok(vec![timed.saying("the socket has an MD5 key")])
}

/// Connects to where nobody answers.
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

/// The program writes on after it got the error.
pub(super) fn write_after(family: Family) -> Result<Vec<Expected>> {
    let line = Line::new(family)?;
    let client = line.pair.client.try_clone()?;
    let cut = line.network.cut(Silence::Drop)?;
    socket::write(&client)?;
    let given_up = wait(line, cut)?;
    let errno = socket::write_errno(&client)?;
    let after = Expected::failure(Cause::WriteAfterTimeout, "write", errno, given_up.ends);
    // The timer's numbers stay as they were, and the peer stays silent.
    let after = given_up.retries_used_up(after.first(given_up.errno).sigpipe("none"));
    let after = after.with("unacked_bytes", 0);
    Ok(vec![given_up.retries_used_up(given_up.failure(Cause::RetransmitTimeout)), after])
}

/// The limit that a program sets, in milliseconds.
const LIMIT: u64 = 1_500;

/// The same, with a limit that the program set.
pub(super) fn user(family: Family) -> Result<Vec<Expected>> {
    let line = limited(family)?;
    let cut = line.network.cut(Silence::Drop)?;
    socket::write(&line.pair.client)?;
    let given_up = wait(line, cut)?;
    Ok(vec![given_up.limit_reached(Cause::UserTimeout)])
}

/// Somebody answers by ICMP errors about what was never sent, as whoever cannot see the connection has to
/// guess: they are not the reason.
pub(super) fn user_beside_spoofed_icmp(family: Family) -> Result<Vec<Expected>> {
    const NOT_SENT_YET: u32 = 1 << 20;
    let given_up = answered_by_icmp(family, NOT_SENT_YET)?;
    ensure_errno("read", given_up.errno, libc::ETIMEDOUT)?;
    Ok(vec![given_up.limit_reached(Cause::UserTimeout)])
}

/// The same messages about what was sent: they are.
pub(super) fn unreachable_by_injected_icmp(family: Family) -> Result<Vec<Expected>> {
    let given_up = answered_by_icmp(family, 0)?;
    ensure_errno("read", given_up.errno, libc::EHOSTUNREACH)?;
    let (kind, code) = host_unreachable(family);
    let failure = given_up.limit_reached(Cause::UnreachableTimeout);
    let failure = failure.icmp(kind, code, given_up.ends.remote);
    // An answer takes a doubling back (RFC 6069).
    let failure = failure.within("retransmits", 1, 8).within("rto_ms", 200, 2_000);
    Ok(vec![failure.flags(&["user_timeout", "retransmitted", "soft_error"])])
}

/// What a router said of data that came through in the end is not why later data did not.
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

/// Segments disappear, and whatever comes is answered by ICMP host unreachable, about a sequence number
/// that is so much higher.
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

/// Large segments disappear on the way, small ones pass.
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

/// The same after a silence: only the time that data has waited counts.
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

/// The peer keeps answering and keeps its window closed for longer than the program allows.
pub(super) fn user_with_closed_window(family: Family) -> Result<Vec<Expected>> {
    let line = Line::new(family)?;
    line.pair.client.set_tcp_user_timeout(Some(Duration::from_secs(20)))?;
    fill(&line.pair.client)?;
    let unsent = socket::unsent(&line.pair.client)?;
    let cut = line.network.cut(Silence::None)?;
    let GivenUp { errno, ends, waited, .. } = wait(line, cut)?;
    let failure = Expected::failure(Cause::UserTimeout, READ_OR_WRITE, errno, ends);
    // The window has been probed from before the wait.
    let failure = failure.within("elapsed_ms", 20_000, 20_000 + PROBED_LATE);
    ensure!(waited < Duration::from_mins(1), "it took {waited:?}");
    let failure = failure.known_as(&["waiter"]).with("user_timeout_ms", 20_000);
    let failure = failure.flags(&["user_timeout", "zero_window", "unsent"]);
    // The peer answers the probes, but for some: `net.ipv4.tcp_invalid_ratelimit`.
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

/// The same with a limit of time, beside which the number of probes does not count.
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
    // The window has been probed from before the wait.
    Ok(vec![failure.lasted("elapsed_ms", given_up.waited + LATE, 3 * LATE)])
}

/// Data is answered by ICMP host unreachable only: the retries run out with that errno.
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
        // An answer takes a doubling back (RFC 6069), so that more retries take the same time.
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
