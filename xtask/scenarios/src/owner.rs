//! Owners of failing sockets: process, user and service, in cgroups named by the conventions of
//! systemd, container runtimes and the kubelet.

use std::{fs, net::SocketAddr, os::fd::OwnedFd};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    libc,
    mount::{MsFlags, mount, umount},
    sys::signal::Signal,
    unistd::{Uid, setuid},
};
use serde_json::{Value, json};
use socket2::Socket;
use socktrace_diagnosis::Cause;

use xtask_common::cgroup;

use super::{
    child::{self, ChildOutcome},
    connect,
    expected::Expected,
    handover,
    network::{Family, NOBODY_LISTENS},
    process::Process,
    socket::{self, Ends},
    span::Span,
    tracer::Tracer,
};

/// Mount point of a cgroup v1 hierarchy.
const LEGACY: &str = "/run/legacy";

/// User of the processes.
pub(super) const USER: u32 = 1_000;

/// A container ID, and its short form.
const ID: &str = "cf87ba651579c9231db817909e7865e5747bd7abcac0c57ce23cf4abbaee046b";
const SHORT_ID: &str = "cf87ba651579";

const WEB: &str = "/system.slice/web.service";

/// Processes of services, containers and pods fail to connect, and exit at once.
pub(super) fn in_cgroups(family: Family) -> Result<Vec<Expected>> {
    let container =
        |runtime: &str| json!({ "id": ID, "name": null, "runtime": runtime, "claimed": false });
    let pod = json!({
        "uid": "8712f785-1a3e-41ec-a00b-e2dcc77431cb",
        "name": null, "namespace": null, "qos": "Burstable", "claimed": false,
    });
    let docker = format!("docker-{ID}.scope");
    let containerd = format!("cri-containerd-{ID}.scope");
    let slice = "kubepods-burstable-pod8712f785_1a3e_41ec_a00b_e2dcc77431cb.slice";
    Ok(vec![
        in_web(connect_refused(family, WEB)?),
        connect_refused(family, &format!("/system.slice/{docker}"))?
            .with("unit", docker)
            .with("container", container("docker"))
            .with("service", SHORT_ID),
        connect_refused(
            family,
            &format!("/kubepods.slice/kubepods-burstable.slice/{slice}/{containerd}"),
        )?
        .with("unit", containerd)
        .with("container", container("containerd"))
        .with("pod", pod)
        .with("service", SHORT_ID),
        connect_refused(
            family,
            "/user.slice/user-1000.slice/user@1000.service/app.slice/sync.service",
        )?
        .with("unit", "user@1000.service")
        .with("user", USER)
        .with("user_unit", "sync.service")
        .with("service", "user@1000.service/sync.service"),
    ])
}

/// A segment ends the connection of a sleeping process, while the process that sent it runs.
pub(super) fn while_another_runs(family: Family) -> Result<Vec<Expected>> {
    let listener = socket::listener(family.loopback(), 1)?;
    let address = socket::local(&listener)?;
    let server = child::start(&["serve-in", make(WEB)?.as_str()], listener.into())?;
    let client = socket::stream(address)?;
    client.connect(&address.into())?;
    socket::receive(&client, GREETING)?;
    handover::until_state(server.id(), server.id(), 'S')?;
    let ends = Ends::of_client(&client)?.reversed();
    socket::close_with_reset(client)?;
    let outcome = child::finish(server)?;
    let failure = failure(Cause::ResetByPeer, "read_or_write", &outcome, ends)?;
    Ok(vec![in_web(failure.with("cgroup", WEB).known_as(&["waiter"]).reset_here("tcp_state"))])
}

/// The daemon handles an event after the process has exited and its cgroup is gone. A cgroup that
/// the daemon has seen before is named; another is reported as gone.
pub(super) fn gone() -> Result<()> {
    const BEFORE: &str = "/system.slice/before.service";
    const AFTER: &str = "/system.slice/after.service";
    make(BEFORE)?;
    let tracer = Tracer::must_start(&["--output", "json", "--no-metrics"])?;
    tracer.signal(Signal::SIGSTOP)?;
    let span = Span::begin();
    let expected = [
        connect_refused(Family::Ipv4, BEFORE)?
            .with("unit", "before.service")
            .with("service", "before.service"),
        connect_refused(Family::Ipv4, AFTER)?
            .with("cgroup", Value::Null)
            .with("owner_unknown", "cgroup_gone"),
    ];
    for cgroup in [BEFORE, AFTER] {
        fs::remove_dir(directory(cgroup)).with_context(|| format!("cannot remove {cgroup}"))?;
    }
    tracer.signal(Signal::SIGCONT)?;
    check(&tracer, &span, &expected)
}

