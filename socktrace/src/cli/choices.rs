//! Options that take one of a few values.

use clap::ValueEnum;

use crate::{
    kernel::plan::Method,
    sinks::{Clock, Format},
};

/// Format of the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// Aligned lines for people
    #[default]
    Human,
    /// One JSON object a line
    Json,
}

/// Time zone of timestamps in lines for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Time {
    /// The system's time zone
    #[default]
    Local,
    /// UTC
    Utc,
    /// No timestamps
    None,
}

/// What to do when the stream's reader is slower than the failures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnFull {
    /// Wait for it: the oldest events are kept, and the number of events lost meanwhile is reported
    #[default]
    Block,
    /// Buffer one megabyte and drop what follows
    Drop,
}

/// How to hook kernel functions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Attach {
    /// BPF trampolines, or kprobes where the kernel has none
    #[default]
    Auto,
    /// BPF trampolines only
    Fentry,
    /// Kprobes only: slower, and some failures stay hidden
    Kprobe,
}

impl From<Attach> for Method {
    fn from(attach: Attach) -> Self {
        match attach {
            Attach::Auto => Self::Auto,
            Attach::Fentry => Self::Fentry,
            Attach::Kprobe => Self::Kprobe,
        }
    }
}

/// Whether to color.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless `NO_COLOR` is set
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

impl From<Output> for Format {
    fn from(output: Output) -> Self {
        match output {
            Output::Human => Self::Human,
            Output::Json => Self::Json,
        }
    }
}

impl From<Time> for Clock {
    fn from(time: Time) -> Self {
        match time {
            Time::Local => Self::Local,
            Time::Utc => Self::Utc,
            Time::None => Self::None,
        }
    }
}

impl From<Color> for anstream::ColorChoice {
    fn from(color: Color) -> Self {
        match color {
            Color::Auto => Self::Auto,
            Color::Always => Self::AlwaysAnsi,
            Color::Never => Self::Never,
        }
    }
}
