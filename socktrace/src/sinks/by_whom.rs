//! The process of this host that reset the connection, or had the socket killed.

use socktrace_diagnosis::Cause;

use crate::record::{Killer, Record, Sender};

/// Adds whatever is known of that process.
pub(super) fn add(text: &mut String, record: &Record, cause: Cause) {
    if let Some(Sender { pid, comm, reason, by_listener }) = &record.sender {
        text.push_str(match by_listener {
            true => "; the listener of ",
            false if record.is_unix() => "; closed by ",
            false => "; sent by ",
        });
        add_process(text, *pid, comm);
        if *by_listener {
            text.push_str(" closed with this connection in its queue");
        } else {
            add_sender_reason(text, reason.as_deref());
        }
    }
    if let Some(Killer { pid, comm }) = &record.killer {
        let is_own = cause == Cause::AbortedLocally;
        text.push_str(if is_own { ", by " } else { "; killed by " });
        add_process(text, *pid, comm);
    }
}

/// A process as `comm[pid]`.
fn add_process(text: &mut String, pid: u32, comm: &str) {
    text.push_str(comm);
    text.push('[');
    text.push_str(itoa::Buffer::new().format(pid));
    text.push(']');
}

/// Adds why a process on this host sent the RST.
fn add_sender_reason(text: &mut String, reason: Option<&str>) {
    match reason {
        None | Some("not_specified") => {}
        Some("tcp_abort_on_close") => text.push_str(": it closed with unread data"),
        Some("tcp_abort_on_linger") => text.push_str(": it closed with TCP_LINGER2 below 0"),
        // The kernel's reason for everything that goes through tcp_disconnect or tcp_abort.
        Some("tcp_state") => text.push_str(": it aborted the connection (SO_LINGER 0 or similar)"),
        Some("tcp_keepalive_timeout") => text.push_str(": its keepalive probes went unanswered"),
        // `tcp_check_oom`: a program closes a socket that has data to send, or a timer fires later.
        Some("tcp_abort_on_memory") => text.push_str(
            ": closed with data to send, beyond net.ipv4.tcp_max_orphans or TCP's memory (tcp_mem)",
        ),
        Some(other) => text.extend([": ", other]),
    }
}
