//! Well-known programs with typical failures.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use socket2::{Domain, SockAddr, Socket, Type};

use super::unit::{self, CONFIG, UNIT, fresh, messages, run, systemctl, text, until};

/// Socket at which nginx expects the application.
const APPLICATION: &str = "/run/application.sock";

/// Configuration of an nginx that forwards everything to the application.
const NGINX: &str = "\
pid /run/frontend.pid;
error_log stderr;
events {}
http {
    access_log off;
    server {
        listen 127.0.0.1:8080;
        location / { proxy_pass http://unix:/run/application.sock; }
    }
}
";

/// If an application does not accept, nginx gets EAGAIN, which it logs as "Resource temporarily
/// unavailable". The line names nginx, the path, and the owner of the full queue.
pub(in super::super) fn nginx_backlog() -> Result<()> {
    stream()?;
    fs::write("/run/frontend.conf", NGINX)?;
    start("application", &["/init", "child", "listen-at", APPLICATION, "1"])?;
    until(|| {
        ensure!(Path::new(APPLICATION).exists(), "the application does not listen");
        Ok(())
    })?;
    start("frontend", &["nginx", "-c", "/run/frontend.conf", "-g", "daemon off;"])?;
    let ask = |patience: &str| {
        let words =
            ["curl", "--silent", "--fail", "--max-time", patience, "http://127.0.0.1:8080/"];
        Ok::<_, anyhow::Error>(unit::output(&words)?.status.code())
    };
    // CURLE_COULDNT_CONNECT
    until(|| {
        ensure!(ask("1")? != Some(7), "nginx does not serve");
        Ok(())
    })?;
    // As many requests wait as the queue has room for. The next one is answered at once, with 502:
    // CURLE_HTTP_RETURNED_ERROR.
    until(|| {
        ensure!(ask("2")? == Some(22), "the queue is not full");
        Ok(())
    })?;
    let line = reported("backlog_full")?;
    for (field, expected) in [
        ("errno", "EAGAIN"),
        ("protocol", "unix"),
        ("call", "connect"),
        ("comm", "nginx"),
        ("unit", "frontend.service"),
        ("path", APPLICATION),
        ("peer_comm", "init"),
        ("peer_service", "application.service"),
    ] {
        ensure!(line[field] == expected, "{field} is not {expected}: {line}");
    }
    systemctl(&["stop", "frontend", "application"])?;
    fs::remove_file(APPLICATION)?;
    systemctl(&["stop", UNIT]).map(drop)
}

/// Each query to a resolver that is down is refused by ICMP, which libc's resolver sees as
/// ECONNREFUSED and does not report.
pub(in super::super) fn resolver_down() -> Result<()> {
    stream()?;
    fs::write("/etc/resolv.conf", "nameserver 127.0.0.1\n")?;
    let status = unit::output(&["getent", "hosts", "example.org"])?.status;
    ensure!(!status.success(), "a name was found");
    let line = reported("port_unreachable")?;
    for (field, expected) in [
        ("errno", "ECONNREFUSED"),
        ("protocol", "udp"),
        ("comm", "getent"),
        ("remote", "127.0.0.1"),
        ("router", "127.0.0.1"),
    ] {
        ensure!(line[field] == expected, "{field} is not {expected}: {line}");
    }
    ensure!(line["remote_port"] == 53, "it is not the port of DNS: {line}");
    fs::remove_file("/etc/resolv.conf")?;
    systemctl(&["stop", UNIT]).map(drop)
}

/// Acts as an application that does not accept, with this backlog.
pub(in super::super) fn listen_at(path: &str, limit: i32) -> Result<()> {
    let listener = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    listener.bind(&SockAddr::unix(path)?)?;
    // nginx runs as another user.
    fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
    listener.listen(limit)?;
    thread::sleep(Duration::from_hours(1));
    Ok(())
}

/// Starts the service, streaming JSON to the journal.
fn stream() -> Result<()> {
    fresh()?;
    unit::stream()?;
    fs::write(CONFIG, "output = \"json\"\n")?;
    systemctl(&["start", UNIT]).map(drop)
}

/// Starts a command as a service with this name.
fn start(name: &str, command: &[&str]) -> Result<()> {
    let unit = format!("--unit={name}");
    run(&[&["systemd-run", "--quiet", "--collect", &unit], command].concat()).map(drop)
}

/// First journal line about a failure of this cause.
fn reported(cause: &str) -> Result<Value> {
    let mut found = None;
    until(|| {
        let messages = messages()?;
        let mut lines =
            messages.iter().map(text).filter_map(|text| serde_json::from_str(text).ok());
        found = lines.find(|line: &Value| line["cause"] == cause);
        ensure!(found.is_some(), "no {cause} in {:?}", unit::texts(&messages));
        Ok(())
    })?;
    found.context("a line")
}