/// Where services are in cgroup v1, the service is found through the process.
pub(super) fn in_legacy_cgroup() -> Result<()> {
    const SERVICE: &str = "legacy.service";
    fs::create_dir_all(LEGACY)?;
    mount(Some("cgroup"), LEGACY, Some("cgroup"), MsFlags::empty(), Some("none,name=systemd"))
        .context("cannot mount a hierarchy of cgroup v1")?;
    let path = format!("/system.slice/{SERVICE}");
    let directory = format!("{LEGACY}{path}");
    fs::create_dir_all(&directory)?;
    let tracer = Tracer::must_start(&["--output", "json", "--no-metrics"])?;
    cgroup::enter(&directory)?;
    let span = Span::begin();
    let made = connect::refused(Family::Ipv4);
    // Compared before the process leaves the cgroup.
    let result = made.and_then(|made| {
        let owned = |failure: Expected| {
            failure.with("cgroup", path.as_str()).with("unit", SERVICE).with("service", SERVICE)
        };
        check(&tracer, &span, &made.into_iter().map(owned).collect::<Vec<_>>())
    });
    cgroup::enter(LEGACY)?;
    drop(tracer);
    fs::remove_dir(&directory)?;
    fs::remove_dir(format!("{LEGACY}/system.slice"))?;
    umount(LEGACY)?;
    result
}

/// Compares the whole stream of a daemon with the expectations.
fn check(tracer: &Tracer, span: &Span, expected: &[Expected]) -> Result<()> {
    let lines = tracer.collect(expected.len());
    ensure!(lines.len() == expected.len(), "{} failures are reported as {lines:?}", expected.len());
    for (expected, line) in expected.iter().zip(&lines) {
        let line: Value = serde_json::from_str(line)?;
        match expected.differences(&line, span) {
            None => bail!("not reported: {expected:?}, but {line}"),
            Some(differences) => ensure!(differences.is_empty(), "{differences:?}"),
        }
    }
    Ok(())
}

/// Makes a process in a cgroup fail to connect.
pub(super) fn connect_refused(family: Family, cgroup: &str) -> Result<Expected> {
    let closed = socket::closed_port(family)?;
    let client = socket::bound(family.loopback())?;
    let ends = Ends::new(socket::local(&client)?, closed);
    let words = ["connect-in", &make(cgroup)?, &closed.to_string()];
    let outcome = child::finish(child::start(&words, OwnedFd::from(client))?)?;
    Ok(failure(Cause::ConnectRefused, "connect", &outcome, ends)?.with("cgroup", cgroup))
}

/// Expected report of the only failure of a child.
fn failure(
    cause: Cause,
    call: &'static str,
    outcome: &ChildOutcome,
    ends: Ends,
) -> Result<Expected> {
    let process = Process { uid: USER, ..Process::child(outcome.pid) };
    Ok(Expected::failure(cause, call, outcome.errno()?, ends).by(process))
}

fn in_web(failure: Expected) -> Expected {
    failure.with("unit", "web.service").with("service", "web.service")
}

/// Makes this process fail to connect in a cgroup, where it remains.
pub(super) fn refused_in(cgroup: &str) -> Result<()> {
    cgroup::enter(&make(cgroup)?)?;
    // A fixed port, not one that the socket may get itself: once in thousands of times it would
    // connect to itself.
    let nobody = SocketAddr::new(Family::Ipv4.loopback().ip(), NOBODY_LISTENS);
    let connected = socket::stream(nobody)?.connect(&nobody.into());
    socket::ensure_errno("connect", socket::errno("connect", connected)?, libc::ECONNREFUSED)
}

/// Moves this process to a cgroup, which is created if it does not exist.
pub(super) fn enter(cgroup: &str) -> Result<()> {
    cgroup::enter(&make(cgroup)?)
}

/// Moves this process back to the root cgroup.
pub(super) fn leave() -> Result<()> {
    cgroup::enter(cgroup::ROOT)
}

/// Directory of a cgroup.
pub(super) fn directory(cgroup: &str) -> String {
    format!("{}{cgroup}", cgroup::ROOT)
}

/// Creates a cgroup if it does not exist; returns its directory.
pub(super) fn make(cgroup: &str) -> Result<String> {
    let directory = directory(cgroup);
    fs::create_dir_all(&directory).with_context(|| format!("cannot make {directory}"))?;
    Ok(directory)
}

/// Sent by a server when it has accepted.
const GREETING: &[u8] = b"x";

/// Joins the service's cgroup and connects, in the child.
pub(super) fn connect_in(directory: &str, socket: &Socket, address: SocketAddr) -> Result<i32> {
    become_service(directory)?;
    socket::errno("connect", socket.connect(&address.into()))
}

/// Joins the service's cgroup, connects, writes until nothing more fits, and exits, in the child.
pub(super) fn fill_in(directory: &str, socket: &Socket, address: SocketAddr) -> Result<()> {
    become_service(directory)?;
    socket.connect(&address.into())?;
    socket::fill(socket).map(drop)
}

/// Joins the service's cgroup, accepts, and waits for the end, in the child.
pub(super) fn serve_in(directory: &str, listener: &Socket) -> Result<i32> {
    become_service(directory)?;
    let (socket, _) = listener.accept()?;
    socket::send(&socket, GREETING)?;
    let errno = socket::read_errno(&socket)?;
    socket::ensure_errno("read", errno, libc::ECONNRESET)?;
    Ok(errno)
}

fn become_service(directory: &str) -> Result<()> {
    cgroup::enter(directory)?;
    Ok(setuid(Uid::from_raw(USER))?)
}
