//! Loads programs in parallel, before they are attached one by one.
//!
//! Most of the time to start is spent in the verifier, which runs on the CPU of the caller. It
//! takes no lock for processes with `CAP_PERFMON` (`bpf_check`, `kernel/bpf/verifier.c`).

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

/// Maximum number of threads that load programs: there are some 30 programs, and a few of them take
/// longest.
const MOST_THREADS: usize = 8;

/// A program of the plan, and the kernel function that it attaches to.
pub(super) type Wanted = (&'static Program, &'static str);

/// Results of programs loaded ahead, by name.
#[derive(Default)]
pub(super) struct Preloaded(HashMap<&'static str, Result<(), ProgramError>>);

impl Preloaded {
    /// Takes the result for a program, if it was loaded ahead.
    pub(super) fn take(&mut self, program: &Program) -> Option<Result<(), ProgramError>> {
        self.0.remove(program.name)
    }
}

/// Loads these programs on all available CPUs. With one CPU it does nothing: loading each program
/// when it is needed costs less.
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
            // A panic in the loader concerns one program, which is loaded again when it is needed.
            drop(helper.join());
        }
    });
    Preloaded(loaded.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Loads a program for a kernel function.
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
