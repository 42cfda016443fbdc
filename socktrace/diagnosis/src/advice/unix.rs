//! Advice on Unix sockets.

use std::borrow::Cow;

use nix::libc;

use super::Facts;
use crate::Cause;

/// Advice for this case; `None` where the cause's own advice suffices.
pub(super) fn advice(cause: Cause, errno: i32, facts: &Facts<'_>) -> Option<Cow<'static, str>> {
    let path = facts.path.filter(|path| path.bytes().all(is_plain));
    let listeners = facts.command(match path {
        Some(path) => format!("ss -xlp src {path}"),
        None => "ss -xlp".to_owned(),
    });
    let text = match (cause, errno) {
        (Cause::ConnectRefused, _) => format!(
            "is the service running: {listeners} shows whether anybody listens; if nobody does, the file \
             was left behind by one that has ended"
        ),
        (Cause::BacklogFull, _) => match facts.listener {
            Some(listener) => format!(
                "does {listener} hang, or has it too few workers (its log; pm.max_children of php-fpm); \
                 else raise its backlog, and net.core.somaxconn where that is lower"
            ),
            None => format!(
                "{listeners} shows the listener, with Recv-Q above Send-Q: does it hang, or has it too \
                 few workers; else raise its backlog, and net.core.somaxconn where that is lower"
            ),
        },
        (Cause::PeerQueueFull | Cause::SendTimeout, _) => {
            let sockets = facts.command("ss -xap");
            match facts.listener {
                Some(receiver) => format!(
                    "does {receiver} hang, or is it given more than it can take: {sockets} shows what \
                     waits there as Recv-Q"
                ),
                None => format!(
                    "{sockets} shows the receiver, with Recv-Q that stays high: does it hang, or is it \
                     given more than it can take"
                ),
            }
        }
        (Cause::SendRefused, libc::EMSGSIZE) => {
            "send less at once, or raise SO_SNDBUF, up to net.core.wmem_max".to_owned()
        }
        (Cause::SendRefused, libc::ENOBUFS) => "is memory short (free -m, dmesg)".to_owned(),
        (Cause::WriteAfterPeerClose, libc::ECONNREFUSED) => {
            "did the receiver crash or restart (its log); the program has to connect again"
                .to_owned()
        }
        (
            Cause::ConnectLocal | Cause::BindFailed | Cause::SendRefused,
            libc::EACCES | libc::EPERM,
        ) => match path {
            Some(path) => format!(
                "namei -l {path} shows owners and modes on the way there; else the log of the security \
                 module names the rule (journalctl --grep 'avc:|apparmor=')"
            ),
            None => {
                "look at owners and modes on the way there; else the log of the security module \
                     names the rule (journalctl --grep 'avc:|apparmor=')"
                    .to_owned()
            }
        },
        (Cause::ConnectLocal, _) => {
            format!("{listeners} shows what listens there, and of which type it is")
        }
        (Cause::BindFailed, libc::EADDRINUSE) => format!(
            "{listeners} shows whether anybody listens there; if nobody does, remove the file before \
             bind"
        ),
        (Cause::BindFailed, libc::ENOENT) => "is its directory made at each boot, as by \
                                              RuntimeDirectory= of systemd or tmpfiles.d"
            .to_owned(),
        (Cause::BindFailed, _) => {
            "is the path at most 107 bytes long, and the socket not bound yet".into()
        }
        (Cause::ListenFailed, _) => {
            "is bind called before listen, and is it a stream or seqpacket \
                                     socket that is not connected"
                .to_owned()
        }
        (Cause::ResetByPeer, _) => match facts.sender {
            Some(sender) if sender.by_listener => {
                format!("{sender} was stopped or restarted: is it meant to finish what waits first")
            }
            Some(sender) => format!(
                "did {sender} crash or end before it had read all (its log); else a reply was sent that \
                 it does not wait for"
            ),
            None => return None,
        },
        _ => return None,
    };
    Some(text.into())
}

/// Whether a byte needs no quoting in a shell.
const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'_' | b'-' | b'@' | b':' | b'+')
}
