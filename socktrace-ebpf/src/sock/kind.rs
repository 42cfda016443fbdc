//! Kinds of sockets, of any family.

use socktrace_ebpf::{Address, Family, Protocol, SocketCall};

use super::Sock;
use crate::{load::Load, offsets};

/// Family and protocol of a socket, as in [`socktrace_ebpf::Signature`].
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    /// A [`socktrace_ebpf::Family`] or a [`socktrace_ebpf::Domain`].
    pub(crate) family: u8,
    pub(crate) protocol: Protocol,
}

impl Kind {
    /// Whether failing calls on such a socket are reported, whatever the call.
    #[inline(always)]
    pub(crate) fn reports_calls(self) -> bool {
        self.has_records() || matches!(self.protocol, Protocol::Udp)
    }

    /// Whether connect and accept keep a record of each such socket.
    #[inline(always)]
    pub(crate) fn has_records(self) -> bool {
        matches!(self.protocol, Protocol::Tcp | Protocol::Mptcp)
    }
}

impl<L: Load> Sock<L> {
    /// Kind of the socket. Only for full sockets, such as those of system calls.
    #[inline(always)]
    pub(crate) fn kind(self) -> Kind {
        let made_by = SocketCall {
            family: i32::from(self.load::<u16>(&offsets::SOCK_FAMILY)),
            socket_type: i32::from(self.load::<u16>(&offsets::SOCK_TYPE)),
            protocol: i32::from(self.load::<u16>(&offsets::SOCK_PROTOCOL)),
        };
        let family = self.family().map_or(made_by.family(), |family| family as u8);
        Kind { family, protocol: made_by.protocol() }
    }

    /// Address family that people would name, also for a socket that is bound but not connected.
    #[inline(always)]
    pub(crate) fn shown_family(self) -> Option<Family> {
        let family = self.family()?;
        let is_mapped = matches!(family, Family::Ipv6)
            && Address::mapped(self.load(&offsets::SOCK_SADDR6)).is_some();
        Some(if is_mapped { Family::Ipv4 } else { family })
    }
}
