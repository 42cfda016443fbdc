//! Shows socktrace at work on sockets that fail.

use anyhow::Result;

/// Runs the demonstration and returns its exit code.
///
/// # Errors
///
/// When it cannot be set up.
#[expect(clippy::unnecessary_wraps, reason = "a demonstration can fail to start")]
pub(crate) fn main(args: &[String]) -> Result<i32> {
    println!("nothing to show yet; arguments for socktrace: {args:?}");
    Ok(0)
}
