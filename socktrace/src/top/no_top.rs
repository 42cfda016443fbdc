//! Stub of the module `top` for builds without that feature.

use std::{convert::Infallible, sync::Arc};

use tokio::sync::Notify;

use crate::sinks::Sink;

/// Never constructed: the command line refuses `top`.
pub(crate) enum Screen {}

/// A screen being shown.
pub(crate) struct Running {
    pub(crate) ended: Arc<Notify>,
    never: Infallible,
}

impl Screen {
    pub(crate) fn on_hooks(self, _hooks: usize) -> Self {
        self
    }

    pub(crate) fn sink(&self) -> Box<dyn Sink> {
        match *self {}
    }

    pub(crate) fn start(self) -> anyhow::Result<Running> {
        match self {}
    }
}

impl Running {
    pub(crate) fn finish(self) -> anyhow::Result<()> {
        match self.never {}
    }
}
