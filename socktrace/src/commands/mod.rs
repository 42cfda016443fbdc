//! What socktrace can be told to do.

pub(crate) mod doctor;
pub(crate) mod explain;
pub(crate) mod trace;

use std::io::{self, Write as _};

/// Writes to stdout, styled only for a terminal. A reader that has seen enough is no error.
fn print(text: &[u8]) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}
