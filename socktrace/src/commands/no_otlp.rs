//! Stands in for `otlp.rs` in a build without the feature `otlp`.

use std::sync::Arc;

use socktrace_otlp::{Counts, Numbers};

use crate::{config::Resolved, metrics, sinks::Sink};

/// No exporter: the command line refuses --otlp.
pub(super) enum Otlp {}

/// Handle of the sender.
pub(super) enum Control {}

impl Otlp {
    /// # Errors
    /// When it is requested.
    pub(super) fn new(resolved: &Resolved) -> anyhow::Result<Option<Self>> {
        anyhow::ensure!(resolved.otlp.is_none(), "built without the feature `otlp`");
        Ok(None)
    }

    pub(super) fn counts(&self) -> Arc<Counts> {
        match *self {}
    }

    pub(super) fn sink(&self) -> Box<dyn Sink> {
        match *self {}
    }

    pub(super) fn start(self, _numbers: Arc<metrics::Exporter>) -> anyhow::Result<Control> {
        match self {}
    }
}

impl Control {
    pub(super) fn reload(&self) {
        match *self {}
    }

    pub(super) fn finish(&self) -> Numbers {
        match *self {}
    }
}
