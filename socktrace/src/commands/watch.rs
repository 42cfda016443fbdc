//! The daemon's loop: takes events through the pipeline and acts as a service, until it is stopped,
//! has shown as much as requested, or nobody reads the stream any more.

use std::{future::pending, sync::Arc};

use tokio::time::{Instant, sleep_until};

use super::{
    following::Following,
    lifecycle::Lifecycle,
    looks::{self, Looks},
};
use crate::{
    cli::{Cli, OnFull},
    config::Resolved,
    counts::StreamProgress,
    filter::Filter,
    kernel::load::Attached,
    pipeline::{Pipeline, Step},
    service::{reader::PipeReader, signals::StopSignals},
    sinks::{Ending, Options, Sink, StreamSink, SummarySink, Target},
};

/// The stream's sink: one line per event, or counts.
pub(super) fn stream(cli: &Cli, target: Target) -> Box<dyn Sink> {
    // A command without failures shows its own output and nothing else.
    let has_late_heading = !cli.words.is_empty();
    match cli.summary {
        Some(interval) => Box::new(SummarySink::new(options(cli), interval, cli.count).to(target)),
        None => Box::new(StreamSink::new(options(cli), cli.count).to(target, has_late_heading)),
    }
}

/// Settings of the sinks, from the command line.
pub(super) fn options(cli: &Cli) -> Options {
    Options {
        format: cli.output.into(),
        color: cli.color.into(),
        clock: cli.time.into(),
        columns: cli.columns.clone(),
        drops: cli.on_full == OnFull::Drop,
    }
}

/// Runs; without a pipeline it only counts. Finally detaches, and returns the progress of the
/// stream. `on_reload` applies the configuration to everything beside the pipeline.
///
/// # Errors
/// When events cannot be read, or the stream cannot be written.
pub(super) async fn watch(
    mut pipeline: Option<Pipeline>,
    mut looks: Option<Looks>,
    mut lifecycle: Lifecycle,
    attached: Attached,
    resolved: Resolved,
    on_reload: impl Fn(&Cli),
    (following, stop): (&mut Option<Following>, &mut StopSignals),
) -> anyhow::Result<StreamProgress> {
    if let Some(pipeline) = &mut pipeline {
        pipeline.begin();
    }
    lifecycle.ready();
    let deadline = resolved.cli.duration.map(|duration| Instant::now() + duration);
    // So that the end of `head` is noticed before the next failure.
    let reader = has_reader(&resolved.cli).then(PipeReader::new);
    if let Some(following) = following {
        following.start();
    }
    let mut ending = Ending::Read;
    while ending == Ending::Read {
        tokio::select! {
            biased;
            by = stop.wait() => {
                if following.as_mut().is_none_or(|following| following.is_stopped(by)) {
                    break;
                }
            }
            () = ended(following) => break,
            () = reached(deadline) => break,
            () = gone(reader.as_ref()) => ending = Ending::ReaderGone,
            () = lifecycle.manager.due() => lifecycle.alive(),
            () = lifecycle.reload.wait() => lifecycle.reload(&resolved, |new| {
                if let Some(pipeline) = &mut pipeline {
                    // The kernel's counts keep their filter, and the stream shows what is counted.
                    let follows = !resolved.cli.filter_metrics;
                    let filter = follows.then(|| Arc::new(Filter::from(&new.cli.filters)));
                    pipeline.change(&options(&new.cli), new.cli.all, filter);
                }
                on_reload(&new.cli);
            }),
            () = looks::due(&mut looks) => {
                if let Some(looks) = &looks {
                    looks.look();
                }
            }
            ready = next(&mut pipeline) => {
                let (pipeline, work) = ready?;
                ending = pipeline.take(work).await;
            }
        }
    }
    lifecycle.manager.stopping();
    // Detached first. In a storm there would otherwise be no last event, and later events would be
    // counted, but neither shown nor reported as lost.
    drop(attached);
    let Some(mut pipeline) = pipeline else { return Ok(StreamProgress::default()) };
    if ending != Ending::ReaderGone {
        tokio::select! {
            biased;
            _ = stop.wait() => {}
            result = pipeline.finish() => result?,
        }
    }
    Ok(pipeline.end())
}

/// Whether another process may read the stream. With a command, it goes to stderr or to a file.
const fn has_reader(cli: &Cli) -> bool {
    !cli.no_stream && cli.words.is_empty() && cli.output_file.is_none()
}

/// Waits until the deadline; forever if there is none.
async fn reached(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

/// Waits until the stream's reader has gone; forever if there is no stream.
async fn gone(reader: Option<&PipeReader>) {
    match reader {
        Some(reader) => reader.gone().await,
        None => pending().await,
    }
}

/// Waits until everything that is followed has ended; forever if nothing is. Cancel safe.
async fn ended(following: &mut Option<Following>) {
    match following {
        Some(following) => following.ended().await,
        None => pending().await,
    }
}

/// The next step of a pipeline; waits forever without one. Cancel safe.
async fn next(pipeline: &mut Option<Pipeline>) -> anyhow::Result<(&mut Pipeline, Step)> {
    match pipeline {
        Some(pipeline) => {
            let step = pipeline.next().await?;
            Ok((pipeline, step))
        }
        None => pending().await,
    }
}
