//! Calls denied by BPF programs: attached to a cgroup, as container runtimes do, or to an LSM function.

use std::{net::SocketAddr, os::fd::AsRawFd as _};

use anyhow::Result;
use aya_obj::generated::{bpf_attach_type, bpf_prog_type};
use nix::libc;
use socktrace_diagnosis::Cause;

use super::{
    bpf::{Link, Program, instruction},
    expected::Expected,
    network::Family,
    no_socket,
    socket::{self, Ends, ensure_errno},
};

/// Flags of the resulting lines.
pub(super) const POLICY: &[&str] = &["policy"];

/// bind, denied by a cgroup program.
pub(super) fn bind(family: Family) -> Result<Vec<Expected>> {
    // `struct bpf_sock_addr` in linux/bpf.h.
    const USER_PORT: i16 = 24;
    let free = socket::local(&socket::bound(family.loopback())?)?;
    let attach_type = match free {
        SocketAddr::V4(_) => bpf_attach_type::BPF_CGROUP_INET4_BIND,
        SocketAddr::V6(_) => bpf_attach_type::BPF_CGROUP_INET6_BIND,
    };
    let port = i32::from(free.port().to_be());
    let _forbidden = Program::new(bpf_prog_type::BPF_PROG_TYPE_CGROUP_SOCK_ADDR, attach_type)
        .load(&unless_equal(&[(USER_PORT, port)]))?
        .attach_to_cgroup()?;
    let socket = socket::stream(free)?;
    let errno = socket::errno("bind", socket.bind(&free.into()))?;
    ensure_errno("bind", errno, libc::EPERM)?;
    let wanted = Ends::new(free, free).local;
    Ok(vec![Expected::alone(Cause::BindFailed, "bind", errno, wanted).flags(POLICY)])
}

/// socket, denied by a cgroup program.
pub(super) fn socket(family: Family) -> Result<Vec<Expected>> {
    // `struct bpf_sock` in linux/bpf.h.
    const FAMILY: i16 = 4;
    const TYPE: i16 = 8;
    let domain = no_socket::domain(family);
    let attach_type = bpf_attach_type::BPF_CGROUP_INET_SOCK_CREATE;
    let _forbidden = Program::new(bpf_prog_type::BPF_PROG_TYPE_CGROUP_SOCK, attach_type)
        .load(&unless_equal(&[(FAMILY, domain), (TYPE, libc::SOCK_DGRAM)]))?
        .attach_to_cgroup()?;
    let asked = (domain, libc::SOCK_DGRAM, libc::IPPROTO_UDP);
    let failure = no_socket::refused(asked, libc::EPERM)?;
    let words = [no_socket::domain_name(family), "SOCK_DGRAM", "IPPROTO_UDP"];
    Ok(vec![failure.asked(no_socket::family_name(family), "udp", words)])
}

/// Drops all packets of sockets with this port, by a cgroup program.
pub(super) fn packets(local_port: u16) -> Result<Link> {
    // `struct __sk_buff` in linux/bpf.h.
    const LOCAL_PORT: i16 = 136;
    let attach_type = bpf_attach_type::BPF_CGROUP_INET_EGRESS;
    Program::new(bpf_prog_type::BPF_PROG_TYPE_CGROUP_SKB, attach_type)
        .load(&unless_equal(&[(LOCAL_PORT, local_port.into())]))?
        .attach_to_cgroup()
}

/// accept, denied in place of a security module.
pub(super) fn accept(family: Family) -> Result<Vec<Expected>> {
    if super::lacks_trampolines() {
        return Ok(vec![]);
    }
    let listener = socket::listener(family.loopback(), 1)?;
    let client = socket::connect(&listener)?;
    let forbidden = Program::in_place_of("security_socket_accept")?
        .load(&eacces_for(std::process::id())?)?
        .link()?;
    let accepted = listener.accept();
    drop(forbidden);
    let errno = socket::errno("accept", accepted)?;
    ensure_errno("accept", errno, libc::EACCES)?;
    // The connection is still in the queue.
    let (server, _) = listener.accept()?;
    drop(client);
    socket::read_end(&server)?;
    let address = socket::local(&listener)?;
    let failure = Expected::alone(Cause::AcceptFailed, "accept", errno, address);
    Ok(vec![failure.with("fd", listener.as_raw_fd()).flags(POLICY)])
}

/// Instructions of a cgroup program that returns 0 (deny) if the words at these offsets of its
/// context have these values, else 1.
fn unless_equal(words: &[(i16, i32)]) -> Vec<u64> {
    let mut instructions = Vec::new();
    for (index, &(offset, value)) in words.iter().enumerate() {
        let rest = 2 * (words.len() - index - 1) + 2;
        let skip = i16::try_from(rest).unwrap_or(i16::MAX);
        instructions.push(instruction(0x61, 0x12, offset, 0)); // r2 = *(u32 *)(r1 + offset)
        instructions.push(instruction(0x55, 0x02, skip, value)); // if r2 != value skip to the end
    }
    instructions.extend([
        instruction(0xb7, 0x00, 0, 0), // r0 = 0
        instruction(0x95, 0x00, 0, 0), // exit
        instruction(0xb7, 0x00, 0, 1), // r0 = 1
        instruction(0x95, 0x00, 0, 0), // exit
    ]);
    instructions
}

/// Instructions of a program attached to a function: EACCES for one process, and the function's own
/// return value for all others.
fn eacces_for(process: u32) -> Result<Vec<u64>> {
    const GET_CURRENT_PID_TGID: i32 = 14;
    Ok(vec![
        instruction(0x85, 0x00, 0, GET_CURRENT_PID_TGID), // r0 = bpf_get_current_pid_tgid()
        instruction(0x77, 0x00, 0, 32),                   // r0 >>= 32
        instruction(0x55, 0x00, 2, process.try_into()?),  // if r0 != process skip two
        instruction(0xb7, 0x00, 0, -libc::EACCES),        // r0 = -EACCES
        instruction(0x95, 0x00, 0, 0),                    // exit
        instruction(0xb7, 0x00, 0, 0),                    // r0 = 0
        instruction(0x95, 0x00, 0, 0),                    // exit
    ])
}
