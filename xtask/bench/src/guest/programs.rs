//! What each of socktrace's programs costs when it runs, and how much of it the verifier followed.

use std::collections::BTreeMap;

use anyhow::Result;
use xtask_common::figure::Unit;

use super::{
    Benchmark,
    bpf::{self, MeasuredPrograms},
    tool, workload,
};

const TIMES: usize = 200;

/// Measures the programs while every workload is done.
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
        // Some share the 15 bytes that the kernel keeps of a name.
        let mut known = BTreeMap::<String, u64>::new();
        for program in bpf::programs()? {
            let count = known.entry(program.name.clone()).or_default();
            *count += 1;
            let of = match count {
                1 => program.name,
                count => format!("{} ({count})", program.name),
            };
            if program.verified > 0 && name != tool::FLOOR {
                let verified = u64::from(program.verified);
                bench.report(&format!("verified/{of}"), name, Unit::Verified, verified)?;
            }
            if let Some(cost) = program.run_nanoseconds.checked_div(program.run_count) {
                bench.report(&format!("program/{of}"), name, Unit::Instructions, cost)?;
            }
        }
        running.stop()?;
    }
    Ok(())
}
