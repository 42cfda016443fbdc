//! Calls that BPF programs forbid: at a cgroup, as container runtimes attach them, and in the place of a
//! security module.

use std::{
    fs::File,
    io, mem,
    net::SocketAddr,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
};

use anyhow::{Context as _, Result};
use aya_obj::{
    btf::{Btf, BtfKind},
    generated::{bpf_attach_type, bpf_attr, bpf_cmd, bpf_prog_type},
};
use nix::{
    libc,
    sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit},
};
use socktrace_diagnosis::Cause;

use super::{
    expected::Expected,
    network::Family,
    no_socket,
    socket::{self, Ends, ensure_errno},
};

/// The root of all cgroups, where scenarios run.
const CGROUP: &str = "/sys/fs/cgroup";

/// What socktrace sees of it.
pub(super) const POLICY: &[&str] = &["policy"];

/// bind, by a program of the cgroup.
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

/// socket, by a program of the cgroup.
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

/// accept, in the place of a security module.
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
    // The connection is in the queue still.
    let (server, _) = listener.accept()?;
    drop(client);
    socket::read_end(&server)?;
    let address = socket::local(&listener)?;
    let failure = Expected::alone(Cause::AcceptFailed, "accept", errno, address);
    Ok(vec![failure.with("fd", listener.as_raw_fd()).flags(POLICY)])
}

/// Instructions of a program of a cgroup: 0, which forbids, if the words at these offsets of its context
/// have these values, else 1.
fn unless_equal(words: &[(i16, i32)]) -> Vec<u64> {
    // As linux/bpf.h encodes them: code, registers (source above destination), offset, immediate.
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

/// Instructions of a program in the place of a function: EACCES for a process, and for others what the
/// function itself returns.
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

const fn instruction(code: u8, registers: u8, offset: i16, immediate: i32) -> u64 {
    let [low, high] = offset.to_ne_bytes();
    let [a, b, c, d] = immediate.to_ne_bytes();
    u64::from_ne_bytes([code, registers, low, high, a, b, c, d])
}

/// A program that is to be loaded.
struct Program {
    kind: bpf_prog_type,
    attach_type: bpf_attach_type,
    function: u32,
}

impl Program {
    fn new(kind: bpf_prog_type, attach_type: bpf_attach_type) -> Self {
        Self { kind, attach_type, function: 0 }
    }

    fn in_place_of(function: &str) -> Result<Self> {
        let types = Btf::from_sys_fs()?;
        let function = types.id_by_type_name_kind(function, BtfKind::Func)?;
        let kind = bpf_prog_type::BPF_PROG_TYPE_TRACING;
        Ok(Self { function, ..Self::new(kind, bpf_attach_type::BPF_MODIFY_RETURN) })
    }

    fn load(&self, instructions: &[u64]) -> Result<Loaded> {
        let license = c"GPL";
        let mut attr = empty();
        // SAFETY: all of the union is numbers, and was made with zeros.
        let program = unsafe { &mut attr.__bindgen_anon_3 };
        program.prog_type = self.kind as u32;
        program.expected_attach_type = self.attach_type as u32;
        program.attach_btf_id = self.function;
        program.insns = instructions.as_ptr() as u64;
        program.insn_cnt = instructions.len().try_into()?;
        program.license = license.as_ptr() as u64;
        let program = with_room(|| descriptor(bpf_cmd::BPF_PROG_LOAD, &mut attr))?
            .context("the kernel does not take the program that forbids")?;
        Ok(Loaded { program, attach_type: self.attach_type })
    }
}

struct Loaded {
    program: OwnedFd,
    attach_type: bpf_attach_type,
}

/// What keeps a program attached.
#[expect(dead_code, reason = "dropping it detaches the program")]
struct Link(OwnedFd);

impl Loaded {
    fn attach_to_cgroup(&self) -> Result<Link> {
        let cgroup = File::open(CGROUP)?;
        let mut attr = empty();
        attr.link_create.__bindgen_anon_1.prog_fd = self.program.as_raw_fd().cast_unsigned();
        attr.link_create.__bindgen_anon_2.target_fd = cgroup.as_raw_fd().cast_unsigned();
        attr.link_create.attach_type = self.attach_type as u32;
        Ok(Link(
            descriptor(bpf_cmd::BPF_LINK_CREATE, &mut attr).context("not attached to a cgroup")?,
        ))
    }

    fn link(&self) -> Result<Link> {
        let mut attr = empty();
        attr.raw_tracepoint.prog_fd = self.program.as_raw_fd().cast_unsigned();
        let link = descriptor(bpf_cmd::BPF_RAW_TRACEPOINT_OPEN, &mut attr);
        Ok(Link(link.context("not attached to a function")?))
    }
}

/// Does something without the limit of locked memory, which programs count against up to 5.10.
fn with_room<T>(act: impl FnOnce() -> T) -> Result<T> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_MEMLOCK)?;
    setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY)?;
    let result = act();
    setrlimit(Resource::RLIMIT_MEMLOCK, soft, hard)?;
    Ok(result)
}

fn empty() -> bpf_attr {
    // SAFETY: all of the union is numbers.
    unsafe { mem::zeroed() }
}

fn descriptor(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<OwnedFd> {
    let attr = std::ptr::from_mut(attr);
    // SAFETY: the kernel reads and writes no more than the given size, and what the numbers in it
    // point to is the caller's.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attr, size_of::<bpf_attr>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    let descriptor = RawFd::try_from(result).map_err(io::Error::other)?;
    // SAFETY: the kernel has just opened it for this call.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}
