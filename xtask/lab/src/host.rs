//! Whether this host evidently refuses tracing, found out without the daemon.

use std::{io, path::Path};

use nix::{libc, unistd::Uid};

/// The start of `union bpf_attr` for `BPF_PROG_LOAD`, up to what a tracing program needs.
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

/// Whether it is certain that tracing is refused here. A host that does not seem to refuse may do so
/// anyway: only the daemon finds out.
#[must_use]
pub fn refuses_tracing() -> bool {
    !Path::new("/sys/kernel/btf/vmlinux").exists() || (Uid::effective().is_root() && denies_load())
}

/// Whether the kernel does not let this process load tracing programs, whatever they are: offered
/// one that names no function, it answers that the program is wrong if it looks at it at all.
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
    // SAFETY: the kernel reads as many bytes as the structure has, and what it points to lives on.
    // It makes no descriptor, as no program can be attached to nothing.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &raw const attributes, size_of::<ProgramLoad>())
    };
    result < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EPERM)
}
