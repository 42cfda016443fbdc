//! Failures of many kinds for a given time: counts stay exact, and the daemon does not grow.

use std::{
    fmt, fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::Signal;

use super::{
    collector::Collector,
    daemon,
    demo::{SCENES, Scene},
    event_schema,
    flood::{Reported, number, reported},
    network::Family,
    tracer::{REPEAT_AFTER, Tracer},
    verify::sum,
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

/// Failures in lines of the stream, and those lost.
#[derive(Default)]
struct Shown {
    reported: Reported,
    lost: u64,
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
            println!(
                "{minutes} min: {} rounds, {memory_kib} KiB and {descriptors} descriptors, {shown}, {} KiB of history",
                samples.len(),
                fs::metadata(&file)?.len() / 1024
            );
            tracer.signal(Signal::SIGHUP)?;
        }
    }
    shown.agrees(&tracer, sum(&tracer.scrape()?, "socktrace_socket_errors_total{"))?;
    does_not_grow(&samples)?;
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
            self.lost += line["lost"].as_u64().unwrap_or(0);
            let more = reported(&[line], |_| true);
            self.reported.singly += more.singly;
            self.reported.repeated += more.repeated;
        }
        Ok(())
    }

    /// Checks that each failure that was counted is in a line, in a flood or lost.
    fn agrees(&mut self, tracer: &Tracer, counted: f64) -> Result<()> {
        let deadline = Instant::now() + DUE;
        while self.all() < counted && Instant::now() < deadline {
            self.read(tracer, Duration::from_secs(1))?;
        }
        ensure!((self.all() - counted).abs() < 0.5, "{counted} counted, {self}");
        Ok(())
    }

    fn all(&self) -> f64 {
        number(self.reported.all() + self.lost)
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reported: Reported { singly, repeated }, lost } = self;
        write!(f, "{singly} failures in lines and {repeated} in floods, {lost} lost")
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
