//! Stands in for `remote_names.rs` in a build without the feature `resolve`.

use std::future::Ready;

use super::Record;

/// No names: the command line refuses --resolve.
pub(crate) enum RemoteNames {}

impl RemoteNames {
    /// # Errors
    /// Always.
    pub(crate) fn of_this_host() -> anyhow::Result<Self> {
        anyhow::bail!("built without the feature `resolve`")
    }

    pub(crate) fn name(&mut self, _records: &mut [Record]) -> Ready<()> {
        match *self {}
    }
}
