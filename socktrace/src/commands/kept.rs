//! Keeps a history, as the configuration asks.

use std::sync::Arc;

use anyhow::Context as _;
use nix::unistd::Group;
use socktrace_exporter::vital;
use socktrace_history::{Control, Counts, Keeper, Limits, Place, Queue};

use crate::{cli::History, history::HistorySink, service::log::NOTICE, sinks::Sink};

/// The group that may read it.
const GROUP: &str = "socktrace";

/// How much is kept, from the command line.
pub(super) fn limits(asked: &History) -> Limits {
    Limits { bytes: asked.bytes(), age: asked.age() }
}

/// What is kept, before anything is.
pub(super) struct Kept {
    keeper: Keeper,
    control: Control,
}

impl Kept {
    /// As the command line asks; `None` where it does not. Opens the file, with the privileges that there
    /// are.
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

    /// What becomes of lines.
    pub(super) fn counts(&self) -> Arc<Counts> {
        Arc::clone(self.control.queue().counts())
    }

    /// The sink for records.
    pub(super) fn sink(&self) -> Box<dyn Sink> {
        Box::new(HistorySink::new(Arc::clone(self.control.queue())))
    }

    /// Begins to write.
    ///
    /// # Errors
    /// When the system has no thread for it.
    pub(super) fn start(self) -> anyhow::Result<Control> {
        let keeper = self.keeper;
        vital::spawn("history", || keeper.run()).context("cannot start to keep a history")?;
        Ok(self.control)
    }
}
