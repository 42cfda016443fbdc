//! Failures of many kinds for a given time: counts stay exact, and the daemon does not grow.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::Signal;

use super::{
    collector::Collector,
    daemon,
    demo::{SCENES, Scene},
    event_schema,
    network::Family,
    tracer::{REPEAT_AFTER, Tracer},
    verify::Metrics,
};

/// Resets a round, in addition to one failure of each scene.
const RESETS: u32 = 1_000;

/// Allowed growth of anonymous memory between the first quarter of the rounds and the last.
const GROWTH_KIB: u64 = 256;

const DIRECTORY: &str = "/run/soak";

const MINUTE: Duration = Duration::from_mins(1);

/// Longest time until everything counted is in a line.
const DUE: Duration = Duration::from_mins(1);

/// The daemon after a round.
struct Sample {
    memory_kib: u64,
    descriptors: usize,
}

/// Failures in lines of the stream.
#[derive(Default)]
struct Shown {
    singly: u32,
    repeated: u32,
    lost: u32,
}

/// Runs a daemon with every output for this many seconds, and prints its state each minute.
pub(super) fn main(args: &[String]) -> Result<i32> {
    let [seconds] = args else { bail!("say for how many seconds") };
    let end = Duration::from_secs(seconds.parse().context("no number of seconds")?);
    fs::create_dir_all(DIRECTORY)?;
    let file = format!("{DIRECTORY}/history.db");
    // The queue of records fills up, and its records are sent again and again.
    let collector = Collector::start()?;
    collector.answer_with(503);
    let url = collector.url();
    let args = ["--output", "json", "--listen", "127.0.0.1:0", REPEAT_AFTER, "10"];
    let history = ["--history", "--history-file", &file, "--history-size", "16"];
    let otlp = ["--otlp", &url, "--otlp-queue", "1"];
    let tracer = Tracer::must_start(&[&args[..], &history, &otlp].concat())?;
    SCENES.iter().try_for_each(Scene::prepare)?;
    let (started, mut minutes) = (Instant::now(), 0);
    let (mut shown, mut samples, mut each_round) = (Shown::default(), Vec::new(), None);
    while started.elapsed() < end {
        SCENES.iter().try_for_each(Scene::play)?;
        daemon::resets(Family::Ipv4, RESETS)?;
        shown.read(&tracer, Duration::ZERO)?;
        samples.push(sample(&tracer)?);
        let counted = daemon::counted(&tracer.scrape()?, Family::Ipv4);
        ensure!(counted >= f64::from(RESETS), "{counted} of {RESETS} resets are counted");
        let each_round = *each_round.get_or_insert(counted);
        let expected = each_round * f64::from(u32::try_from(samples.len())?);
        ensure!((counted - expected).abs() < 0.5, "{counted} of {expected} resets are counted");
        if started.elapsed() >= MINUTE * (minutes + 1) {
            minutes += 1;
            let Sample { memory_kib, descriptors } = samples[samples.len() - 1];
            let [rounds, history] = [samples.len() as u64, fs::metadata(&file)?.len() / 1024];
            println!(
                "{minutes} min: {rounds} rounds, {memory_kib} KiB and {descriptors} descriptors, {} failures in \
                 lines and {} in floods, {} lost, {history} KiB of history",
                shown.singly, shown.repeated, shown.lost
            );
            tracer.signal(Signal::SIGHUP)?;
        }
    }
    does_not_grow(&samples)?;
    shown.agrees(&tracer, total(&tracer.scrape()?))?;
    let (status, said) = tracer.stop(Signal::SIGINT)?;
    ensure!(status.success(), "ended with {status}:\n{said}");
    println!("{said}");
    Ok(0)
}

impl Shown {
    /// Adds the lines that come within this time.
    fn read(&mut self, tracer: &Tracer, within: Duration) -> Result<()> {
        while let Some(line) = tracer.next_line(within) {
            let line = event_schema::read(&line)?;
            let number = |name: &str| line[name].as_u64().map(u32::try_from).transpose();
            self.lost += number("lost")?.unwrap_or(0);
            if line["event"] == "failure" {
                match number("repeated")? {
                    Some(count) => self.repeated += count,
                    None => self.singly += 1,
                }
            }
        }
        Ok(())
    }

    /// Checks that each failure that was counted is in a line, in a flood or lost.
    fn agrees(&mut self, tracer: &Tracer, counted: f64) -> Result<()> {
        let deadline = Instant::now() + DUE;
        while self.all() < counted && Instant::now() < deadline {
            self.read(tracer, Duration::from_secs(1))?;
        }
        let &mut Self { singly, repeated, lost } = self;
        ensure!(
            (self.all() - counted).abs() < 0.5,
            "{counted} counted, {singly} in lines, {repeated} in floods, {lost} lost"
        );
        Ok(())
    }

    fn all(&self) -> f64 {
        f64::from(self.singly) + f64::from(self.repeated) + f64::from(self.lost)
    }
}

fn sample(tracer: &Tracer) -> Result<Sample> {
    let descriptors = fs::read_dir(format!("/proc/{}/fd", tracer.pid()))?.count();
    Ok(Sample { memory_kib: tracer.anonymous_memory()?, descriptors })
}

/// Compares the first quarter of the rounds with the last.
fn does_not_grow(samples: &[Sample]) -> Result<()> {
    let quarter = samples.len().div_ceil(4);
    let (first, last) = (&samples[..quarter], &samples[samples.len() - quarter..]);
    let memory = |samples: &[Sample]| samples.iter().map(|sample| sample.memory_kib).max();
    let descriptors = |samples: &[Sample]| samples.iter().map(|sample| sample.descriptors).min();
    let [before, after] = [first, last].map(|samples| memory(samples).unwrap_or(0));
    ensure!(after <= before + GROWTH_KIB, "memory grows from {before} to {after} KiB");
    let [before, after] = [first, last].map(|samples| descriptors(samples).unwrap_or(0));
    ensure!(after <= before, "descriptors grow from {before} to {after}");
    Ok(())
}

/// Failures counted, of all causes.
fn total(metrics: &Metrics) -> f64 {
    let is_count = |series: &str| series.starts_with("socktrace_socket_errors_total{");
    metrics.iter().filter(|(series, _)| is_count(series)).map(|(_, count)| count).sum()
}
