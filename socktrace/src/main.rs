//! socktrace: names the errno a failing TCP socket will deliver, and why.

use std::process::ExitCode;

fn main() -> ExitCode {
    socktrace::main()
}
