//! Small BPF programs and maps of scenarios, loaded by the bare system call.

use std::{
    fs::File,
    io, mem,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
};

use anyhow::{Context as _, Result};
use aya_obj::{
    btf::{Btf, BtfKind},
    generated::{bpf_attach_type, bpf_attr, bpf_cmd, bpf_map_type, bpf_prog_type},
};
use nix::{
    libc,
    sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit},
};
use socket2::Socket;

/// Root cgroup, where scenarios run.
const CGROUP: &str = "/sys/fs/cgroup";

/// An instruction as `linux/bpf.h` encodes it: code, registers (source above destination), offset and
/// immediate value.
pub(super) const fn instruction(code: u8, registers: u8, offset: i16, immediate: i32) -> u64 {
    let [low, high] = offset.to_ne_bytes();
    let [a, b, c, d] = immediate.to_ne_bytes();
    u64::from_ne_bytes([code, registers, low, high, a, b, c, d])
}

/// A program to load.
pub(super) struct Program {
    kind: bpf_prog_type,
    attach_type: bpf_attach_type,
    function: u32,
}

impl Program {
    pub(super) fn new(kind: bpf_prog_type, attach_type: bpf_attach_type) -> Self {
        Self { kind, attach_type, function: 0 }
    }

    pub(super) fn in_place_of(function: &str) -> Result<Self> {
        let types = Btf::from_sys_fs()?;
        let function = types.id_by_type_name_kind(function, BtfKind::Func)?;
        let kind = bpf_prog_type::BPF_PROG_TYPE_TRACING;
        Ok(Self { function, ..Self::new(kind, bpf_attach_type::BPF_MODIFY_RETURN) })
    }

    pub(super) fn load(&self, instructions: &[u64]) -> Result<Loaded> {
        let license = c"GPL";
        let mut attr = empty();
        // SAFETY: every member of the union is an integer, and all are zero.
        let program = unsafe { &mut attr.__bindgen_anon_3 };
        program.prog_type = self.kind as u32;
        program.expected_attach_type = self.attach_type as u32;
        program.attach_btf_id = self.function;
        program.insns = instructions.as_ptr() as u64;
        program.insn_cnt = instructions.len().try_into()?;
        program.license = license.as_ptr() as u64;
        let program = with_room(|| descriptor(bpf_cmd::BPF_PROG_LOAD, &mut attr))?
            .context("the kernel does not take a program")?;
        Ok(Loaded { program, attach_type: self.attach_type })
    }
}

/// A loaded program.
pub(super) struct Loaded {
    program: OwnedFd,
    attach_type: bpf_attach_type,
}

/// Link of an attached program.
#[expect(dead_code, reason = "dropping it detaches the program")]
pub(super) struct Link(OwnedFd);

impl Loaded {
    /// Attaches the program to the cgroup in which scenarios run.
    pub(super) fn attach_to_cgroup(&self) -> Result<Link> {
        let cgroup = File::open(CGROUP)?;
        let mut attr = empty();
        attr.link_create.__bindgen_anon_1.prog_fd = self.program.as_raw_fd().cast_unsigned();
        attr.link_create.__bindgen_anon_2.target_fd = cgroup.as_raw_fd().cast_unsigned();
        attr.link_create.attach_type = self.attach_type as u32;
        Ok(Link(
            descriptor(bpf_cmd::BPF_LINK_CREATE, &mut attr).context("not attached to a cgroup")?,
        ))
    }

    /// Attaches the program to the function that it was loaded for.
    pub(super) fn link(&self) -> Result<Link> {
        let mut attr = empty();
        attr.raw_tracepoint.prog_fd = self.program.as_raw_fd().cast_unsigned();
        let link = descriptor(bpf_cmd::BPF_RAW_TRACEPOINT_OPEN, &mut attr);
        Ok(Link(link.context("not attached to a function")?))
    }

    /// Attaches the program to the sockets of a map.
    pub(super) fn attach_to(&self, map: &SocketMap) -> Result<()> {
        let mut attr = empty();
        // SAFETY: every member of the union is an integer, and all are zero.
        let attach = unsafe { &mut attr.__bindgen_anon_5 };
        attach.__bindgen_anon_1.target_fd = map.descriptor().cast_unsigned();
        attach.attach_bpf_fd = self.program.as_raw_fd().cast_unsigned();
        attach.attach_type = self.attach_type as u32;
        call(bpf_cmd::BPF_PROG_ATTACH, &mut attr).context("not attached to a map")?;
        Ok(())
    }
}

/// A map of sockets.
pub(super) struct SocketMap(OwnedFd);

impl SocketMap {
    /// Creates a map of these sockets, with keys from 0. Only programs that `attach` attaches
    /// apply: they must be there before a socket is inserted.
    pub(super) fn of(
        sockets: &[&Socket],
        attach: impl FnOnce(&Self) -> Result<()>,
    ) -> Result<Self> {
        let mut attr = empty();
        // SAFETY: every member of the union is an integer, and all are zero.
        let map = unsafe { &mut attr.__bindgen_anon_1 };
        map.map_type = bpf_map_type::BPF_MAP_TYPE_SOCKMAP as u32;
        (map.key_size, map.value_size) = (4, 4);
        map.max_entries = sockets.len().try_into()?;
        let map = with_room(|| descriptor(bpf_cmd::BPF_MAP_CREATE, &mut attr))?;
        let map = Self(map.context("no map of sockets")?);
        attach(&map)?;
        for (key, socket) in (0_u32..).zip(sockets) {
            map.insert(key, socket)?;
        }
        Ok(map)
    }

    fn insert(&self, key: u32, socket: &Socket) -> Result<()> {
        let value = socket.as_raw_fd();
        let mut attr = empty();
        // SAFETY: every member of the union is an integer, and all are zero.
        let element = unsafe { &mut attr.__bindgen_anon_2 };
        element.map_fd = self.descriptor().cast_unsigned();
        element.key = &raw const key as u64;
        element.__bindgen_anon_1.value = &raw const value as u64;
        call(bpf_cmd::BPF_MAP_UPDATE_ELEM, &mut attr).context("the map does not take a socket")?;
        Ok(())
    }

    pub(super) fn descriptor(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Lifts the locked-memory limit during `act`; up to 5.10, programs and maps count against it.
fn with_room<T>(act: impl FnOnce() -> T) -> Result<T> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_MEMLOCK)?;
    setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY)?;
    let result = act();
    setrlimit(Resource::RLIMIT_MEMLOCK, soft, hard)?;
    Ok(result)
}

fn empty() -> bpf_attr {
    // SAFETY: every member of the union is an integer.
    unsafe { mem::zeroed() }
}

/// Makes a call that returns a descriptor.
fn descriptor(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<OwnedFd> {
    let descriptor = call(command, attr)?;
    // SAFETY: the kernel has just opened it for this call.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

fn call(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<RawFd> {
    let attr = std::ptr::from_mut(attr);
    // SAFETY: the kernel reads and writes no more than the given size, and pointers in `attr` are
    // the caller's to keep valid.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attr, size_of::<bpf_attr>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    RawFd::try_from(result).map_err(io::Error::other)
}
