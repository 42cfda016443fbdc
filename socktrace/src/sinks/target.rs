//! Where lines go.

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

/// Where lines go.
#[derive(Clone, Debug, Default)]
pub(crate) enum Target {
    /// Standard output.
    #[default]
    Stdout,
    /// Standard error, where standard output is a command's.
    Stderr,
    /// A file.
    File(Arc<File>),
}

impl Target {
    /// A file if there is to be one, which begins empty; else a standard stream, which is another one than
    /// standard output for a command.
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

    /// Columns and lines of the terminal, if it is one.
    pub(super) fn terminal(&self) -> Option<(usize, usize)> {
        if !self.as_fd().is_terminal() {
            return None;
        }
        // What most terminals have at least, where it does not say.
        let (Width(width), Height(height)) =
            terminal_size_of(self.as_fd()).unwrap_or((Width(80), Height(24)));
        Some((width.into(), height.into()))
    }

    /// `auto` asks where lines go, since they go through memory.
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
