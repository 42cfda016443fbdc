//! Loads programs side by side, before they are attached one after the other.
//!
//! Most of a start is the verifier, which works on the processor that asks it. For those who hold
//! `CAP_PERFMON` it takes no lock (`bpf_check`, `kernel/bpf/verifier.c`).

use std::{
    collections::HashMap,
    num::NonZero,
    sync::{Mutex, PoisonError},
    thread,
};

use aya::{
    Btf, Ebpf,
    programs::{self, BtfTracePoint, FEntry, FExit, KProbe, ProgramError},
};

use super::variant::{Attach, Program};

/// Most threads that load programs: there are some 30 of these, a few of which take longest.
const MOST_THREADS: usize = 8;

/// A program of the plan, and the kernel function that it is for.
pub(super) type Wanted = (&'static Program, &'static str);

/// Results of programs that were loaded ahead, by name.
#[derive(Default)]
pub(super) struct Preloaded(HashMap<&'static str, Result<(), ProgramError>>);

impl Preloaded {
    /// The result for a program that was loaded ahead, if it was. It is returned once.
    pub(super) fn take(&mut self, program: &Program) -> Option<Result<(), ProgramError>> {
        self.0.remove(program.name)
    }
}

/// Loads all of these on as many processors as there are. On one it does nothing: loading each
/// program when it is due costs less.
pub(super) fn preload(ebpf: &mut Ebpf, wanted: &[Wanted], types: &Btf) -> Preloaded {
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    let count = processors.min(MOST_THREADS).min(wanted.len());
    if count < 2 {
        return Preloaded::default();
    }
    let by_name: HashMap<_, _> = wanted.iter().map(|wanted| (wanted.0.name, *wanted)).collect();
    let due = ebpf.programs_mut().filter_map(|(name, program)| {
        let (wanted, function) = by_name.get(name)?;
        Some((program, *wanted, *function))
    });
    let due = Mutex::new(due.collect::<Vec<_>>());
    let loaded = Mutex::new(HashMap::new());
    let work = || {
        let next = || due.lock().unwrap_or_else(PoisonError::into_inner).pop();
        while let Some((program, wanted, function)) = next() {
            let result = load(program, wanted, function, types);
            let mut loaded = loaded.lock().unwrap_or_else(PoisonError::into_inner);
            loaded.insert(wanted.name, result);
        }
    };
    thread::scope(|scope| {
        let helpers: Vec<_> = (1..count)
            .filter_map(|_| thread::Builder::new().spawn_scoped(scope, work).ok())
            .collect();
        work();
        for helper in helpers {
            // A panic in the loader is that of one program, which is loaded again when it is due.
            drop(helper.join());
        }
    });
    Preloaded(loaded.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Loads one for a kernel function.
pub(super) fn load(
    program: &mut programs::Program,
    wanted: &Program,
    function: &str,
    types: &Btf,
) -> Result<(), ProgramError> {
    match wanted.attach {
        Attach::Fentry => <&mut FEntry>::try_from(program)?.load(function, types),
        Attach::Fexit => <&mut FExit>::try_from(program)?.load(function, types),
        Attach::Kprobe | Attach::Kretprobe => <&mut KProbe>::try_from(program)?.load(),
        Attach::Tracepoint => <&mut BtfTracePoint>::try_from(program)?.load(function, types),
    }
}
