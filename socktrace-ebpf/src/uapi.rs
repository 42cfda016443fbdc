//! Numbers of the kernel's interface to programs that several files need.

/// Protocols in `include/uapi/linux/in.h`.
pub(crate) const IPPROTO_TCP: u16 = 6;
/// See [`IPPROTO_TCP`].
pub(crate) const IPPROTO_MPTCP: u16 = 262;
/// The type of a stream socket in `include/linux/net.h`; another number on MIPS alone.
pub(crate) const SOCK_STREAM: u16 = 1;
/// As a byte of a packet.
pub(crate) const IPPROTO_UDP: u8 = 17;
