//! Cost of the start, from exec to attached, and of reading the kernel's BTF.

use std::fs;

use anyhow::Result;
use socktrace_plan::{
    btf::Btf,
    plan::{Method, plan},
};
use xtask_common::figure::Unit;

use super::{
    Benchmark, machine,
    tool::{self, BPFTRACE, FLOOR, STREAMING},
};

/// The kernel's BTF.
const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// Measures the start of every program, and its memory at and after the start. For the floor,
/// measures attaching its hooks.
pub(super) fn measure(bench: &mut Benchmark) -> Result<()> {
    for subject in tool::ALL {
        let is_chosen = !bench.short || [FLOOR, STREAMING, BPFTRACE].contains(&subject.name);
        let starts = subject.is_program() || subject.name == FLOOR;
        if !is_chosen || !starts || !subject.is_here(&bench.places) {
            continue;
        }
        let running = match subject.start(&bench.places) {
            Ok(running) => running,
            Err(error) => {
                bench.note(format!("{error:#}"))?;
                continue;
            }
        };
        bench.report("start/all work", subject.name, Unit::Instructions, running.start.busy)?;
        let Some(id) = running.id() else {
            running.stop()?;
            continue;
        };
        if let Some(elapsed) = running.start.elapsed {
            bench.report("start/exec to ready", subject.name, Unit::Instructions, elapsed)?;
        }
        let (resident, most) = machine::memory(id)?;
        bench.report("memory/resident", subject.name, Unit::Bytes, resident)?;
        bench.report("memory/most at start", subject.name, Unit::Bytes, most)?;
        bench.report("memory/maps", subject.name, Unit::Bytes, machine::maps(id)?)?;
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
        bench.report(&measured, STREAMING, Unit::Instructions, cost)?;
    }
    Ok(())
}
