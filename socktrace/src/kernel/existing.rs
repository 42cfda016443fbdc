//! Sockets opened before socktrace started.

use std::{
    io::{self, Read as _},
    time::Instant,
};

use anyhow::Context as _;
use aya::{Btf, Ebpf, programs::Iter};

use super::plan::Loss;

/// The kernel's iterator over open files, and the name of its program in the object.
pub(super) const ITERATOR: &str = "task_file";

/// Kernel function whose arguments are the program's context.
pub(super) const TARGET: &str = "bpf_iter_task_file";

/// Makes the kernel visit every open file of every process, so that the program records the owners
/// of existing sockets.
///
/// # Errors
/// The [`Loss`] when it fails.
pub(super) fn find(ebpf: &mut Ebpf, types: &Btf, hides_memory: bool) -> Result<(), Loss> {
    let hides = "owners of sockets that were opened before the start";
    if hides_memory {
        let reason = "the kernel is locked down for confidentiality".to_owned();
        return Err(Loss { reason, hides });
    }
    visit(ebpf, types).map_err(|error| Loss { reason: format!("{error:#}"), hides })
}

fn visit(ebpf: &mut Ebpf, types: &Btf) -> anyhow::Result<()> {
    let started = Instant::now();
    let program: &mut Iter = ebpf
        .program_mut(ITERATOR)
        .context("the kernel programs have no iterator")?
        .try_into()
        .context("the iterator is another program")?;
    program.load(ITERATOR, types).context("the kernel refused the iterator")?;
    let link = program.attach().context("cannot make the iterator")?;
    let mut iterator = program.take_link(link)?.into_file().context("cannot open the iterator")?;
    // The iterator has no output: reading it to the end runs it. The kernel may ask to be called
    // again.
    let mut buffer = [0; 64];
    loop {
        match iterator.read(&mut buffer) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
                ) => {}
            Err(error) => return Err(error).context("cannot run the iterator"),
        }
    }
    log::debug!("found the owners of existing sockets in {:?}", started.elapsed());
    program.unload().context("cannot unload the iterator")
}
