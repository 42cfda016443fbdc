//! Messages of the kernel programs, forwarded to the daemon's log.

use anyhow::Context as _;
use aya_log::EbpfLogger;
use tokio::io::unix::AsyncFd;

use super::object::Object;

/// Crate of the kernel programs, and the log target of their messages.
pub(crate) const TARGET: &str = "socktrace_ebpf";

/// Logs the programs' messages from now on.
///
/// # Errors
/// When the kernel programs are from another build, or descriptors run out.
pub(crate) fn forward(Object(ebpf): &mut Object) -> anyhow::Result<()> {
    let logger = EbpfLogger::init(ebpf).context("cannot read the kernel programs' messages")?;
    // SAFETY: the logger owns the ring buffer's descriptor and keeps it as long as it lives.
    let registered = unsafe { AsyncFd::register(logger) };
    let mut logger = registered.context("cannot watch the kernel programs' messages")?;
    tokio::spawn(async move {
        while let Ok(mut ready) = logger.readable_mut().await {
            ready.get_inner_mut().flush();
            ready.clear_ready();
        }
    });
    Ok(())
}
