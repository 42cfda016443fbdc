//! Checks, without the daemon, whether this host evidently refuses tracing.

use std::{io, path::Path};

use nix::{libc, unistd::Uid};

/// Start of `union bpf_attr` for `BPF_PROG_LOAD`, up to the last field that a tracing program
/// needs.
#[repr(C)]
#[derive(Default)]
struct ProgramLoad {
    kind: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buffer: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    expected_attach_type: u32,
}

/// Whether tracing is certain to be refused here. A host that does not seem to refuse may still do
/// so: only the daemon can find out.
#[must_use]
pub fn refuses_tracing() -> bool {
    !Path::new("/sys/kernel/btf/vmlinux").exists() || (Uid::effective().is_root() && denies_load())
}

/// Whether the kernel forbids this process to load tracing programs. The program offered names no
/// function, so a kernel that looks at it rejects it as invalid, and not for lack of permission.
fn denies_load() -> bool {
    const BPF_PROG_LOAD: libc::c_int = 5;
    const BPF_PROG_TYPE_TRACING: u32 = 26;
    const BPF_TRACE_FENTRY: u32 = 24;
    /// `r0 = 0; exit`, in the byte order of this machine.
    const INSTRUCTIONS: [u64; 2] = if cfg!(target_endian = "little") {
        [0x0000_0000_0000_00b7, 0x0000_0000_0000_0095]
    } else {
        [0xb700_0000_0000_0000, 0x9500_0000_0000_0000]
    };
    let attributes = ProgramLoad {
        kind: BPF_PROG_TYPE_TRACING,
        instruction_count: 2,
        instructions: INSTRUCTIONS.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        expected_attach_type: BPF_TRACE_FENTRY,
        ..ProgramLoad::default()
    };
    // SAFETY: the kernel reads no more than the structure's size, and the pointers in it stay
    // valid. It creates no descriptor, as the program names no function to attach to.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &raw const attributes, size_of::<ProgramLoad>())
    };
    result < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EPERM)
}
