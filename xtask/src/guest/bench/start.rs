//! From exec to attached, and the part of it that reads the kernel's type information.

use std::fs;

use anyhow::{Context as _, Result};
use socktrace_plan::{
    btf::Btf,
    plan::{Method, plan},
};
use xtask::figure::Unit;

use super::{
    Bench, machine,
    subject::{self, BPFTRACE, STREAMING},
};

/// Where the kernel shows its type information.
const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// Measures every program's start, and its memory after it.
pub(super) fn measure(bench: &mut Bench) -> Result<()> {
    for subject in subject::ALL {
        let is_chosen = !bench.short || [STREAMING, BPFTRACE].contains(&subject.name);
        if !is_chosen || !subject.is_program() || !subject.is_here(&bench.places) {
            continue;
        }
        let running = match subject.start(&bench.places) {
            Ok(running) => running,
            Err(error) => {
                bench.note(format!("{error:#}"))?;
                continue;
            }
        };
        let id = running.id().context("no process")?;
        if let Some(elapsed) = running.start.elapsed {
            bench.tell("start/exec to ready", subject.name, Unit::Instructions, elapsed)?;
        }
        bench.tell("start/all work", subject.name, Unit::Instructions, running.start.busy)?;
        bench.tell("memory/resident", subject.name, Unit::Bytes, machine::memory(id)?.0)?;
        bench.tell("memory/maps", subject.name, Unit::Bytes, machine::maps(id)?)?;
        running.stop()?;
    }

    let before = machine::own()?;
    let data = fs::read(VMLINUX)?;
    let read = machine::own()? - before;
    let btf = Btf::parse(data)?;
    let parsed = machine::own()? - before - read;
    plan(&btf, Method::Fentry).map_err(|missing| anyhow::anyhow!("no plan: {missing:?}"))?;
    let planned = machine::own()? - before - read - parsed;
    for (part, cost) in [("read", read), ("parsed", parsed), ("looked up", planned)] {
        let measured = format!("start/type information {part}");
        bench.tell(&measured, STREAMING, Unit::Instructions, cost)?;
    }
    Ok(())
}
