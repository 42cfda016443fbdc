//! The kernel's view of loaded BPF programs, and the cheapest program possible.

use std::{
    ffi::CStr,
    fs, io, mem,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
    sync::OnceLock,
};

use anyhow::{Context as _, Result, anyhow};
use aya_obj::generated::{
    bpf_attr, bpf_cmd, bpf_link_info, bpf_link_type, bpf_map_type, bpf_prog_info, bpf_prog_type,
};
use nix::libc;

use super::verifier::Code;

/// A program, and its statistics since it was loaded.
#[derive(Clone, Debug)]
pub(super) struct ProgramStats {
    /// Start of its name: the kernel keeps 15 bytes.
    pub(super) name: String,
    /// Instructions that the verifier followed; 0 before 5.16, which does not report it.
    pub(super) verified: u32,
    pub(super) run_count: u64,
    pub(super) run_nanoseconds: u64,
}

/// Hook of a BTF-based program: its attach type, and the ids of the BTF object and of the function
/// in it.
pub(super) type HookPoint = (u32, u32, u32);

/// Ids of the programs and links that others had loaded before.
static OTHERS: OnceLock<LoadedBefore> = OnceLock::new();

#[derive(Debug)]
struct LoadedBefore {
    programs: Vec<u32>,
    links: Vec<u32>,
}

/// Excludes everything that is loaded and attached now from later results.
pub(super) fn leave_out_others() -> Result<()> {
    let programs = ids(bpf_cmd::BPF_PROG_GET_NEXT_ID)?;
    let links = ids(bpf_cmd::BPF_LINK_GET_NEXT_ID)?;
    OTHERS.set(LoadedBefore { programs, links }).map_err(|_| anyhow!("left out twice"))
}

fn is_other(id: u32, of: fn(&LoadedBefore) -> &Vec<u32>) -> bool {
    OTHERS.get().is_some_and(|others| of(others).contains(&id))
}

/// All loaded programs, except those of others.
pub(super) fn programs() -> Result<Vec<ProgramStats>> {
    ids(bpf_cmd::BPF_PROG_GET_NEXT_ID)?
        .into_iter()
        .filter(|id| !is_other(*id, |others| &others.programs))
        .map(|id| {
            let info: bpf_prog_info = info(id, bpf_cmd::BPF_PROG_GET_FD_BY_ID)?;
            // SAFETY: the kernel terminates names with a zero byte.
            let name = unsafe { CStr::from_ptr(info.name.as_ptr()) };
            Ok(ProgramStats {
                name: name.to_string_lossy().into_owned(),
                verified: info.verified_insns,
                run_count: info.run_cnt,
                run_nanoseconds: info.run_time_ns,
            })
        })
        .collect()
}

/// Returns a loaded program's code: its instructions, and where its functions begin.
pub(super) fn code(id: u32) -> Result<Code> {
    let sizes: bpf_prog_info = info(id, bpf_cmd::BPF_PROG_GET_FD_BY_ID)?;
    let mut instructions = vec![0_u64; usize::try_from(sizes.xlated_prog_len)? / 8];
    // The first word is an offset in instructions, the second one a type id.
    let mut functions = vec![[0_u32; 2]; usize::try_from(sizes.nr_func_info)?];
    // SAFETY: the structure consists of integers.
    let mut wanted: bpf_prog_info = unsafe { mem::zeroed() };
    wanted.xlated_prog_len = sizes.xlated_prog_len;
    wanted.xlated_prog_insns = instructions.as_mut_ptr() as u64;
    wanted.nr_func_info = sizes.nr_func_info;
    wanted.func_info_rec_size = u32::try_from(size_of::<[u32; 2]>())?;
    wanted.func_info = functions.as_mut_ptr() as u64;
    info_into(id, bpf_cmd::BPF_PROG_GET_FD_BY_ID, &mut wanted)?;
    let begins = functions.iter().map(|[at, _]| Ok(usize::try_from(*at)?));
    let mut functions = begins.collect::<Result<Vec<_>>>()?;
    if functions.is_empty() {
        functions.push(0);
    }
    Ok(Code { instructions, functions })
}

