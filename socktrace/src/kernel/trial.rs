//! Tests whether the kernel accepts BPF programs and maps from this process, by offering it some.

use std::{error::Error, io};

use aya::{
    maps::MapType,
    programs::ProgramType,
    sys::{is_map_supported, is_program_supported},
};

/// Result of offering a program or map to the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The kernel accepted it. It was dropped again.
    Taken,
    /// The kernel does not support it.
    Unknown,
    /// The kernel refused it, with this error.
    Refused(String),
}

/// The kernel's answers.
#[derive(Clone, Debug)]
pub(crate) struct Answers {
    /// For a program that filters a socket's packets, which needs the fewest privileges.
    pub(crate) filter: Answer,
    /// For a program for kprobes.
    pub(crate) kprobe: Answer,
    /// For a program for a BPF trampoline.
    pub(crate) trampoline: Answer,
    /// For a ring buffer.
    pub(crate) ring_buffer: Answer,
}

impl Answers {
    /// Offers programs of two instructions, which are attached to nothing, and a ring buffer of one
    /// page.
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

/// The kernel's own error at the end of the chain of causes.
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
