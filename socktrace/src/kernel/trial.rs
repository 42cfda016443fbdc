//! Whether the kernel takes BPF programs and maps from this process, found out by offering it some.

use std::{error::Error, io};

use aya::{
    maps::MapType,
    programs::ProgramType,
    sys::{is_map_supported, is_program_supported},
};

/// Result of offering a program or map to the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The kernel took it. It is gone again.
    Taken,
    /// The kernel knows no such thing.
    Unknown,
    /// The kernel refused it, with these words.
    Refused(String),
}

/// The kernel's answers.
#[derive(Clone, Debug)]
pub(crate) struct Answers {
    /// To a program that filters a socket's packets, which needs the least trust.
    pub(crate) filter: Answer,
    /// To a program for kprobes.
    pub(crate) kprobe: Answer,
    /// To a program for a BPF trampoline.
    pub(crate) trampoline: Answer,
    /// To a ring buffer.
    pub(crate) ring_buffer: Answer,
}

impl Answers {
    /// Offers programs of two instructions, which are not attached to anything, and a ring buffer
    /// of one page.
    pub(crate) fn ask() -> Self {
        Self {
            filter: program(ProgramType::SocketFilter),
            kprobe: program(ProgramType::KProbe),
            trampoline: program(ProgramType::Tracing),
            ring_buffer: answer(is_map_supported(MapType::RingBuf)),
        }
    }
}

fn program(kind: ProgramType) -> Answer {
    answer(is_program_supported(kind))
}

fn answer<E: Error + 'static>(result: Result<bool, E>) -> Answer {
    match result {
        Ok(true) => Answer::Taken,
        Ok(false) => Answer::Unknown,
        Err(error) => Answer::Refused(words(&error)),
    }
}

/// The kernel's own words at the end of the chain of causes.
fn words(error: &(dyn Error + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    match last.downcast_ref::<io::Error>() {
        Some(error) => error.to_string(),
        None => last.to_string(),
    }
}