/// Functions that programs are attached to by BTF, without duplicates. Empty before 5.13, which
/// does not report them.
pub(super) fn places() -> Result<Vec<HookPoint>> {
    let mut places = Vec::new();
    let links = ids(bpf_cmd::BPF_LINK_GET_NEXT_ID)?;
    for id in links.into_iter().filter(|id| !is_other(*id, |others| &others.links)) {
        let info: bpf_link_info = info(id, bpf_cmd::BPF_LINK_GET_FD_BY_ID)?;
        if info.type_ == bpf_link_type::BPF_LINK_TYPE_TRACING as u32 {
            // SAFETY: links of this type have this member.
            let tracing = unsafe { info.__bindgen_anon_1.tracing };
            if tracing.target_btf_id != 0 {
                places.push((tracing.attach_type, tracing.target_obj_id, tracing.target_btf_id));
            }
        }
    }
    places.sort_unstable();
    places.dedup();
    Ok(places)
}

/// Has the kernel measure the run time of programs until this is dropped. Measuring costs a little
/// itself.
#[must_use]
pub(super) struct MeasuredPrograms {
    /// The setting to restore.
    before: String,
}

const STATISTICS: &str = "/proc/sys/kernel/bpf_stats_enabled";

impl MeasuredPrograms {
    pub(super) fn new() -> Result<Self> {
        let before = fs::read_to_string(STATISTICS).context("the kernel measures no programs")?;
        fs::write(STATISTICS, "1").context("cannot have programs measured")?;
        Ok(Self { before })
    }
}

impl Drop for MeasuredPrograms {
    fn drop(&mut self) {
        if let Err(error) = fs::write(STATISTICS, &self.before) {
            eprintln!("the kernel goes on measuring programs: {error}");
        }
    }
}

/// A program at each hook that increments a per-CPU counter and does nothing else. No tool that
/// counts there can cost less.
#[expect(dead_code, reason = "programs are hooked as long as their links are open")]
pub(super) struct Floor(Vec<OwnedFd>);

impl Floor {
    pub(super) fn new(places: &[HookPoint]) -> Result<Self> {
        let counts = counts().context("cannot make a map")?;
        let mut links = Vec::new();
        for place in places {
            let program = load(*place, counts.as_raw_fd())
                .with_context(|| format!("cannot load a program for {place:?}"))?;
            let mut attr = empty();
            attr.raw_tracepoint.prog_fd = program.as_raw_fd().cast_unsigned();
            let link = descriptor(bpf_cmd::BPF_RAW_TRACEPOINT_OPEN, &mut attr)
                .with_context(|| format!("cannot hook {place:?}"))?;
            links.push(link);
        }
        Ok(Self(links))
    }
}

fn counts() -> io::Result<OwnedFd> {
    let mut attr = empty();
    // SAFETY: the union consists of integers, and was zeroed.
    let map = unsafe { &mut attr.__bindgen_anon_1 };
    map.map_type = bpf_map_type::BPF_MAP_TYPE_PERCPU_ARRAY as u32;
    map.key_size = 4;
    map.value_size = 8;
    map.max_entries = 1;
    descriptor(bpf_cmd::BPF_MAP_CREATE, &mut attr)
}

