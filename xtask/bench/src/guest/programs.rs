//! Cost of a run of each of socktrace's BPF programs, instructions that the verifier followed, and
//! stack usage.

use std::collections::BTreeMap;

use anyhow::Result;
use xtask_common::figure::Unit;

use super::{
    Benchmark,
    bpf::{self, MeasuredPrograms},
    tool,
    verifier::Verified,
    workload,
};

const TIMES: usize = 200;

/// Measures the programs while every workload runs.
pub(super) fn measure(bench: &mut Benchmark) -> Result<()> {
    let _measured = MeasuredPrograms::new()?;
    for name in [tool::STREAMING, tool::FLOOR] {
        let subject = tool::named(name)?;
        if !subject.is_here(&bench.places) {
            continue;
        }
        let running = subject.start_showing_all(&bench.places)?;
        for workload in &workload::ALL {
            let mut work = workload.start()?;
            for _ in 0..TIMES {
                work()?;
            }
        }
        let mut names = Names::default();
        let mut programs = bpf::programs()?;
        // Programs are loaded in no fixed order.
        programs.sort_by(|a, b| (&a.name, a.verified).cmp(&(&b.name, b.verified)));
        for program in programs {
            let of = names.distinct(program.name);
            if let Some(cost) = program.run_nanoseconds.checked_div(program.run_count) {
                bench.report(&format!("program/{of}"), name, Unit::Instructions, cost)?;
            }
        }
        running.stop()?;
    }
    let mut verified = tool::named(tool::STREAMING)?.verified()?;
    verified.sort_by(|a, b| (&a.name, a.steps).cmp(&(&b.name, b.steps)));
    let mut names = Names::default();
    for Verified { name, steps, stack } in verified {
        let of = names.distinct(name);
        bench.report(&format!("verified/{of}"), tool::STREAMING, Unit::Verified, steps)?;
        bench.report(&format!("stack/{of}"), tool::STREAMING, Unit::Stack, stack)?;
    }
    Ok(())
}

/// Names of programs seen so far. Several may share the 15 bytes that the kernel keeps.
#[derive(Default)]
struct Names(BTreeMap<String, u64>);

impl Names {
    /// Returns the name, with a number unless it is the first of this name.
    fn distinct(&mut self, name: String) -> String {
        let count = self.0.entry(name.clone()).or_default();
        *count += 1;
        match count {
            1 => name,
            count => format!("{name} ({count})"),
        }
    }
}
