//! What one of a few words can be given for.

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

/// By which clock lines for people say when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Time {
    /// That of the system's time zone
    #[default]
    Local,
    /// UTC
    Utc,
    /// They do not say when
    None,
}

/// What to do when the stream's reader is slower than the failures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnFull {
    /// Wait for it: it gets the oldest events, and the number of those that were lost meanwhile
    #[default]
    Block,
    /// Keep a megabyte for it and drop what follows
    Drop,
}

/// How kernel functions are to be hooked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Attach {
    /// By BPF trampolines, or by kprobes where the kernel has none
    #[default]
    Auto,
    /// By BPF trampolines only
    Fentry,
    /// By kprobes only: slower, and some failures stay hidden
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
