//! Effects of SIGPIPE on a process that keeps writing after a reset.

use std::net::Shutdown;

use anyhow::{Result, ensure};
use nix::libc;
use socket2::Socket;
use socktrace_diagnosis::Cause;

use super::{
    child::{self, ChildOutcome, Disposition, How},
    expected::Expected,
    network::Family,
    process::Process,
    reset,
    socket::{self, Ends, Pair},
};

/// A way to write twice after a reset.
#[derive(Clone, Copy)]
pub(super) struct Writer {
    how: How,
    disposition: Disposition,
    /// Whether the process is init of a PID namespace.
    init: bool,
    /// Verdict that socktrace must report.
    verdict: &'static str,
}

const fn writer(how: How, disposition: Disposition, verdict: &'static str) -> Writer {
    Writer { how, disposition, init: false, verdict }
}

pub(super) const NO_SIGNAL: Writer = writer(How::SendNoSignal, Disposition::Default, "none");
pub(super) const IGNORED: Writer = writer(How::Write, Disposition::Ignored, "ignored");
pub(super) const HANDLED: Writer = writer(How::Write, Disposition::Handled, "handled");
pub(super) const BLOCKED: Writer = writer(How::Write, Disposition::Blocked, "blocked");
pub(super) const DEFAULT: Writer = writer(How::Write, Disposition::Default, "kills");
pub(super) const WRITEV: Writer = writer(How::Writev, Disposition::Default, "kills");
pub(super) const SENDFILE: Writer = writer(How::Sendfile, Disposition::Default, "kills");
pub(super) const URING_SEND: Writer = writer(How::UringSend, Disposition::Default, "none");
pub(super) const URING_WRITE: Writer = writer(How::UringWrite, Disposition::Default, "kills");
pub(super) const INIT: Writer =
    Writer { init: true, ..writer(How::Write, Disposition::Default, "discarded") };
pub(super) const INIT_HANDLED: Writer =
    Writer { init: true, ..writer(How::Write, Disposition::Handled, "handled") };

impl Writer {
    fn write(self, socket: &Socket) -> Result<ChildOutcome> {
        let write = if self.init { child::write_as_init } else { child::write };
        write(socket, self.how, self.disposition)
    }

    /// Writes from a child process, which must get these errnos. The last write raises SIGPIPE.
    fn run(self, socket: &Socket, errnos: [i32; 2]) -> Result<ChildOutcome> {
        let outcome = self.write(socket)?;
        let (killed_by, returned) = match self.verdict {
            "kills" => (Some(libc::SIGPIPE), &errnos[..1]),
            _ => (None, &errnos[..]),
        };
        ensure!(
            outcome.errnos == returned && outcome.killed_by == killed_by,
            "the child reported {outcome:?}"
        );
        Ok(outcome)
    }
}

/// The peer resets: the first write reports that, and the second raises the signal.
pub(super) fn after_reset(family: Family, writer: Writer) -> Result<Vec<Expected>> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    let ends = Ends::of_server(&server)?;
    socket::close_with_reset(client)?;
    socket::until_reset(&server)?;
    let (reset, pipe) = (libc::ECONNRESET, libc::EPIPE);
    let ChildOutcome { pid, .. } = writer.run(&server, [reset, pipe])?;
    let last = Expected::failure(Cause::WriteAfterReset, "write", pipe, ends).first(reset);
    Ok(vec![
        Expected::failure(Cause::ResetByPeer, "read_or_write", reset, ends).reset_here("tcp_state"),
        Expected::delivered(Cause::ResetByPeer, reset, ends).by(Process::child(pid)),
        last.sigpipe(writer.verdict).by(Process::child(pid)),
    ])
}

/// The program itself has shut down sending: each write fails, and the first may kill.
pub(super) fn after_shutdown(family: Family, writer: Writer) -> Result<Vec<Expected>> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    let ends = Ends::of_client(&client)?;
    client.shutdown(Shutdown::Write)?;
    socket::until_end_taken(&client)?;
    let outcome = writer.write(&client)?;
    socket::read_end(&server)?;
    let calls = if writer.verdict == "kills" { 1 } else { outcome.errnos.len() };
    ensure!(
        outcome.errnos.iter().all(|errno| *errno == libc::EPIPE),
        "the child reported {outcome:?}"
    );
    let failure = Expected::failure(Cause::WriteAfterShutdown, "write", libc::EPIPE, ends);
    Ok(vec![failure.sigpipe(writer.verdict).by(Process::child(outcome.pid)); calls])
}

/// The peer closes: the first write succeeds, and the second raises the signal.
pub(super) fn after_peer_close(family: Family, writer: Writer) -> Result<Vec<Expected>> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    let ends = Ends::of_client(&client)?;
    drop(server);
    let ChildOutcome { pid, .. } = writer.run(&client, [0, libc::EPIPE])?;
    // On loopback, the RST usually arrives while the writing process still owns the socket or waits for it.
    // In between it owns neither: then the process that opened the socket, and also holds it, is named.
    let writing = Process { sources: &["caller", "waiter"], ..Process::child(pid) };
    let opener = Process { sources: &["holder"], ..Process::this() };
    let [failure, delivered] = reset::written_on(libc::EPIPE, ends, child::WRITTEN);
    Ok(vec![
        reset::greetingless(ends),
        failure.by(writing).or_by(opener),
        delivered.sigpipe(writer.verdict).by(Process::child(pid)),
        Expected::busy_end(ends.reversed()),
    ])
}
