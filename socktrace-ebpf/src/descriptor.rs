//! The socket behind a descriptor of the current process, for hooks that get no socket.
//!
//! The way leads through pointers to pointers and `void *`, which have no type to load by: only
//! `bpf_probe_read_kernel` reads it, see [`READ_KERNEL`].
//!
//! [`READ_KERNEL`]: crate::offsets::READ_KERNEL

use aya_ebpf::helpers::generated::bpf_get_current_task;
use socktrace_ebpf::{Address, Event, Family};

use crate::{
    load::Probe,
    offsets::{self, Fact},
};

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const IPPROTO_TCP: u16 = 6;

/// A TCP socket found by descriptor.
#[derive(Clone, Copy)]
pub(crate) struct DescribedSock {
    sock: *const u8,
    pub(crate) family: Family,
}

/// The TCP socket behind `fd`; `None` for everything else.
#[inline(always)]
pub(crate) fn tcp_sock(fd: i32) -> Option<DescribedSock> {
    if fd < 0 || offsets::READ_KERNEL.get() != 1 {
        return None;
    }
    // SAFETY: takes nothing; returns the current task's address.
    let task = unsafe { bpf_get_current_task() } as *const u8;
    let pointer = Probe::read_member::<*const u8>;
    let table = pointer(
        pointer(pointer(task, &offsets::TASK_FILES), &offsets::FILES_FDT),
        &offsets::FDTABLE_FD,
    );
    // The call has looked the descriptor up before, so it lies in the table.
    let file: *const u8 = Probe::read(table, fd as usize * size_of::<usize>());
    let socket = pointer(file, &offsets::FILE_PRIVATE_DATA);
    let sock = pointer(socket, &offsets::SOCKET_SK);
    if sock.is_null() {
        return None;
    }
    // A file that is no socket gives a protocol or family that is refused here.
    let protocol: u16 = Probe::read_member(sock, &offsets::SOCK_PROTOCOL);
    let family: u16 = Probe::read_member(sock, &offsets::SOCK_FAMILY);
    let family = match family {
        AF_INET => Family::Ipv4,
        AF_INET6 => Family::Ipv6,
        _ => return None,
    };
    (protocol == IPPROTO_TCP).then_some(DescribedSock { sock, family })
}

impl DescribedSock {
    #[inline(always)]
    fn member<T: Copy>(self, offset: &Fact) -> T {
        Probe::read_member(self.sock, offset)
    }

    /// The socket's TCP state.
    #[inline(always)]
    pub(crate) fn state(self) -> u8 {
        self.member(&offsets::SOCK_STATE)
    }

    /// Fills in where the socket is.
    #[inline(always)]
    pub(crate) fn describe(self, event: &mut Event) {
        let (local, remote) = match self.family {
            Family::Ipv4 => {
                (v4(self.member(&offsets::SOCK_SADDR)), v4(self.member(&offsets::SOCK_DADDR)))
            }
            Family::Ipv6 => (
                Address { octets: self.member(&offsets::SOCK_SADDR6) },
                Address { octets: self.member(&offsets::SOCK_DADDR6) },
            ),
        };
        event.local = local;
        event.remote = remote;
        // A listener that was shut down has no number any more, a socket that does not listen or
        // connect yet no source port.
        let source = u16::from_be(self.member(&offsets::INET_SPORT));
        event.local_port = if source == 0 { self.member(&offsets::SOCK_NUM) } else { source };
        event.remote_port = u16::from_be(self.member(&offsets::SOCK_DPORT));
        let net: *const u8 = self.member(&offsets::SOCK_NET);
        event.netns = Probe::read_member(net, &offsets::NET_INUM);
    }
}

#[inline(always)]
fn v4(octets: [u8; 4]) -> Address {
    let mut address = Address::default();
    address.octets[..4].copy_from_slice(&octets);
    address
}
