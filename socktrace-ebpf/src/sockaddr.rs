//! The address that a program hands to bind or connect.

use core::marker::PhantomData;

use socktrace_ebpf::{Address, Family};

use crate::load::Load;

/// Families in `include/linux/socket.h`.
const AF_UNSPEC: u16 = 0;
const AF_INET6: u16 = 10;
/// Offsets in `struct sockaddr_in` and `sockaddr_in6`, which are ABI: port, addresses.
const PORT: usize = 2;
const IPV4_ADDRESS: usize = 4;
const IPV6_ADDRESS: usize = 8;

/// A hook's address argument, whose type admits direct loads of its first 16 bytes.
#[derive(Clone, Copy)]
pub(crate) struct SockAddr<L>(*const u8, PhantomData<L>);

impl<L: Load> SockAddr<L> {
    #[inline(always)]
    pub(crate) fn new(pointer: *const u8) -> Self {
        Self(pointer, PhantomData)
    }

    #[inline(always)]
    pub(crate) fn is_null(self) -> bool {
        self.0.is_null()
    }

    /// Whether it stands for no address (`AF_UNSPEC`): connect is to dissolve an association.
    #[inline(always)]
    pub(crate) fn is_unspecified(self) -> bool {
        self.family() == AF_UNSPEC
    }

    #[inline(always)]
    fn family(self) -> u16 {
        // SAFETY: a `struct sockaddr`, which is 16 bytes long and begins with the family.
        unsafe { L::load(self.0, 0) }
    }

    /// The port in host byte order.
    #[inline(always)]
    pub(crate) fn port(self) -> u16 {
        // SAFETY: likewise.
        u16::from_be(unsafe { L::load(self.0, PORT) })
    }

    /// The address, if it is one of IPv4.
    #[inline(always)]
    pub(crate) fn ipv4(self) -> [u8; 4] {
        // SAFETY: likewise.
        unsafe { L::load(self.0, IPV4_ADDRESS) }
    }

    /// The address, handed to a socket of this family, and its family as a person names it:
    /// `::ffff:192.0.2.1` is IPv4. An IPv6 address is all zeroes where it cannot be read
    /// ([`READ_KERNEL`]).
    ///
    /// [`READ_KERNEL`]: crate::offsets::READ_KERNEL
    #[inline(always)]
    pub(crate) fn ip(self, socket: Family) -> (Family, Address) {
        if socket == Family::Ipv4 {
            return (Family::Ipv4, Address::ipv4(self.ipv4()));
        }
        // Nothing but what the program has written.
        if self.family() != AF_INET6 {
            return (Family::Ipv6, Address::default());
        }
        // SAFETY: likewise, and as long as its family has it.
        let words = unsafe { L::load_past(self.0, IPV6_ADDRESS) };
        match Address::mapped(words) {
            Some(address) => (Family::Ipv4, address),
            None => (Family::Ipv6, Address::from_words(words)),
        }
    }
}