fn load((attach_type, _, function): HookPoint, counts: RawFd) -> io::Result<OwnedFd> {
    // Encoded as in linux/bpf.h: code, registers (source above destination), offset, immediate.
    let instructions = [
        instruction(0x62, 0x0a, -4, 0),     // *(u32 *)(r10 - 4) = 0
        instruction(0xbf, 0xa2, 0, 0),      // r2 = r10
        instruction(0x07, 0x02, 0, -4),     // r2 += -4
        instruction(0x18, 0x11, 0, counts), // r1 = map
        instruction(0x00, 0x00, 0, 0),      //   (second half)
        instruction(0x85, 0x00, 0, 1),      // r0 = bpf_map_lookup_elem(r1, r2)
        instruction(0x15, 0x00, 3, 0),      // if r0 == 0 goto the end
        instruction(0x79, 0x01, 0, 0),      // r1 = *(u64 *)(r0 + 0)
        instruction(0x07, 0x01, 0, 1),      // r1 += 1
        instruction(0x7b, 0x10, 0, 0),      // *(u64 *)(r0 + 0) = r1
        instruction(0xb7, 0x00, 0, 0),      // r0 = 0
        instruction(0x95, 0x00, 0, 0),      // exit
    ];
    let license = c"GPL";
    let mut attr = empty();
    // SAFETY: the union consists of integers, and was zeroed.
    let program = unsafe { &mut attr.__bindgen_anon_3 };
    program.prog_type = bpf_prog_type::BPF_PROG_TYPE_TRACING as u32;
    program.expected_attach_type = attach_type;
    program.attach_btf_id = function;
    program.insns = instructions.as_ptr() as u64;
    program.insn_cnt = u32::try_from(instructions.len()).unwrap_or(u32::MAX);
    program.license = license.as_ptr() as u64;
    for (to, from) in program.prog_name.iter_mut().zip(c"floor".to_bytes()) {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    descriptor(bpf_cmd::BPF_PROG_LOAD, &mut attr)
}

fn instruction(code: u8, registers: u8, offset: i16, immediate: i32) -> u64 {
    let [low, high] = offset.to_ne_bytes();
    let [a, b, c, d] = immediate.to_ne_bytes();
    u64::from_ne_bytes([code, registers, low, high, a, b, c, d])
}

/// Ids of all programs or links.
fn ids(next: bpf_cmd) -> Result<Vec<u32>> {
    let mut ids = Vec::new();
    let mut attr = empty();
    loop {
        match bpf(next, &mut attr) {
            // SAFETY: the kernel has written an integer.
            Ok(_) => ids.push(unsafe { attr.__bindgen_anon_6.next_id }),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(ids),
            Err(error) => return Err(error).context("cannot list BPF objects"),
        }
        let last = ids.last().copied().unwrap_or_default();
        attr = empty();
        attr.__bindgen_anon_6.__bindgen_anon_1.start_id = last;
    }
}

/// Reads the kernel's information about a program or link. `T` consists of integers.
fn info<T>(id: u32, open: bpf_cmd) -> Result<T> {
    // SAFETY: callers name the kernel's own structures, which consist of integers.
    let mut info: T = unsafe { mem::zeroed() };
    info_into(id, open, &mut info)?;
    Ok(info)
}

/// Reads into `info` what the kernel reports about a program or link, and also fills the buffers
/// that the pointers in `info` name. The caller guarantees that those are valid.
fn info_into<T>(id: u32, open: bpf_cmd, info: &mut T) -> Result<()> {
    let mut attr = empty();
    attr.__bindgen_anon_6.__bindgen_anon_1.start_id = id;
    let object = descriptor(open, &mut attr).with_context(|| format!("cannot open {id}"))?;
    let mut attr = empty();
    attr.info.bpf_fd = object.as_raw_fd().cast_unsigned();
    attr.info.info_len = u32::try_from(size_of::<T>())?;
    attr.info.info = std::ptr::from_mut(info) as u64;
    bpf(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attr).with_context(|| format!("what is {id}?"))?;
    Ok(())
}

fn empty() -> bpf_attr {
    // SAFETY: the union consists of integers.
    unsafe { mem::zeroed() }
}

fn descriptor(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<OwnedFd> {
    let descriptor = bpf(command, attr)?;
    // SAFETY: the kernel has just opened this descriptor for this call.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

fn bpf(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<RawFd> {
    let attr = std::ptr::from_mut(attr);
    // SAFETY: the kernel accesses no more than the given size of `attr`. The caller guarantees that
    // pointers in `attr` are valid.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attr, size_of::<bpf_attr>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    RawFd::try_from(result).map_err(io::Error::other)
}
