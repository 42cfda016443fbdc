//! Constants of the kernel's user-space API that several files need.

/// Protocols in `include/uapi/linux/in.h`.
pub(crate) const IPPROTO_TCP: u16 = 6;
/// See [`IPPROTO_TCP`].
pub(crate) const IPPROTO_MPTCP: u16 = 262;
/// Type of a stream socket in `include/linux/net.h`; another number only on MIPS.
pub(crate) const SOCK_STREAM: u16 = 1;
/// As a byte of a packet header.
pub(crate) const IPPROTO_UDP: u8 = 17;
