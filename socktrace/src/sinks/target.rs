//! Destination of lines.

use std::{
    fs::File,
    io::{self, IsTerminal},
    os::fd::{AsFd, BorrowedFd},
    path::Path,
    sync::Arc,
};

use anstream::{AutoStream, ColorChoice};
use anyhow::Context as _;
use terminal_size::{Height, Width, terminal_size_of};

/// Destination of lines.
#[derive(Clone, Debug, Default)]
pub(crate) enum Target {
    /// Standard output.
    #[default]
    Stdout,
    /// Standard error, if standard output belongs to a command.
    Stderr,
    /// A file.
    File(Arc<File>),
}

impl Target {
    /// Truncates and opens the file, if there is one. Otherwise returns standard output, or
    /// standard error if a command is traced.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn new(file: Option<&Path>, is_for_command: bool) -> anyhow::Result<Self> {
        let Some(path) = file else {
            return Ok(if is_for_command { Self::Stderr } else { Self::Stdout });
        };
        let file = File::create(path);
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self::File(Arc::new(file)))
    }

    /// Columns and lines of the terminal, if the target is one.
    pub(super) fn terminal(&self) -> Option<(usize, usize)> {
        if !self.as_fd().is_terminal() {
            return None;
        }
        // Most terminals have at least this size, if theirs is unknown.
        let (Width(width), Height(height)) =
            terminal_size_of(self.as_fd()).unwrap_or((Width(80), Height(24)));
        Some((width.into(), height.into()))
    }

    /// Resolves `auto` by the target, because lines are formatted in memory.
    pub(super) fn choice(&self, color: ColorChoice) -> ColorChoice {
        match (color, self) {
            (ColorChoice::Auto, Self::Stdout) => AutoStream::choice(&io::stdout()),
            (ColorChoice::Auto, Self::Stderr) => AutoStream::choice(&io::stderr()),
            (ColorChoice::Auto, Self::File(file)) => AutoStream::choice(&**file),
            (choice, _) => choice,
        }
    }
}

impl AsFd for Target {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: nobody closes the standard streams.
        let standard = |number| unsafe { BorrowedFd::borrow_raw(number) };
        match self {
            Self::Stdout => standard(nix::libc::STDOUT_FILENO),
            Self::Stderr => standard(nix::libc::STDERR_FILENO),
            Self::File(file) => file.as_fd(),
        }
    }
}
