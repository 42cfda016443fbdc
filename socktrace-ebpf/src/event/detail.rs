//! Additional details of events, and their wire format.

use super::{Address, Event, parts};
use crate::SocketCall;

/// Facts that only some events have, at most one per event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// The ICMP message behind the errno.
    Icmp {
        /// Sender of the message; of the event's family.
        router: Address,
        /// Its type.
        kind: u8,
        /// Its code.
        code: u8,
    },
    /// Process on this host that sent the RST or, with [`crate::Origin::Abort`], killed the socket.
    /// A [`crate::EventKind::ResetSent`] has only the reason, no process.
    Peer {
        /// Its id.
        tgid: u32,
        /// Its command name.
        comm: [u8; 16],
        /// Reason, a value of the kernel's `enum sk_rst_reason`, or [`crate::facts::ABSENT`]; with
        /// [`BY_LISTENER`] toggled if the connection was in the queue of a listener that closed.
        rst_reason: u32,
    },
    /// Arguments of the call.
    Call {
        /// Descriptor the call was made on if the socket itself is unknown; else -1.
        fd: i32,
        /// Level of a socket option, as in `setsockopt`; else 0.
        level: i32,
        /// The option.
        option: i32,
    },
    /// Arguments of `socket`; the type without flags.
    Socket(SocketCall),
    /// The address argument of connect or bind.
    Given(Given),
    /// A listener's queue, and the packets it has dropped.
    AcceptQueue(AcceptQueue),
    /// The socket's `SO_SNDTIMEO`, which ended the call.
    SendTimeout {
        /// Limit in jiffies; the largest value that fits if it is longer.
        jiffies: u32,
    },
}

/// The address argument of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// Address family, `AF_*`; 0 also if the address is too short to have one.
    pub family: u16,
    /// Length in bytes, as given by the program.
    pub length: i32,
    /// Whether the socket is IPv6-only (`IPV6_V6ONLY`).
    pub only_v6: bool,
}

/// A listener's queue, and the handshake packets dropped because it was full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AcceptQueue {
    /// Packets dropped since the last event about this listener.
    pub dropped: u32,
    /// Connections waiting in the queue.
    pub waiting: u32,
    /// Limit of the queue; one connection more than this may wait.
    pub limit: u32,
    /// Whether the queue was read while a connection was accepted, which is not counted as waiting.
    pub accepting: bool,
}

/// Bit of [`Detail::Peer`]'s reason that is toggled for a connection that was still in its
/// listener's queue.
pub const BY_LISTENER: u32 = 1 << 31;

/// Wire format of a [`Detail`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packed {
    /// A router's address, a command name, or a number.
    pub octets: [u8; 16],
    /// Numbers, by kind of detail.
    pub numbers: [u32; 2],
}

impl Event {
    /// The additional detail, if the event has one.
    #[must_use]
    pub fn detail(&self) -> Option<Detail> {
        let Packed { octets, numbers: [first, second] } = self.packed;
        match self.parts & parts::DETAILS {
            parts::ICMP => {
                let [kind, code, ..] = first.to_ne_bytes();
                Some(Detail::Icmp { router: Address { octets }, kind, code })
            }
            parts::PEER => Some(Detail::Peer { tgid: first, comm: octets, rst_reason: second }),
            parts::CALL => {
                let (fd, level) = (number(octets), first.cast_signed());
                Some(Detail::Call { fd, level, option: second.cast_signed() })
            }
            parts::SOCKET => Some(Detail::Socket(SocketCall {
                family: first.cast_signed(),
                socket_type: number(octets),
                protocol: second.cast_signed(),
            })),
            parts::GIVEN => {
                let [low, high, only_v6, _] = second.to_ne_bytes();
                Some(Detail::Given(Given {
                    family: u16::from_ne_bytes([low, high]),
                    length: first.cast_signed(),
                    only_v6: only_v6 != 0,
                }))
            }
            parts::ACCEPT_QUEUE => {
                let [a, b, c, d, accepting, ..] = octets;
                Some(Detail::AcceptQueue(AcceptQueue {
                    dropped: first,
                    waiting: second,
                    limit: u32::from_ne_bytes([a, b, c, d]),
                    accepting: accepting != 0,
                }))
            }
            parts::SEND_TIMEOUT => Some(Detail::SendTimeout { jiffies: first }),
            _ => None,
        }
    }

