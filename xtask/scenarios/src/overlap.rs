//! Connections with the same addresses and ports in different network namespaces, as containers
//! with private networks have them.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use anyhow::Result;
use nix::libc;
use socktrace_diagnosis::Cause;

use super::{
    expected::Expected,
    icmp::Message,
    inject::Injector,
    network::{self, Family, Line, host_unreachable},
    socket::{self, Ends, Pair, ensure_errno},
};

/// The kernel's reset reason for a close with `SO_LINGER` 0.
const ABORTED: &str = "tcp_state";

const SERVER_PORT: u16 = 4_711;
const CLIENT_PORT: u16 = 4_712;

/// User timeout that the program sets, in milliseconds.
const LIMIT: u64 = 1_500;

/// Connects a pair that has the same addresses and ports in every namespace.
fn pair(family: Family) -> Result<Pair> {
    let mut address = family.loopback();
    address.set_port(SERVER_PORT);
    let listener = socket::listener(address, 1)?;
    let mut own = family.loopback();
    own.set_port(CLIENT_PORT);
    let client = socket::bound(own)?;
    client.connect(&address.into())?;
    let (server, _) = listener.accept()?;
    Ok(Pair { client, server })
}

/// A reset by a process in one namespace, and a reset without a sender in another.
pub(super) fn reset(family: Family) -> Result<Vec<Expected>> {
    let failure = |errno, ends| Expected::failure(Cause::ResetByPeer, "read_or_write", errno, ends);
    let here = network::on_lonely_host(|| {
        let Pair { client, server } = pair(family)?;
        let ends = Ends::of_server(&server)?;
        socket::close_with_reset(client)?;
        Ok(failure(socket::read_errno(&server)?, ends).reset_here(ABORTED))
    })?;
    let there = network::on_lonely_host(|| {
        let Pair { client, server } = pair(family)?;
        let ends = Ends::of_server(&server)?;
        socket::forget(client)?;
        let written = socket::write(&server)?;
        let errno = socket::read_errno(&server)?;
        ensure_errno("read", errno, libc::ECONNRESET)?;
        Ok(failure(errno, ends).with("unacked_bytes", written))
    })?;
    Ok(vec![here, there])
}

/// A process in one namespace resets its connection to a process in another.
pub(super) fn reset_from_another(family: Family) -> Result<Vec<Expected>> {
    let Line { pair: Pair { client, server }, ends, .. } = Line::new(family)?;
    socket::exchange(&client, &server)?;
    socket::close_with_reset(server)?;
    let errno = socket::read_errno(&client)?;
    let failure = Expected::failure(Cause::ResetByPeer, "read_or_write", errno, ends);
    Ok(vec![failure.reset_here(ABORTED)])
}

/// A loopback address that acts as a router.
fn router(family: Family, number: u8) -> Result<IpAddr> {
    if family == Family::Ipv6 {
        let address = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, number.into());
        network::ip(&format!("address add {address}/128 dev lo nodad"))?;
        return Ok(address.into());
    }
    Ok(Ipv4Addr::new(127, 0, 0, number).into())
}

/// Data is answered by an ICMP error, and the same error comes from another router in another namespace.
pub(super) fn unreachable(family: Family) -> Result<Vec<Expected>> {
    const OURS: u8 = 2;
    const THEIRS: u8 = 3;
    let (kind, code) = host_unreachable(family);
    let message = Message::new(kind, code, libc::EHOSTUNREACH);
    network::on_lonely_host(|| {
        let Pair { client, server } = pair(family)?;
        let ends = Ends::of_client(&client)?;
        client.set_tcp_user_timeout(Some(Duration::from_millis(LIMIT)))?;
        let ours = router(family, OURS)?;
        let injector = Injector::new(ends, message)?.at(ours)?;
        network::drop_all()?;
        let written = socket::write(&client)?;
        let quoted = loop {
            if let Some(quoted) = injector.catch()? {
                break quoted;
            }
        };
        injector.send(&quoted)?;
        network::on_lonely_host(|| {
            Injector::new(ends, message)?.at(router(family, THEIRS)?)?.send(&quoted)
        })?;
        let errno = socket::read_errno(&client)?;
        ensure_errno("read", errno, libc::EHOSTUNREACH)?;
        socket::forget(server)?;
        let failure = Expected::failure(Cause::UnreachableTimeout, "read_or_write", errno, ends);
        Ok(vec![
            failure
                .known_as(&["waiter"])
                .icmp(kind, code, SocketAddr::new(ours, 0))
                .with("unacked_bytes", written)
                .with("user_timeout_ms", LIMIT)
                .flags(&["user_timeout", "retransmitted", "soft_error"])
                .within("retransmits", 1, 8)
                .within("rto_ms", 200, 2_000)
                .within("elapsed_ms", LIMIT - 1_000, LIMIT + 1_500)
                .within("silent_ms", LIMIT - 1_000, LIMIT + 1_500),
        ])
    })
}
