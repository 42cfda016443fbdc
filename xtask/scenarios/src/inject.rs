//! ICMP messages that no firewall sends, crafted on the other host.

use std::{
    io::{self, Read as _},
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Result, anyhow};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::{
    expected::Expected,
    icmp::Message,
    network::{Family, NOBODY_LISTENS, Network, Silence},
    socket::{self, Ends},
};

/// Time for connect to release the socket: an earlier answer is only remembered.
const LET_GO: Duration = Duration::from_millis(5);

/// Interval at which the sniffer checks whether it is still needed.
const TICK: Duration = Duration::from_millis(20);

/// Lengths of an IPv6 header and of an ICMP header.
const IPV6_HEADER: usize = 40;
const ICMP_HEADER: usize = 8;

/// The other host drops the SYN, and a message about it arrives.
pub(super) fn injected(family: Family, message: Message) -> Result<Vec<Expected>> {
    let network = Network::get()?;
    let peer = family.peer_port(NOBODY_LISTENS);
    let client = socket::bound(family.host())?;
    let ends = Ends::new(socket::local(&client)?, peer);
    let injector = network.in_peer(|| Injector::new(ends, message))?;
    let cut = network.cut(Silence::Drop)?;
    let errno = injector.during(|| socket::errno("connect", client.connect(&peer.into())))?;
    drop(cut);
    Ok(vec![message.expected(errno, ends, peer)?])
}

/// Answers segments of one connection.
pub(super) struct Injector {
    /// Receives IP packets before the firewall does.
    sniffer: Socket,
    raw: Socket,
    ends: Ends,
    message: Message,
    /// Offset added to the sequence numbers in the quoted segment.
    shift: u32,
}

impl Injector {
    /// Creates an injector in the network namespace of this thread.
    pub(super) fn new(ends: Ends, message: Message) -> Result<Self> {
        let (ether_type, domain, protocol) = match ends.local {
            SocketAddr::V4(_) => (0x0800_u16, Domain::IPV4, Protocol::ICMPV4),
            SocketAddr::V6(_) => (0x86dd_u16, Domain::IPV6, Protocol::ICMPV6),
        };
        let ether_type = Protocol::from(i32::from(ether_type.to_be()));
        let sniffer = Socket::new(Domain::PACKET, Type::DGRAM, Some(ether_type))?;
        sniffer.set_read_timeout(Some(TICK))?;
        let raw = Socket::new(domain, Type::RAW, Some(protocol))?;
        Ok(Self { sniffer, raw, ends, message, shift: 0 })
    }

    /// Shifts the quoted sequence numbers, so that messages are about other segments.
    pub(super) fn off_by(self, shift: u32) -> Self {
        Self { shift, ..self }
    }

    /// Sends messages from this address of the host.
    pub(super) fn at(self, router: IpAddr) -> Result<Self> {
        self.raw.bind(&SocketAddr::new(router, 0).into())?;
        Ok(self)
    }

    /// Answers each segment while `act` runs: the first answer to a SYN may arrive too early.
    pub(super) fn during<T>(&self, act: impl FnOnce() -> Result<T>) -> Result<T> {
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let injector = scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    if let Some(quoted) = self.catch()? {
                        thread::sleep(LET_GO);
                        self.send(&quoted)?;
                    }
                }
                anyhow::Ok(())
            });
            let result = act();
            is_over.store(true, Ordering::Relaxed);
            injector.join().map_err(|_| anyhow!("the injector panicked"))??;
            result
        })
    }

    /// Returns the next segment of this connection, if one arrives soon, in the form in which a
    /// message quotes it.
    pub(super) fn catch(&self) -> Result<Option<Vec<u8>>> {
        let mut packet = [0; 2048];
        match (&self.sniffer).read(&mut packet) {
            Ok(length) => Ok(self.quote(&packet[..length])),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends the message with this quoted segment.
    pub(super) fn send(&self, quoted: &[u8]) -> Result<()> {
        let mut to = self.ends.local;
        to.set_port(0);
        self.raw.send_to(&self.answer(quoted), &SockAddr::from(to))?;
        Ok(())
    }

    /// The part of a packet of this connection that a message quotes.
    fn quote(&self, packet: &[u8]) -> Option<Vec<u8>> {
        let header = match packet.first()? >> 4 {
            4 => usize::from(packet[0] & 15) * 4,
            _ => IPV6_HEADER,
        };
        let mut quoted = packet.to_vec();
        let sequence: &mut [u8; 4] = quoted.get_mut(header + 4..header + 8)?.try_into().ok()?;
        *sequence = u32::from_be_bytes(*sequence).wrapping_add(self.shift).to_be_bytes();
        let port = |at: usize| Some(u16::from_be_bytes([*packet.get(at)?, *packet.get(at + 1)?]));
        let ours =
            port(header)? == self.ends.local.port() && port(header + 2)? == self.ends.remote.port();
        ours.then_some(quoted)
    }

    fn answer(&self, quoted: &[u8]) -> Vec<u8> {
        let mut answer = vec![0; ICMP_HEADER];
        answer[0] = self.message.kind;
        answer[1] = self.message.code;
        answer.extend_from_slice(quoted);
        // For IPv6, the kernel computes it.
        if self.ends.local.is_ipv4() {
            let sum = checksum(&answer);
            answer[2..4].copy_from_slice(&sum.to_be_bytes());
        }
        answer
    }
}

/// The Internet checksum, RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| {
        u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or_default()]))
    });
    let sum: u32 = words.sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::checksum;

    #[test]
    fn checksum_of_the_rfc() {
        assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
    }
}
