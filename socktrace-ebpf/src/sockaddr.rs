//! The address that a program hands to bind or connect.

use core::marker::PhantomData;

use socktrace_ebpf::{Address, Family};

use crate::{
    load::{Load, Probe},
    offsets,
};

/// `AF_UNSPEC` in `include/linux/socket.h`.
const AF_UNSPEC: u16 = 0;
/// Offsets in `struct sockaddr_in` and `sockaddr_in6`, which are ABI: port, addresses.
const PORT: usize = 2;
const IPV4_ADDRESS: usize = 4;
const IPV6_ADDRESS: usize = 8;

/// A hook's address argument.
#[derive(Clone, Copy)]
pub(crate) struct SockAddr<L> {
    pointer: *const u8,
    /// Whether all of it can be read by `L`, not the first 16 bytes alone.
    is_whole: bool,
    load: PhantomData<L>,
}

impl<L: Load> SockAddr<L> {
    /// A `struct sockaddr`, whose type admits direct loads of its first 16 bytes.
    #[inline(always)]
    pub(crate) fn new(pointer: *const u8) -> Self {
        Self { pointer, is_whole: false, load: PhantomData }
    }

    /// A `struct sockaddr_storage`, or the address in the program's memory.
    #[inline(always)]
    pub(crate) fn whole(pointer: *const u8) -> Self {
        Self { is_whole: true, ..Self::new(pointer) }
    }

    #[inline(always)]
    pub(crate) fn is_null(self) -> bool {
        self.pointer.is_null()
    }

    /// Whether it stands for no address (`AF_UNSPEC`): connect is to dissolve an association.
    #[inline(always)]
    pub(crate) fn is_unspecified(self) -> bool {
        // SAFETY: a `struct sockaddr`, which is 16 bytes long and begins with the family.
        unsafe { L::load::<u16>(self.pointer, 0) == AF_UNSPEC }
    }

    /// The port in host byte order.
    #[inline(always)]
    pub(crate) fn port(self) -> u16 {
        // SAFETY: likewise.
        u16::from_be(unsafe { L::load(self.pointer, PORT) })
    }

    /// The address, if it is one of IPv4.
    #[inline(always)]
    pub(crate) fn ipv4(self) -> [u8; 4] {
        // SAFETY: likewise.
        unsafe { L::load(self.pointer, IPV4_ADDRESS) }
    }

    /// The address, handed to a socket of this family, and its family as a person names it:
    /// `::ffff:192.0.2.1` is IPv4. An IPv6 address is all zeroes where it cannot be read
    /// ([`READ_KERNEL`]).
    ///
    /// [`READ_KERNEL`]: offsets::READ_KERNEL
    #[inline(always)]
    pub(crate) fn ip(self, socket: Family) -> (Family, Address) {
        if socket == Family::Ipv4 {
            return (Family::Ipv4, Address::ipv4(self.ipv4()));
        }
        let words = if self.is_whole {
            // SAFETY: 128 bytes, or what the program has put there.
            unsafe { L::load(self.pointer, IPV6_ADDRESS) }
        } else if offsets::READ_KERNEL.get() == 1 {
            // Past the 16 bytes that the type admits.
            Probe::read(self.pointer, IPV6_ADDRESS)
        } else {
            return (Family::Ipv6, Address::default());
        };
        match Address::mapped(words) {
            Some(address) => (Family::Ipv4, address),
            None => (Family::Ipv6, Address::from_words(words)),
        }
    }
}