    /// Sets the additional detail, replacing an earlier one.
    #[inline]
    pub fn set_detail(&mut self, detail: Detail) {
        let (part, octets, numbers) = match detail {
            Detail::Icmp { router, kind, code } => {
                (parts::ICMP, router.octets, [u32::from_ne_bytes([kind, code, 0, 0]), 0])
            }
            Detail::Peer { tgid, comm, rst_reason } => (parts::PEER, comm, [tgid, rst_reason]),
            Detail::Call { fd, level, option } => {
                (parts::CALL, octets(fd), [level.cast_unsigned(), option.cast_unsigned()])
            }
            Detail::Socket(call) => {
                let numbers = [call.family.cast_unsigned(), call.protocol.cast_unsigned()];
                (parts::SOCKET, octets(call.plain_type()), numbers)
            }
            Detail::Given(Given { family, length, only_v6 }) => {
                let numbers =
                    [length.cast_unsigned(), u32::from(family) | u32::from(only_v6) << 16];
                (parts::GIVEN, [0; 16], numbers)
            }
            Detail::AcceptQueue(AcceptQueue { dropped, waiting, limit, accepting }) => {
                let accepting = u32::from_ne_bytes([u8::from(accepting), 0, 0, 0]);
                let words = Address::from_words([limit, accepting, 0, 0]);
                (parts::ACCEPT_QUEUE, words.octets, [dropped, waiting])
            }
            Detail::SendTimeout { jiffies } => (parts::SEND_TIMEOUT, [0; 16], [jiffies, 0]),
        };
        self.parts = self.parts & !parts::DETAILS | part;
        self.packed = Packed { octets, numbers };
    }
}
/// Encodes a number as [`Packed::octets`].
#[inline]
fn octets(number: i32) -> [u8; 16] {
    Address::from_words([number.cast_unsigned(), 0, 0, 0]).octets
}

/// Decodes a number from [`Packed::octets`].
#[inline]
fn number([a, b, c, d, ..]: [u8; 16]) -> i32 {
    i32::from_ne_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMM: [u8; 16] = *b"worker\0\0\0\0\0\0\0\0\0\0";

    #[test]
    fn a_detail_comes_back() {
        const OTHER_MATTERS: u8 = parts::NAMES | parts::WATCH_REPEATS;

        let mut event = Event { parts: OTHER_MATTERS, ..Event::default() };
        assert_eq!(event.detail(), None);
        for detail in [
            Detail::Icmp { router: Address::from_words([1, 2, 3, 4]), kind: 3, code: 13 },
            Detail::Peer { tgid: 81, comm: COMM, rst_reason: crate::facts::ABSENT },
            Detail::Call { fd: -1, level: 6, option: -2 },
            Detail::Call { fd: 1_000, level: 0, option: 0 },
            Detail::Socket(SocketCall { family: 77, socket_type: 3, protocol: -5 }),
            Detail::Given(Given { family: 47, length: -3, only_v6: false }),
            Detail::Given(Given { family: 10, length: 28, only_v6: true }),
            Detail::AcceptQueue(AcceptQueue { dropped: 7, waiting: 2, limit: 1, accepting: false }),
            Detail::AcceptQueue(AcceptQueue {
                dropped: 1 << 31,
                waiting: 0,
                limit: 4_096,
                accepting: true,
            }),
            Detail::SendTimeout { jiffies: 125 },
        ] {
            event.set_detail(detail);
            assert_eq!(event.detail(), Some(detail));
            assert_eq!(event.parts & OTHER_MATTERS, OTHER_MATTERS);
        }
        let call = SocketCall { family: 2, socket_type: 0o2_000_003, protocol: 0 };
        event.set_detail(Detail::Socket(call));
        assert_eq!(event.detail(), Some(Detail::Socket(SocketCall { socket_type: 3, ..call })));
        event.parts &= !parts::DETAILS;
        assert_eq!(event.detail(), None, "of no kind");
    }
}
