//! Failures of Unix sockets, in words.

use std::borrow::Cow;

use nix::libc;
use socktrace_diagnosis::{Cause, Errno};
use socktrace_ebpf::{Origin, Protocol};

use crate::record::{Listener, Record};

/// Short summary of a cause, where it differs from what the cause means for TCP.
pub(super) fn summary(cause: Cause, protocol: u8) -> &'static str {
    match cause {
        _ if protocol != Protocol::Unix as u8 => cause.summary(),
        Cause::ConnectRefused => "nobody listens at this path",
        Cause::ResetByPeer => "the peer closed with unread data",
        Cause::ResetBeforeAccept => "the client closed with unread data before it was accepted",
        _ => cause.summary(),
    }
}

/// Reason of one failure; `None` if the cause says it all.
pub(super) fn reason(record: &Record, cause: Cause, errno: Errno) -> Option<String> {
    if !record.is_unix() || record.socket_call().is_some() {
        return None;
    }
    let path: Cow<'_, str> = record.path.as_deref().unwrap_or("an unknown path").into();
    let is_file = path.starts_with('/');
    let number = i32::from(errno.0);
    Some(match (cause, number) {
        (Cause::PeerQueueFull, _) => queue_full(record, &path),
        (Cause::SendTimeout, _) if record.is_datagram() => {
            format!("{}; the call waited until SO_SNDTIMEO ran out", queue_full(record, &path))
        }
        (Cause::SendRefused, libc::EACCES) => {
            format!("no permission to send to {path}, by file modes or by a security module")
        }
        (Cause::SendRefused, libc::EMSGSIZE) => {
            "the datagram is longer than the send buffer (SO_SNDBUF)".to_owned()
        }
        (Cause::WriteAfterPeerClose, libc::ECONNREFUSED) => "the receiver had closed".to_owned(),
        (Cause::WriteUnconnected, _) => {
            "the socket is not connected, or no more: its peer has closed".to_owned()
        }
        (Cause::ConnectRefused, _) if record.is_datagram() => {
            let file = if is_file { ", though the file is there" } else { "" };
            format!("nobody receives at {path}{file}")
        }
        (Cause::ConnectRefused, _) if is_file => {
            format!("nobody listens at {path}, though the file is there")
        }
        (Cause::ConnectRefused, _) => format!("nobody listens at {path}"),
        (Cause::BacklogFull, _) => backlog_full(record, &path),
        (Cause::NoSuchSocket, _) => format!("there is no socket at {path}"),
        (Cause::ConnectLocal, libc::EACCES) => {
            format!("no permission to connect to {path}, by file modes or by a security module")
        }
        (Cause::ConnectLocal | Cause::SendRefused, libc::EPERM) => {
            format!("{path} receives from another socket alone, or a security module forbids it")
        }
        (Cause::ConnectLocal, libc::EPROTOTYPE) => {
            format!("{path} is a socket of another type: stream, seqpacket and dgram do not mix")
        }
        (Cause::ConnectLocal, libc::ENOTDIR) => format!("a part of {path} is not a directory"),
        (Cause::ConnectLocal, libc::EINVAL) => {
            "the address given is not that of a Unix socket, or this socket listens itself"
                .to_owned()
        }
        (Cause::ConnectLocal, _) => format!("connect to {path} was refused"),
        (Cause::BindFailed, libc::EADDRINUSE) if is_file => format!(
            "{path} exists already: a program listens there, or one has left the file behind"
        ),
        (Cause::BindFailed, libc::EADDRINUSE) => format!("{path} is taken by another socket"),
        (Cause::BindFailed, libc::EACCES | libc::EPERM) => {
            format!("no permission to make {path}, by file modes or by a security module")
        }
        (Cause::BindFailed, libc::ENOENT) => format!("the directory of {path} does not exist"),
        (Cause::BindFailed, libc::EROFS) => format!("{path} is on a read-only file system"),
        (Cause::BindFailed, libc::EINVAL) => {
            "the socket is bound already, or the address given is not that of a Unix socket"
                .to_owned()
        }
        (Cause::ListenFailed, libc::EINVAL) => {
            "the socket has no name to listen at, or is connected".to_owned()
        }
        (Cause::ListenFailed, libc::EOPNOTSUPP) => "datagram sockets do not listen".to_owned(),
        (Cause::WriteAfterPeerClose, _) => "the peer had closed".to_owned(),
        (Cause::WriteAfterShutdown, _) => {
            "sending was shut down, by this program (SHUT_WR) or by its peer (SHUT_RD)".to_owned()
        }
        (Cause::ResetByPeer | Cause::ResetBeforeAccept, _) => {
            summary(cause, Protocol::Unix as u8).to_owned()
        }
        _ => return None,
    })
}

