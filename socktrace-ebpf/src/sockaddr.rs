//! Addresses that programs pass to bind or connect.

use core::marker::PhantomData;

use socktrace_ebpf::{Address, Detail, Event, Family, Flags, Given};

use crate::{
    load::{Load, number},
    offsets,
    sock::Sock,
    unix::Name,
};

/// Families in `include/linux/socket.h`.
const AF_UNSPEC: u16 = 0;
const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
/// Offsets in `struct sockaddr_in` and `sockaddr_in6`, which are ABI: port, addresses.
const PORT: usize = 2;
const IPV4_ADDRESS: usize = 4;
const IPV6_ADDRESS: usize = 8;
/// Minimum lengths that the kernel accepts, `sizeof(struct sockaddr_in)` and `SIN6_LEN_RFC2133`;
/// and the maximum for any address, `sizeof(struct sockaddr_storage)`.
const IPV4_LENGTH: i32 = 16;
const IPV6_LENGTH: i32 = 24;
const MOST: i32 = 128;
/// Size of the family, which every address begins with.
const FAMILY_BYTES: i32 = 2;

/// A hook's address argument, whose type permits direct loads of its first 16 bytes, and its length
/// as given by the program.
#[derive(Clone, Copy)]
pub(crate) struct SockAddr<L> {
    pointer: *const u8,
    length: i32,
    load: PhantomData<L>,
}

/// End of a connection, as requested by the program.
#[derive(Clone, Copy)]
pub(crate) struct End {
    /// As people name it: `::ffff:192.0.2.1` is IPv4.
    pub(crate) family: Family,
    /// All zeroes if the address is not of the socket's family, or cannot be read.
    pub(crate) ip: Address,
    pub(crate) port: u16,
}

impl<L: Load> SockAddr<L> {
    #[inline(always)]
    pub(crate) fn new(pointer: *const u8, length: i32) -> Self {
        Self { pointer, length, load: PhantomData }
    }

    #[inline(always)]
    pub(crate) fn is_null(self) -> bool {
        self.pointer.is_null()
    }

    /// Whether it stands for no address (`AF_UNSPEC`), with which connect dissolves an association.
    #[inline(always)]
    pub(crate) fn is_unspecified(self) -> bool {
        self.has_family() && self.family() == AF_UNSPEC
    }

    #[inline(always)]
    fn has_family(self) -> bool {
        !self.is_null() && (FAMILY_BYTES..=MOST).contains(&self.length)
    }

    /// Family of the address. Only for addresses that have one.
    #[inline(always)]
    fn family(self) -> u16 {
        // SAFETY: a `struct sockaddr`, which is 16 bytes long and begins with the family.
        unsafe { L::load(self.pointer, 0) }
    }

    /// Whether it is a complete address for a socket of this family. `inet_bind` takes `AF_UNSPEC`
    /// for `AF_INET`.
    #[inline(always)]
    fn is_whole(self, socket: Family) -> bool {
        if !self.has_family() {
            return false;
        }
        match (socket, self.family()) {
            (Family::Ipv4, AF_INET | AF_UNSPEC) => self.length >= IPV4_LENGTH,
            (Family::Ipv6, AF_INET6) => self.length >= IPV6_LENGTH,
            _ => false,
        }
    }

    /// The address that the program passed in a call on this socket.
    #[inline(always)]
    pub(crate) fn end<S: Load>(self, sock: Sock<S>) -> End {
        let socket = sock.own_family();
        let mut end = End { family: socket, ip: Address::default(), port: 0 };
        if !self.is_whole(socket) {
            return end;
        }
        // SAFETY: as long as its family requires, which is at least 16 bytes.
        end.port = u16::from_be(unsafe { L::load(self.pointer, PORT) });
        if socket == Family::Ipv4 {
            // SAFETY: as above.
            end.ip = Address::ipv4(unsafe { L::load(self.pointer, IPV4_ADDRESS) });
            return end;
        }
        // SAFETY: as above.
        let mut words = unsafe { L::load_past(self.pointer, IPV6_ADDRESS) };
        if offsets::READ_KERNEL.get() != 1 {
            // Half of it lies past what can be read. `tcp_v6_connect` has copied it, unless it failed
            // before that.
            // SAFETY: as above.
            words = sock.remote_beginning_with(unsafe { L::load(self.pointer, IPV6_ADDRESS) });
        }
        (end.family, end.ip) = match Address::mapped(words) {
            Some(address) => (Family::Ipv4, address),
            None => (Family::Ipv6, Address::from_words(words)),
        };
        end
    }

    /// Name of a Unix socket; none if it is another address.
    #[inline(always)]
    pub(crate) fn unix_name(self) -> Name {
        if !self.has_family() || self.family() != AF_UNIX {
            return Name::NONE;
        }
        let path = number(self.pointer).wrapping_add(FAMILY_BYTES as u64);
        let length = (self.length - FAMILY_BYTES) as u64;
        if L::READS_USER { Name::of_user(path, length) } else { Name::of_kernel(path, length) }
    }

    /// [`Flags::MALFORMED`] if the program has passed an incomplete address.
    #[inline(always)]
    pub(crate) fn flags(self, socket: Family) -> Flags {
        Flags::empty().with_if(Flags::MALFORMED, !self.is_null() && !self.is_whole(socket))
    }

    /// Adds the given address to an event.
    #[inline(always)]
    pub(crate) fn describe<S: Load>(self, sock: Sock<S>, event: &mut Event) {
        if self.is_null() {
            return;
        }
        let family = if self.has_family() { self.family() } else { AF_UNSPEC };
        let (length, only_v6) = (self.length, sock.is_only_v6());
        event.set_detail(Detail::Given(Given { family, length, only_v6 }));
    }
}
