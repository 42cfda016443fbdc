//! Builds the root file system of a guest without a disk: an archive that the kernel unpacks into
//! memory.
//!
//! It consists of two archives, one after the other: a base with programs and modules, which is
//! cached for each kernel, and the files for one boot.

use std::{
    collections::hash_map::DefaultHasher,
    fs::{self, File},
    hash::{Hash as _, Hasher as _},
    io::{self, BufWriter, Seek as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use xtask_common::job::{self, Job};

use crate::{
    archive, compression,
    cpio::Cpio,
    kernel::Kernel,
    mirror::Mirrors,
    modules::{self, Index, LoadOrder},
    progress,
    userland::Userland,
    workspace,
};

/// Version of a base's content. Increase it when that changes.
const BASE_FORMAT: u32 = 4;

/// Our programs that go into a boot.
#[derive(Clone, Debug)]
pub struct GuestPrograms {
    /// Path of the static program that becomes `/init`.
    pub guest: PathBuf,
    /// Path of the static program that becomes `/bin/socktrace`.
    pub daemon: Option<PathBuf>,
    /// More files, by their paths in the guest.
    pub files: Vec<(String, PathBuf)>,
}

/// Base archive, shared by all boots of this kernel.
///
/// # Errors
///
/// When the guest's programs cannot be fetched or the archive cannot be written.
pub fn base(kernel: &Kernel, mirrors: impl FnOnce() -> Result<Mirrors>) -> Result<PathBuf> {
    let mut hasher = DefaultHasher::new();
    (BASE_FORMAT, modules::WANTED, modules::OPTIONAL).hash(&mut hasher);
    archive::cached(&format!("{}-{:016x}", kernel.package, hasher.finish()), |file| {
        let userland = Userland::ensure(kernel.arch, mirrors)?;
        write_base(BufWriter::new(file.as_file()), kernel, &userland)
            .with_context(|| format!("cannot make the guest's files for {}", kernel.package))
    })
}

fn write_base(out: BufWriter<&File>, kernel: &Kernel, userland: &Userland) -> Result<()> {
    let mut cpio = Cpio::new(out);
    for directory in ["/dev", "/proc", "/root", "/run", "/sys", "/tmp", "/var"] {
        cpio.directory(directory)?;
    }
    // The kernel opens the console for init before init can mount anything.
    cpio.device("/dev/console", 0o600, (5, 1))?;
    cpio.device("/dev/null", 0o666, (1, 3))?;
    cpio.link("/var/run", "../run")?;
    cpio.file(
        "/etc/passwd",
        0o644,
        b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    )?;
    cpio.file("/etc/group", 0o644, b"root:x:0:\nnogroup:x:65534:\n")?;
    cpio.file("/etc/hosts", 0o644, b"127.0.0.1 localhost\n::1 localhost\n")?;
    cpio.file("/etc/nsswitch.conf", 0o644, b"passwd: files\ngroup: files\nhosts: files\n")?;
    userland.add_to(&mut cpio)?;

    let plan = add_modules(&mut cpio, kernel, &modules::WANTED, &modules::OPTIONAL)?;
    if !plan.absent.is_empty() {
        let absent = plan.absent.join(", ");
        progress::note(format_args!("Note: {} has no module {absent}", kernel.package));
    }
    cpio.file(job::ABSENT_MODULES, 0o644, plan.absent.join("\n").as_bytes())?;
    cpio.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
    Ok(())
}

/// Adds modules, and the list from which a guest loads them.
fn add_modules(
    cpio: &mut Cpio<BufWriter<&File>>,
    kernel: &Kernel,
    wanted: &[&str],
    optional: &[&str],
) -> Result<LoadOrder> {
    let directory = kernel.modules();
    let index = if kernel.has_modules() { Index::read(&directory)? } else { Index::default() };
    let plan = index.plan(wanted, optional);
    let mut list = Vec::new();
    for module in &plan.order {
        // In Debian `/lib` is a link, which a directory of the same name would replace.
        let path = format!("/usr/lib/modules/{}/{}", kernel.release(), modules::plain(module));
        cpio.file(&path, 0o644, &compression::content(&directory.join(module))?)?;
        list.push(path);
    }
    cpio.file(job::MODULES, 0o644, list.join("\n").as_bytes())?;
    Ok(plan)
}

/// Archive with the modules that a container runtime needs on this kernel, for guests with a base
/// of their own.
///
/// # Errors
///
/// When a module cannot be read or the archive cannot be written.
pub fn container_modules(kernel: &Kernel) -> Result<PathBuf> {
    let mut hasher = DefaultHasher::new();
    modules::FOR_CONTAINERS.hash(&mut hasher);
    archive::cached(&format!("{}-containers-{:016x}", kernel.package, hasher.finish()), |file| {
        let mut cpio = Cpio::new(BufWriter::new(file.as_file()));
        add_modules(&mut cpio, kernel, &[], &modules::FOR_CONTAINERS)?;
        cpio.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(())
    })
}

/// Archive for one boot, appended to these cached bases, in a file without a name.
///
/// # Errors
///
/// When a program cannot be read or the file cannot be written.
pub fn boot(bases: &[&Path], programs: &GuestPrograms, job: &Job) -> Result<File> {
    let write = || {
        let mut file = tempfile::tempfile_in(workspace::cache(""))?;
        for base in bases {
            io::copy(&mut File::open(base)?, &mut file)?;
        }
        let mut cpio = Cpio::new(BufWriter::new(&file));
        cpio.file("/init", 0o755, &fs::read(&programs.guest)?)?;
        cpio.link("/usr/local/bin/guest", "/init")?;
        for (place, path) in &programs.files {
            let permissions = fs::metadata(path)?.permissions().mode() & 0o777;
            cpio.file(place, permissions, &fs::read(path)?)?;
        }
        if let Some(daemon) = &programs.daemon {
            cpio.file("/bin/socktrace", 0o755, &fs::read(daemon)?)?;
        }
        cpio.file(job::PATH, 0o644, &serde_json::to_vec(job)?)?;
        cpio.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.rewind()?;
        Ok::<_, io::Error>(file)
    };
    write().context("cannot write the guest's files")
}
