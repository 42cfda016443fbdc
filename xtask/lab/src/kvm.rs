//! Check for a working KVM: not only that its device exists, but that a kernel boots with it.

use std::{
    fs::{self, OpenOptions},
    time::Duration,
};

use anyhow::{Context as _, Result};

use crate::{
    boot::{Boot, Limits, Outcome, Terminal},
    initramfs::GuestPrograms,
    prepare::BootFiles,
    progress,
    qemu::{Accelerator, Mode},
    workspace,
};

const LIMIT: Duration = Duration::from_secs(10);

/// Returns the accelerator to run guests with. The first call tries KVM, and the verdict is kept
/// until this machine restarts.
///
/// # Errors
///
/// When QEMU cannot be run or the verdict cannot be kept.
pub(crate) fn accelerator(files: &BootFiles, programs: &GuestPrograms) -> Result<Accelerator> {
    if !files.kernel.arch.is_own() {
        return Ok(Accelerator::Tcg);
    }
    if OpenOptions::new().read(true).write(true).open("/dev/kvm").is_err() {
        return Ok(Accelerator::Tcg);
    }
    let path = workspace::cache("kvm");
    let session = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let verdict = |word: &str| format!("{word} {session}");
    let kept = fs::read_to_string(&path).unwrap_or_default();
    if kept == verdict("works") {
        return Ok(Accelerator::Kvm);
    }
    if kept == verdict("fails") {
        return Ok(Accelerator::Tcg);
    }
    let step = progress::step("Checking whether KVM works here");
    let outcome = Boot {
        files,
        programs,
        peers: None,
        prometheus: None,
        network: &[],
        accelerator: Accelerator::Kvm,
        mode: Mode::Smp,
        append: "",
        command: vec!["true".into()],
        env: [].into(),
        terminal: Terminal::Logged(workspace::cache("kvm.log")),
        limits: Some(Limits { start: LIMIT, silence: LIMIT, total: LIMIT }),
    }
    .run(drop)?;
    let works = outcome == Outcome::Finished { code: 0 };
    step.done(if works { "Booted a guest by KVM" } else { "Found that KVM does not work here" });
    fs::write(&path, verdict(if works { "works" } else { "fails" }))
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(if works { Accelerator::Kvm } else { Accelerator::Tcg })
}
