//! Names of remote addresses, queried from a resolver by a daemon that has dropped its privileges.

use std::{
    fs,
    net::{Ipv4Addr, UdpSocket},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::{
    network::{Family, NOBODY_LISTENS, Network},
    socket,
    tracer::Tracer,
};

const CONFIGURATION: &str = "/etc/resolv.conf";

/// The guest's other host, as queried and as answered.
const QUESTION: &[&str] = &["2", "0", "77", "10", "in-addr", "arpa"];
const NAME: &[&str] = &["db1", "example"];

const ARGS: &[&str] = &["--no-metrics", "--output", "json", "--resolve"];

/// Longest time to wait for a query, and for a line with a name.
const PATIENCE: Duration = Duration::from_secs(30);

/// Names appear in the stream. Without a resolver, the daemon reports what it needs.
pub(super) fn names_remote_ends() -> Result<()> {
    let Err(refused) = Tracer::start(ARGS)? else { bail!("runs without {CONFIGURATION}") };
    ensure!(refused.stderr.contains(CONFIGURATION), "{}", refused.stderr);

    let resolver =
        UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 2), 53)).context("cannot be the resolver")?;
    resolver.set_read_timeout(Some(PATIENCE))?;
    fs::write(CONFIGURATION, "nameserver 127.0.0.1\n")?;
    let tracer = Tracer::must_start(ARGS)?;
    // The resolver changes now, and is removed later: the last one remains in use.
    fs::write(CONFIGURATION, "nameserver 127.0.0.2\n")?;

    Network::get()?;
    fail_to_connect()?;
    answer(&resolver)?;
    fs::remove_file(CONFIGURATION)?;
    // The line has waited for the answer, unless this machine is slow.
    let deadline = Instant::now() + PATIENCE;
    let wanted = Value::from(NAME.join("."));
    loop {
        let lines = tracer.collect(1);
        let [line] = lines.as_slice() else { bail!("one failure is reported as {lines:?}") };
        let line: Value = serde_json::from_str(line)?;
        if line["remote_name"] == wanted {
            return Ok(());
        }
        ensure!(line["remote_name"].is_null() && Instant::now() < deadline, "{line}");
        fail_to_connect()?;
    }
}

fn fail_to_connect() -> Result<()> {
    let client = socket::stream(Family::Ipv4.peer())?;
    let refused = client.connect(&Family::Ipv4.peer_port(NOBODY_LISTENS).into());
    socket::ensure_errno("connect", socket::errno("connect", refused)?, nix::libc::ECONNREFUSED)
}

/// Answers one query, as in RFC 1035, 4.1.
fn answer(resolver: &UdpSocket) -> Result<()> {
    /// Length of the header, which the question follows.
    const HEADER: usize = 12;
    /// A response, recursion desired and available, no error.
    const FLAGS: [u8; 2] = [0x81, 0x80];
    /// One question and one answer.
    const COUNTS: [u8; 8] = [0, 1, 0, 1, 0, 0, 0, 0];
    /// Type PTR, class IN.
    const KIND: [u8; 4] = [0, 12, 0, 1];
    /// Pointer to the name right after the header.
    const SAME_NAME: [u8; 2] = [0xc0, 12];
    const SECONDS: [u8; 4] = [0, 0, 0, 60];

    let mut query = [0; 512];
    let (length, client) = resolver.recv_from(&mut query).context("no question")?;
    let question = [&labels(QUESTION)?[..], &KIND].concat();
    let asked = query[..length].get(HEADER..HEADER + question.len()).context("a short question")?;
    ensure!(asked.eq_ignore_ascii_case(&question), "asked for {asked:?}");
    let name = labels(NAME)?;
    let size = u16::try_from(name.len())?.to_be_bytes();
    let id = &query[..2];
    let parts: [&[u8]; 9] = [id, &FLAGS, &COUNTS, asked, &SAME_NAME, &KIND, &SECONDS, &size, &name];
    resolver.send_to(&parts.concat(), client)?;
    Ok(())
}

/// A name in wire format.
fn labels(name: &[&str]) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for label in name {
        bytes.push(u8::try_from(label.len())?);
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    Ok(bytes)
}
