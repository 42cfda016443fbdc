//! Vital threads: the process would look healthy without them, but do no work.

use std::{io, process, thread};

/// Exit code of a Rust program whose main thread panics.
const PANICKED: i32 = 101;

/// Starts a thread that ends the process when it panics, so that a supervisor can restart it.
///
/// # Errors
/// When the system cannot create the thread.
pub fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let run = || {
        let end = EndOfProcess;
        work();
        drop(end);
    };
    thread::Builder::new().name(name.to_owned()).spawn(run).map(drop)
}

/// Ends the process if dropped during a panic.
struct EndOfProcess;

impl Drop for EndOfProcess {
    fn drop(&mut self) {
        if thread::panicking() {
            process::exit(PANICKED);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{env, process::Command, time::Duration};

    use super::*;

    /// Environment variable that makes this test's own program panic.
    const VARIABLE: &str = "VITAL_THREAD_PANICS";

    #[test]
    fn a_panic_ends_the_process() {
        if let Some(panics) = env::var_os(VARIABLE) {
            let panics = panics == "yes";
            spawn("vital", move || assert!(!panics, "a bug")).expect("a thread");
            thread::sleep(Duration::from_secs(if panics { 60 } else { 0 }));
            return;
        }
        let own_name = "vital::tests::a_panic_ends_the_process";
        for (panics, code) in [("yes", PANICKED), ("no", 0)] {
            let program = env::current_exe().expect("a path");
            let mut child = Command::new(program);
            child.args(["--exact", own_name]).env(VARIABLE, panics);
            let output = child.output().expect("run");
            assert_eq!(output.status.code(), Some(code), "{output:?}");
        }
    }
}