/// Owner of a queue that is full of datagrams, and how full it is.
fn queue_full(record: &Record, path: &str) -> String {
    let at = if record.path.is_some() { format!("at {path} ") } else { String::new() };
    match &record.listener {
        Some(Listener { process, waiting, limit }) => {
            let who = match process {
                Some((pid, comm)) => format!("; {comm}[{pid}] receives there"),
                None => "; which process receives there is not known".to_owned(),
            };
            format!(
                "the receiver {at}reads too slowly ({waiting} wait, its queue takes {limit}){who}"
            )
        }
        None => format!("the receiver {at}reads too slowly"),
    }
}

/// Owner of a full backlog, and how full it is.
fn backlog_full(record: &Record, path: &str) -> String {
    let whose = match &record.listener {
        Some(Listener { process, waiting, limit }) => {
            let who = match process {
                Some((pid, comm)) => format!("; {comm}[{pid}] listens there"),
                None => "; which process listens there is not known".to_owned(),
            };
            format!(" ({waiting} wait, its backlog is {limit}){who}")
        }
        None => {
            "; its listener is not known: this path may be another name of it, or lead there from \
                 another root directory"
                .to_owned()
        }
    };
    let waited = if record.event.signature.origin == Origin::SendTimeout as u8 {
        "; connect waited until SO_SNDTIMEO ran out"
    } else {
        ""
    };
    format!("the queue of {path} is full{whose}{waited}")
}

#[cfg(test)]
mod tests {
    use socktrace_ebpf::{Domain, EventKind, TcpState};

    use super::*;
    use crate::{
        record::tests::{record, reset_event},
        sinks::reason::reason as whole_reason,
    };

    fn connect(
        errno: i32,
        path: Option<&str>,
        listener: Option<Listener>,
        origin: Origin,
    ) -> String {
        let mut event = reset_event();
        event.signature.kind = EventKind::Connect as u8;
        event.signature.origin = origin as u8;
        event.signature.state = TcpState::Close as u8;
        event.signature.family = Domain::Unix as u8;
        event.signature.protocol = Protocol::Unix as u8;
        event.signature.errno = u16::try_from(errno).expect("small");
        let path = path.map(str::to_owned);
        whole_reason(&Record { listener, path, ..record(event) })
    }

    #[test]
    fn a_full_queue_has_its_listener_and_its_numbers() {
        let listener =
            Listener { process: Some((81, "php-fpm8.2".into())), waiting: 512, limit: 511 };
        assert_eq!(
            connect(libc::EAGAIN, Some("/run/php.sock"), Some(listener), Origin::Other),
            "the queue of /run/php.sock is full (512 wait, its backlog is 511); php-fpm8.2[81] \
             listens there"
        );
        let unknown = Listener { process: None, waiting: 1, limit: 0 };
        let waited = connect(libc::EAGAIN, Some("@x"), Some(unknown), Origin::SendTimeout);
        assert!(waited.contains("which process listens there is not known"), "{waited}");
        assert!(waited.ends_with("; connect waited until SO_SNDTIMEO ran out"), "{waited}");
        let nobody = connect(libc::EAGAIN, Some("/x"), None, Origin::Other);
        assert!(nobody.contains("its listener is not known"), "{nobody}");
    }

    #[test]
    fn a_slow_receiver_is_named_where_it_is_known() {
        let mut event = reset_event();
        event.signature.kind = EventKind::DatagramSend as u8;
        event.signature.family = Domain::Unix as u8;
        event.signature.protocol = Protocol::Unix as u8;
        event.signature.errno = u16::try_from(libc::EAGAIN).expect("small");
        let process = Some((81, "rsyslogd".into()));
        let listener = Some(Listener { process, waiting: 11, limit: 10 });
        let path = Some("/dev/log".to_owned());
        let full = Record { listener, path, ..record(event) };
        let words = "the receiver at /dev/log reads too slowly (11 wait, its queue takes 10); \
                     rsyslogd[81] receives there";
        assert_eq!(whole_reason(&full), words);
        event.signature.origin = Origin::SendTimeout as u8;
        let timeout = whole_reason(&record(event));
        assert_eq!(
            timeout,
            "the receiver reads too slowly; the call waited until SO_SNDTIMEO ran out"
        );
    }

    #[test]
    fn a_stale_file_differs_from_an_abstract_name() {
        let refused = |path| connect(libc::ECONNREFUSED, Some(path), None, Origin::Other);
        assert_eq!(
            refused("/run/x.sock"),
            "nobody listens at /run/x.sock, though the file is there"
        );
        assert_eq!(refused("@x"), "nobody listens at @x");
        assert_eq!(
            connect(libc::ENOENT, Some("/run/x.sock"), None, Origin::Other),
            "there is no socket at /run/x.sock"
        );
        assert_eq!(
            connect(libc::ENOENT, None, None, Origin::Other),
            "there is no socket at an unknown path"
        );
    }
}
