//! Sockets that want to hear of ICMP errors at once.

use anyhow::Result;
use nix::libc;

use socktrace_diagnosis::Cause;

use super::{
    expected::Expected,
    network::{Family, HOST_UNREACHABLE, Line, host_unreachable},
    reports_socket_errors,
    socket::{self, Pair, ensure_errno},
};

/// Data is answered by ICMP host unreachable. The program hears of it, and the connection goes on.
pub(super) fn unreachable(family: Family) -> Result<Vec<Expected>> {
    let Line { network, pair: Pair { client, server }, ends, .. } = Line::new(family)?;
    let (level, option) = match family {
        Family::Ipv6 => (libc::IPPROTO_IPV6, libc::IPV6_RECVERR),
        Family::Ipv4 | Family::Mapped => (libc::IPPROTO_IP, libc::IP_RECVERR),
    };
    socket::set_option(&client, level, option, 1)?;
    let cut = network.cut(HOST_UNREACHABLE)?;
    socket::send(&client, b"question")?;
    let errno = socket::read_errno(&client)?;
    ensure_errno("read", errno, libc::EHOSTUNREACH)?;
    drop(cut);
    socket::receive(&server, b"question")?;
    socket::send(&server, b"answer")?;
    socket::receive(&client, b"answer")?;
    let (kind, code) = host_unreachable(family);
    if !reports_socket_errors() {
        return Ok(Vec::new());
    }
    let failure = Expected::failure(Cause::UnreachableReported, "read_or_write", errno, ends);
    let unacked = failure.with("unacked_bytes", b"question".len());
    Ok(vec![unacked.icmp(kind, code, ends.remote)])
}
