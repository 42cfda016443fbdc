//! Writes through a layer between the program and TCP: kTLS, or a sockmap program. The kernel ends
//! each failing write twice, for TCP and for the program, although the program makes one call.

use std::{net::Shutdown, thread, time::Duration};

use anyhow::{Result, ensure};
use nix::libc;
use serde_json::Value;
use socket2::Socket;
use socktrace_diagnosis::Cause;

use super::{
    bpf::SocketMap,
    child::{self, Disposition, How},
    expected::Expected,
    ktls,
    network::Family,
    process::Process,
    reports_socket_errors,
    socket::{self, Ends, Pair, ensure_errno},
    sockmap,
};

/// Time for the kernel to report an error after it has woken the waiter.
const REPORTED: Duration = Duration::from_millis(50);

/// The layer.
#[derive(Clone, Copy)]
pub(super) enum Layer {
    Ktls,
    Sockmap,
}

/// Guard of the layer.
#[expect(dead_code, reason = "dropping it takes the socket out of the map")]
struct Laid(Option<SocketMap>);

impl Layer {
    fn lay(self, socket: &Socket) -> Result<Laid> {
        match self {
            Self::Ktls => {
                ktls::encrypt(socket)?;
                Ok(Laid(None))
            }
            Self::Sockmap => Ok(Laid(Some(sockmap::judge(socket)?))),
        }
    }

    /// Writes to a socket whose sending side is shut down, without SIGPIPE.
    ///
    /// kTLS reports success: it has buffered the bytes before it tries to send (`copied` in
    /// `tls_sw_sendmsg`), and discards them only for EBADMSG.
    fn write_in_vain(self, socket: &Socket) -> Result<()> {
        match self {
            Self::Ktls => {
                let written = socket::write(socket)?;
                ensure!(written == child::WRITTEN, "wrote {written} bytes");
                Ok(())
            }
            Self::Sockmap => ensure_errno("write", socket::write_errno(socket)?, libc::EPIPE),
        }
    }
}

/// The program sends after it has shut down sending.
pub(super) fn after_shutdown(family: Family, layer: Layer) -> Result<Vec<Expected>> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    let ends = Ends::of_client(&client)?;
    let laid = layer.lay(&client)?;
    client.shutdown(Shutdown::Write)?;
    socket::until_end_taken(&client)?;
    layer.write_in_vain(&client)?;
    layer.write_in_vain(&client)?;
    socket::read_end(&server)?;
    drop(server);
    socket::read_end(&client)?;
    drop((laid, client));
    let failure = Expected::failure(Cause::WriteAfterShutdown, "write", libc::EPIPE, ends);
    Ok(vec![failure.sigpipe("none"); 2])
}

/// Writes after a reset. Both layers leave the errno in place, for each write, until a read takes it.
pub(super) fn after_reset(family: Family, layer: Layer) -> Result<Vec<Expected>> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    let ends = Ends::of_server(&server)?;
    let _laid = layer.lay(&server)?;
    socket::close_with_reset(client)?;
    socket::until_reset(&server)?;
    let reset = libc::ECONNRESET;
    ensure_errno("write", socket::write_errno(&server)?, reset)?;
    ensure_errno("write", socket::write_errno(&server)?, reset)?;
    ensure_errno("read", socket::read_errno(&server)?, reset)?;
    layer.write_in_vain(&server)?;
    layer.write_in_vain(&server)?;
    let delivered = Expected::delivered(Cause::ResetByPeer, reset, ends);
    let late = Expected::failure(Cause::WriteAfterReset, "write", libc::EPIPE, ends);
    let late = late.first(reset).sigpipe("none");
    let failure = Expected::failure(Cause::ResetByPeer, "read_or_write", reset, ends);
    Ok(vec![failure.reset_here("tcp_state"), delivered.clone(), delivered, late.clone(), late])
}

/// SIGPIPE kills a program that writes, by write and by sendfile.
pub(super) fn kills(family: Family, layer: Layer) -> Result<Vec<Expected>> {
    let kill = |how| {
        let Pair { client, server } = Pair::new(family.loopback())?;
        let ends = Ends::of_client(&client)?;
        let _laid = layer.lay(&client)?;
        client.shutdown(Shutdown::Write)?;
        socket::until_end_taken(&client)?;
        let outcome = child::write(&client, how, Disposition::Default)?;
        ensure!(outcome.errnos.is_empty(), "the child reported {outcome:?}");
        ensure!(outcome.killed_by == Some(libc::SIGPIPE), "the child reported {outcome:?}");
        socket::read_end(&server)?;
        let failure = Expected::failure(Cause::WriteAfterShutdown, "write", libc::EPIPE, ends);
        Ok(failure.sigpipe("kills").by(Process::child(outcome.pid)))
    };
    [How::Write, How::Sendfile].into_iter().map(kill).collect()
}

/// The program has shut down sending when a kernel thread sends data redirected by a sockmap
/// program. This is not a write of the program, which gets the errno from its next write.
pub(super) fn by_kernel_thread(family: Family) -> Result<Vec<Expected>> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    let ends = Ends::of_client(&client)?;
    let other = Pair::new(family.loopback())?;
    let _map = sockmap::redirect(&other.server, &client)?;
    client.shutdown(Shutdown::Write)?;
    socket::until_end_taken(&client)?;
    socket::send(&other.client, b"hello")?;
    socket::until_reset(&client)?;
    // `sk_error_report` wakes the waiter first, and runs the tracepoint afterwards.
    thread::sleep(REPORTED);
    socket::read_end(&server)?;
    let errno = socket::write_errno(&client)?;
    ensure_errno("write", errno, libc::EPIPE)?;
    if !reports_socket_errors() {
        let failure = Expected::failure(Cause::WriteAfterShutdown, "write", errno, ends);
        return Ok(vec![failure.sigpipe("none")]);
    }
    let failure =
        Expected::failure(Cause::Other, "write", errno, ends).with("delivered", Value::Null);
    let failure = failure.state("FIN_WAIT2").known_as(&["waiter", "holder"]);
    let delivered = Expected::delivered(Cause::Other, errno, ends).state("FIN_WAIT2");
    Ok(vec![failure, delivered.sigpipe("none")])
}
