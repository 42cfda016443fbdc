//! The daemon's loop: takes events through the pipeline, and is a service meanwhile, until it is
//! stopped or nobody reads the stream any more.

use std::future::pending;

use socktrace_otlp::Control;

use super::{
    lifecycle::Lifecycle,
    looks::{self, Looks},
};
use crate::{
    cli::{Cli, OnFull, Output, Time},
    config::Resolved,
    counts::StreamProgress,
    kernel::load::Attached,
    pipeline::{Pipeline, Step},
    service::signals::StopSignals,
    sinks::{Clock, Format, Options},
};

/// How sinks are to work, as the command line says.
pub(super) fn options(cli: &Cli) -> Options {
    let format = match cli.output {
        Output::Human => Format::Human,
        Output::Json => Format::Json,
    };
    let clock = match cli.time {
        Time::Local => Clock::Local,
        Time::Utc => Clock::Utc,
        Time::None => Clock::None,
    };
    Options {
        format,
        color: cli.color.into(),
        clock,
        columns: cli.columns.clone(),
        drops: cli.on_full == OnFull::Drop,
    }
}

/// Runs; without a pipeline it only counts. Detaches in the end, and returns what the stream came to.
///
/// # Errors
/// When events cannot be read, or the stream cannot be written.
pub(super) async fn watch(
    mut pipeline: Option<Pipeline>,
    mut looks: Option<Looks>,
    mut lifecycle: Lifecycle,
    attached: Attached,
    resolved: Resolved,
    otlp: Option<&Control>,
    stop: &mut StopSignals,
) -> anyhow::Result<StreamProgress> {
    if let Some(pipeline) = &mut pipeline {
        pipeline.begin();
    }
    lifecycle.ready();
    let mut is_read = true;
    while is_read {
        tokio::select! {
            biased;
            () = stop.wait() => break,
            () = lifecycle.manager.due() => lifecycle.alive(),
            () = lifecycle.reload.wait() => lifecycle.reload(&resolved, |new| {
                if let Some(pipeline) = &mut pipeline {
                    pipeline.change(&options(&new.cli), new.cli.all);
                }
                if let Some(otlp) = otlp {
                    otlp.reload();
                }
            }),
            () = looks::due(&mut looks) => {
                if let Some(looks) = &looks {
                    looks.look();
                }
            }
            ready = next(&mut pipeline) => {
                let (pipeline, work) = ready?;
                is_read = pipeline.take(work).await;
            }
        }
    }
    lifecycle.manager.stopping();
    // First, or in a storm there would be no last event, and what came after it would be counted and
    // neither shown nor said to be lost.
    drop(attached);
    let Some(mut pipeline) = pipeline else { return Ok(StreamProgress::default()) };
    if is_read {
        tokio::select! {
            biased;
            () = stop.wait() => {}
            result = pipeline.finish() => result?,
        }
    }
    Ok(pipeline.end())
}

/// The next step of a pipeline; never without one. Cancel safe.
async fn next(pipeline: &mut Option<Pipeline>) -> anyhow::Result<(&mut Pipeline, Step)> {
    match pipeline {
        Some(pipeline) => {
            let step = pipeline.next().await?;
            Ok((pipeline, step))
        }
        None => pending().await,
    }
}
