//! Measurements of socktrace and its peers, in a guest whose clock counts instructions, or on a
//! host.

mod bpf;
mod cost;
mod export;
mod growth;
mod history;
mod idle;
mod machine;
mod native;
mod programs;
mod scrape;
mod start;
mod storm;
mod tool;
mod top;
pub mod verifier;
mod workload;

use anyhow::{Context as _, Result, ensure};
use nix::sys::resource::{Resource, setrlimit};
use xtask_common::{
    figure::{Figure, MEASUREMENTS, Unit},
    report::{Report, Reporter},
};

use bpf::HookPoint;

type Measure = fn(&mut Benchmark) -> Result<()>;

/// Functions that make the [`MEASUREMENTS`], in the same order.
const MEASURES: [Measure; MEASUREMENTS.len()] = [
    cost::measure,
    programs::measure,
    storm::measure,
    start::measure,
    idle::measure,
    growth::measure,
    scrape::measure,
    export::measure,
    history::measure,
    top::measure,
];

/// More descriptors than sockets are open at once.
const DESCRIPTORS: u64 = 200_000;

/// A run of measurements.
struct Benchmark {
    reporter: Reporter,
    /// Whether to measure only enough to show that the figures still hold.
    short: bool,
    /// Functions that socktrace hooks; empty if the kernel does not report them.
    places: Vec<HookPoint>,
}

/// Makes the named measurements, and reports their figures.
///
/// # Errors
///
/// When the arguments are wrong, or a measurement fails.
pub fn main(args: &[String]) -> Result<i32> {
    let (mut short, mut chosen) = (false, Vec::new());
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--short" => short = true,
            "--native" => native::enter(args.next().context("--native takes the daemon's path")?)?,
            name => {
                let known = MEASUREMENTS.iter().position(|known| *known == name);
                chosen.push(known.with_context(|| format!("no measurement {name}"))?);
            }
        }
    }
    ensure!(!chosen.is_empty(), "say what to measure: {}", MEASUREMENTS.join(", "));
    setrlimit(Resource::RLIMIT_NOFILE, DESCRIPTORS, DESCRIPTORS)
        .context("cannot have that many sockets")?;
    let mut bench = Benchmark { reporter: Reporter::from_env()?, short, places: Vec::new() };
    let daemon = tool::named(tool::COUNTING)?.start(&[])?;
    bench.places = bpf::places()?;
    daemon.stop()?;
    for index in chosen {
        MEASURES[index](&mut bench)
            .with_context(|| format!("cannot measure {}", MEASUREMENTS[index]))?;
    }
    Ok(0)
}

impl Benchmark {
    /// Reports a figure.
    fn report(&mut self, measured: &str, subject: &str, unit: Unit, value: u64) -> Result<()> {
        let (measured, subject) = (measured.to_owned(), subject.to_owned());
        Ok(self.reporter.send(&Report::Figure(Figure { measured, subject, unit, value }))?)
    }

    /// Reports a remark next to the figures.
    fn note(&mut self, text: String) -> Result<()> {
        Ok(self.reporter.send(&Report::Note { text })?)
    }
}
