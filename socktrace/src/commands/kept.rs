//! Keeps a history, as configured.

use std::sync::Arc;

use anyhow::Context as _;
use nix::unistd::Group;
use socktrace_exporter::vital;
use socktrace_history::{Control, Counts, Keeper, Limits, Place, Queue};

use crate::{cli::History, history::HistorySink, service::log::NOTICE, sinks::Sink};

/// Group that may read the history.
const GROUP: &str = "socktrace";

/// Limits of the history, from the command line.
pub(super) fn limits(asked: &History) -> Limits {
    Limits { bytes: asked.bytes(), age: asked.age() }
}

/// A history that nothing is written to yet.
pub(super) struct Kept {
    keeper: Keeper,
    control: Control,
}

impl Kept {
    /// Prepares the history that the command line requests, if any. Opens the file with the current
    /// privileges.
    pub(super) fn new(asked: &History) -> Option<Self> {
        if !asked.is_on {
            return None;
        }
        let group = Group::from_name(GROUP).ok().flatten().map(|group| group.gid.as_raw());
        let place = Place { file: asked.file.clone(), group };
        log::info!(target: NOTICE, "history: {}", asked.file.display());
        let queue = Arc::new(Queue::new(Arc::default()));
        let (keeper, control) = Keeper::new(queue, place, limits(asked));
        Some(Self { keeper, control })
    }

    /// Counts of what became of lines.
    pub(super) fn counts(&self) -> Arc<Counts> {
        Arc::clone(self.control.queue().counts())
    }

    /// The sink for records.
    pub(super) fn sink(&self) -> Box<dyn Sink> {
        Box::new(HistorySink::new(Arc::clone(self.control.queue())))
    }

    /// Starts writing.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(super) fn start(self) -> anyhow::Result<Control> {
        let keeper = self.keeper;
        vital::spawn("history", || keeper.run()).context("cannot start to keep a history")?;
        Ok(self.control)
    }
}
