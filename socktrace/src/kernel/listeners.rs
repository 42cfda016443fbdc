//! Listeners of this host, as tracked by the kernel programs.

use std::{
    fs::File,
    io::{self, Read as _},
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
    sync::{Mutex, PoisonError},
};

use anyhow::Context as _;
use aya::{
    Btf, Ebpf,
    maps::{HashMap, Map, MapData},
    programs::Iter,
};
use nix::libc;
use socktrace_ebpf::{ListenerState, listener::LISTENER_BYTES};

use super::plan::Loss;

/// The kernel's iterator over the elements of a map, and the name of its program in the object.
const ITERATOR: &str = "bpf_map_elem";

/// Kernel function whose arguments are the program's context.
pub(super) const TARGET: &str = "bpf_iter_bpf_map_elem";

const MAP: &str = "LISTENERS";

/// From `enum bpf_cmd` and `enum bpf_attach_type` in `include/uapi/linux/bpf.h`.
const BPF_LINK_CREATE: libc::c_int = 28;
const BPF_ITER_CREATE: libc::c_int = 33;
const BPF_TRACE_ITER: u32 = 28;

/// Iterator over listeners. Once created it needs no privileges, provided that the maps need none.
pub(crate) struct ListenerTable {
    link: OwnedFd,
    map: Mutex<HashMap<MapData, u64, [u8; LISTENER_BYTES]>>,
}

/// `link_create` of `union bpf_attr`, reduced to what an iterator needs.
#[repr(C)]
struct LinkCreate {
    program: RawFd,
    target: u32,
    attach_type: u32,
    flags: u32,
    info: u64,
    info_length: u32,
    reserved: u32,
}

/// `iter_create` of `union bpf_attr`.
#[repr(C)]
struct IterCreate {
    link: RawFd,
    flags: u32,
}

impl ListenerTable {
    /// Creates the iterator.
    ///
    /// # Errors
    /// The [`Loss`] when it cannot be created.
    pub(super) fn new(ebpf: &mut Ebpf, types: &Btf, hides_memory: bool) -> Result<Self, Loss> {
        let hides =
            "accept queues, and handshakes dropped by a listener whose program never accepts";
        if hides_memory {
            let reason = "the kernel is locked down for confidentiality".to_owned();
            return Err(Loss { reason, hides });
        }
        Self::attach(ebpf, types).map_err(|error| Loss { reason: format!("{error:#}"), hides })
    }

    fn attach(ebpf: &mut Ebpf, types: &Btf) -> anyhow::Result<Self> {
        let map = ebpf.take_map(MAP).context("the kernel programs have no map of listeners")?;
        let Map::HashMap(data) = &map else {
            anyhow::bail!("the map of listeners has another layout")
        };
        let program: &mut Iter = ebpf
            .program_mut(ITERATOR)
            .context("the kernel programs have no iterator over listeners")?
            .try_into()
            .context("the iterator over listeners is another program")?;
        program.load(ITERATOR, types).context("the kernel refused the iterator over listeners")?;
        let fd = program.fd().context("the iterator over listeners is not loaded")?.as_fd();
        let link =
            link(fd, data.fd().as_fd()).context("cannot make the iterator over listeners")?;
        program.unload().context("cannot release the iterator over listeners")?;
        let map = HashMap::try_from(map).context("the map of listeners has another type")?;
        Ok(Self { link, map: Mutex::new(map) })
    }

    /// Visits every listener, so that the kernel programs count and report the packets it has
    /// dropped. Returns the sockets that listen, and forgets the others.
    ///
    /// # Errors
    /// When the iterator cannot run, for example for lack of a free descriptor.
    pub(crate) fn look(&self) -> anyhow::Result<Vec<ListenerState>> {
        let mut bytes = Vec::new();
        let mut iterator = iterator(self.link.as_fd()).context("cannot iterate over listeners")?;
        read_all(&mut iterator, &mut bytes).context("cannot iterate over listeners")?;
        let (live, gone): (Vec<_>, Vec<_>) =
            ListenerState::all_from_bytes(&bytes).partition(|listener| listener.listens == 1);
        if !gone.is_empty() {
            let mut map = self.map.lock().unwrap_or_else(PoisonError::into_inner);
            for listener in gone {
                // Its close may have removed it already.
                let _gone = map.remove(&listener.key);
            }
        }
        Ok(live)
    }
}

/// Reads to the end, trying again whenever the kernel asks for it.
fn read_all(iterator: &mut File, bytes: &mut Vec<u8>) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        match iterator.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => bytes.extend_from_slice(buffer.get(..count).unwrap_or_default()),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
                ) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Binds the program to the map.
fn link(program: BorrowedFd<'_>, map: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let info = map.as_raw_fd();
    bpf(
        BPF_LINK_CREATE,
        &LinkCreate {
            program: program.as_raw_fd(),
            target: 0,
            attach_type: BPF_TRACE_ITER,
            flags: 0,
            info: (&raw const info) as u64,
            info_length: size_of_val(&info).try_into().unwrap_or_default(),
            reserved: 0,
        },
    )
}

/// A file that runs the program when it is read.
fn iterator(link: BorrowedFd<'_>) -> io::Result<File> {
    bpf(BPF_ITER_CREATE, &IterCreate { link: link.as_raw_fd(), flags: 0 }).map(File::from)
}

/// Runs a `bpf` command that returns a descriptor.
fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: the kernel reads the attributes, of the size given, and what they point to, which the
    // caller keeps alive.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, (&raw const *attributes), size_of::<T>()) };
    match RawFd::try_from(result) {
        // SAFETY: a new descriptor, which nobody else owns.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}
