//! The one thing more that some events say, and how it travels.

use super::{Address, Event, parts};
use crate::SocketCall;

/// Facts that only some events have, at most one of them for each event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// The ICMP message behind the errno.
    Icmp {
        /// Who sent it; of the event's family.
        router: Address,
        /// Its type.
        kind: u8,
        /// Its code.
        code: u8,
    },
    /// The process of this host that sent the RST or, with [`crate::Origin::Abort`], killed the socket. Of
    /// a [`crate::EventKind::ResetSent`] no process, only why.
    Peer {
        /// Its id.
        tgid: u32,
        /// Its command name.
        comm: [u8; 16],
        /// Why, a value of the kernel's `enum sk_rst_reason`, or [`crate::facts::ABSENT`]; with
        /// [`BY_LISTENER`] toggled where the connection waited in the queue of a listener that closed.
        rst_reason: u32,
    },
    /// Arguments of the call.
    Call {
        /// The descriptor it was made on, where the socket itself is not known; else -1.
        fd: i32,
        /// Level of a socket option, as in `setsockopt`; else 0.
        level: i32,
        /// The option.
        option: i32,
    },
    /// What `socket` was asked for; its type without flags.
    Socket(SocketCall),
    /// The address argument of connect or bind.
    Given(Given),
    /// A listener's queue, and what it has dropped.
    AcceptQueue(AcceptQueue),
    /// The socket's `SO_SNDTIMEO`, which has ended the call.
    SendTimeout {
        /// The limit in jiffies; the most that fits where it is longer.
        jiffies: u32,
    },
}

/// The address argument of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// Its family, `AF_*`; 0 also where it is too short to have one.
    pub family: u16,
    /// Its length in bytes, as the program says.
    pub length: i32,
    /// Whether the socket is for IPv6 alone (`IPV6_V6ONLY`).
    pub only_v6: bool,
}

/// A listener's queue, and the handshake packets that it has dropped as that was full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AcceptQueue {
    /// How many were dropped since the last event about this listener.
    pub dropped: u32,
    /// Connections that wait.
    pub waiting: u32,
    /// The limit, which one more than it may wait.
    pub limit: u32,
    /// Whether it was looked at as a connection was accepted, which is not one of those that wait.
    pub accepting: bool,
}

/// The bit of [`Detail::Peer`]'s reason that is the other way round for a connection that was still in
/// its listener's queue.
pub const BY_LISTENER: u32 = 1 << 31;

/// A [`Detail`] as it travels.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packed {
    /// A router's address, a command name, or a number.
    pub octets: [u8; 16],
    /// The rest.
    pub numbers: [u32; 2],
}

impl Event {
    /// What else is known.
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

    /// Adds what else is known, instead of what was.
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
/// A number as [`Packed::octets`].
#[inline]
fn octets(number: i32) -> [u8; 16] {
    Address::from_words([number.cast_unsigned(), 0, 0, 0]).octets
}

/// The number in them.
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
