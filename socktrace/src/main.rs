//! socktrace: names the errno a failing socket will deliver, and why.

use std::process::ExitCode;

fn main() -> ExitCode {
    socktrace::main()
}
