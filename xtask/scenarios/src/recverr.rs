//! Sockets that request immediate reports of ICMP errors.

use std::net::Shutdown;

use anyhow::Result;
use nix::libc;
use socket2::Socket;

use socktrace_diagnosis::Cause;

use super::{
    expected::Expected,
    network::{Family, HOST_UNREACHABLE, Line, host_unreachable},
    reports_socket_errors,
    socket::{self, Pair, ensure_errno},
};

/// Data is answered by ICMP host unreachable. The program gets the errno, and the connection continues.
pub(super) fn unreachable(family: Family) -> Result<Vec<Expected>> {
    let line = Line::new(family)?;
    survived(family, &line, socket::read_errno, |_| Vec::new())
}

/// A write gets the errno. On kernels without the error report, this is the only line.
pub(super) fn unreachable_by_write(family: Family) -> Result<Vec<Expected>> {
    let line = Line::new(family)?;
    let written = b"question".len();
    survived(family, &line, wait_and_write, |errno| {
        let reported = if reports_socket_errors() {
            Expected::delivered(Cause::UnreachableReported, errno, line.ends)
        } else {
            Expected::failure(Cause::UnreachableReported, "write", errno, line.ends)
        };
        // Based on the round-trip time of a first SYN, which may have waited for the network.
        vec![reported.with("unacked_bytes", written).within("rto_ms", 200, 4_000)]
    })
}

/// Afterwards the program shuts down sending, and sends: this failure is unrelated to the ICMP message.
pub(super) fn write_after_shutdown(family: Family) -> Result<Vec<Expected>> {
    let line = Line::new(family)?;
    let mut expected = survived(family, &line, socket::read_errno, |_| Vec::new())?;
    let client = &line.pair.client;
    client.shutdown(Shutdown::Write)?;
    socket::until_end_taken(client)?;
    let errno = socket::write_errno(client)?;
    ensure_errno("write", errno, libc::EPIPE)?;
    let after = Expected::failure(Cause::WriteAfterShutdown, "write", errno, line.ends);
    expected.push(after.sigpipe("none"));
    socket::read_end(&line.pair.server)?;
    Ok(expected)
}

fn wait_and_write(client: &Socket) -> Result<i32> {
    socket::until_reset(client)?;
    socket::write_errno(client)
}

/// Data is answered by ICMP, whose errno `get` returns, and arrives later.
fn survived(
    family: Family,
    line: &Line,
    get: impl FnOnce(&Socket) -> Result<i32>,
    also: impl FnOnce(i32) -> Vec<Expected>,
) -> Result<Vec<Expected>> {
    let Line { network, pair: Pair { client, server }, ends, .. } = line;
    let (level, option) = match family {
        Family::Ipv6 => (libc::IPPROTO_IPV6, libc::IPV6_RECVERR),
        Family::Ipv4 | Family::Mapped => (libc::IPPROTO_IP, libc::IP_RECVERR),
    };
    socket::set_option(client, level, option, 1)?;
    let cut = network.cut(HOST_UNREACHABLE)?;
    socket::send(client, b"question")?;
    let errno = get(client)?;
    ensure_errno("the call", errno, libc::EHOSTUNREACH)?;
    drop(cut);
    socket::receive(server, b"question")?;
    socket::send(server, b"answer")?;
    socket::receive(client, b"answer")?;
    let (kind, code) = host_unreachable(family);
    let mut expected = also(errno);
    if !reports_socket_errors() {
        return Ok(expected);
    }
    let failure = Expected::failure(Cause::UnreachableReported, "read_or_write", errno, *ends);
    let unacked = failure.with("unacked_bytes", b"question".len());
    expected.push(unacked.icmp(kind, code, ends.remote));
    Ok(expected)
}
