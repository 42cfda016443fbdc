//! Permissions of an attached daemon, tested from inside.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::Path,
};

use anyhow::{Context as _, Result, ensure};
use nix::libc;

use super::{
    daemon::reports_a_reset,
    remote_call::{
        Argument::{self, Bytes, Number},
        Caller,
    },
    tracer::{Tracer, daemon},
};

/// User that the daemon becomes where packages have not created one.
const NOBODY: u32 = 65_534;

const EPERM: i64 = -1;
const ENOSYS: i64 = -38;
const EACCES: i64 = -13;
const ENOTTY: i64 = -25;

/// Expected result of a call.
enum Expected {
    /// A negative errno.
    Error(i64),
    Success,
}
use Expected::{Error, Success};

type Try<'a> = (&'a str, libc::c_long, Vec<Argument<'a>>, Expected);

/// A file of root that the daemon does not need.
const SECRET: &str = "/root/secret";
const SECRET_C: &[u8] = b"/root/secret\0";

/// Calls that no daemon may make, and calls that every daemon may make.
#[expect(clippy::too_many_lines, reason = "a table")]
fn of_all(own: i64) -> Vec<Try<'static>> {
    let at = Number(libc::AT_FDCWD.into());
    let number = |number: libc::c_int| Number(number.into());
    let zero = Number(0);
    let page = 4096;
    vec![
        (
            "write a file",
            libc::SYS_openat,
            vec![at, Bytes(SECRET_C), number(libc::O_WRONLY)],
            Error(EPERM),
        ),
        (
            "make a file",
            libc::SYS_openat,
            vec![at, Bytes(b"/tmp/new\0"), number(libc::O_RDONLY | libc::O_CREAT), Number(0o600)],
            Error(EPERM),
        ),
        (
            "shorten a file",
            libc::SYS_openat,
            vec![at, Bytes(SECRET_C), number(libc::O_TRUNC)],
            Error(EPERM),
        ),
        (
            "write a file by openat2",
            libc::SYS_openat2,
            vec![at, Bytes(SECRET_C), Bytes(&[0; 24]), Number(24)],
            Error(EPERM),
        ),
        ("remove a file", libc::SYS_unlinkat, vec![at, Bytes(SECRET_C), zero], Error(EPERM)),
        (
            "rename a file",
            libc::SYS_renameat2,
            vec![at, Bytes(SECRET_C), at, Bytes(b"/x\0"), zero],
            Error(EPERM),
        ),
        ("start a program", libc::SYS_execve, vec![Bytes(b"/init\0"), zero, zero], Error(EPERM)),
        (
            "make a process",
            libc::SYS_clone,
            vec![number(libc::SIGCHLD), zero, zero, zero, zero],
            Error(EPERM),
        ),
        (
            "make a namespace",
            libc::SYS_clone,
            vec![number(libc::CLONE_NEWUSER | libc::SIGCHLD), zero],
            Error(EPERM),
        ),
        ("make what cannot be seen", libc::SYS_clone3, vec![zero, zero], Error(ENOSYS)),
        ("signal another process", libc::SYS_kill, vec![Number(1), zero], Error(EPERM)),
        ("signal all processes", libc::SYS_kill, vec![Number(-1), zero], Error(EPERM)),
        ("signal itself", libc::SYS_kill, vec![Number(own), zero], Success),
        (
            "limit another process",
            libc::SYS_prlimit64,
            vec![Number(1), number(7), zero, zero],
            Error(EPERM),
        ),
        (
            "limit itself",
            libc::SYS_prlimit64,
            vec![zero, number(7), Bytes(&[1; 16]), zero],
            Error(EPERM),
        ),
        (
            "read its limits",
            libc::SYS_prlimit64,
            vec![zero, number(7), zero, Bytes(&[0; 16])],
            Success,
        ),
        (
            "type on a terminal",
            libc::SYS_ioctl,
            vec![zero, Number(0x5412), Bytes(b"x")],
            Error(EPERM),
        ),
        (
            "ask for a terminal",
            libc::SYS_ioctl,
            vec![Number(1), Number(0x5401), Bytes(&[0; 64])],
            Error(ENOTTY),
        ),
        (
            "open a netlink socket",
            libc::SYS_socket,
            vec![number(libc::AF_NETLINK), number(libc::SOCK_DGRAM), zero],
            Error(EPERM),
        ),
        (
            "open a packet socket",
            libc::SYS_socket,
            vec![number(libc::AF_PACKET), number(libc::SOCK_RAW), zero],
            Error(EPERM),
        ),
        (
            "open a raw socket",
            libc::SYS_socket,
            vec![number(libc::AF_INET), number(libc::SOCK_RAW), number(1)],
            Error(EPERM),
        ),
        (
            "open a Unix socket",
            libc::SYS_socket,
            vec![number(libc::AF_UNIX), number(libc::SOCK_DGRAM | libc::SOCK_CLOEXEC), zero],
            Success,
        ),
        (
            "map code",
            libc::SYS_mmap,
            vec![
                zero,
                Number(page),
                number(libc::PROT_READ | libc::PROT_EXEC),
                number(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS),
                Number(-1),
                zero,
            ],
            Error(EPERM),
        ),
        (
            "map memory",
            libc::SYS_mmap,
            vec![
                zero,
                Number(page),
                number(libc::PROT_READ | libc::PROT_WRITE),
                number(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS),
                Number(-1),
                zero,
            ],
            Success,
        ),
        (
            "be traceable",
            libc::SYS_prctl,
            vec![number(libc::PR_SET_DUMPABLE), Number(1), zero, zero, zero],
            Error(EPERM),
        ),
        ("become root", libc::SYS_setuid, vec![zero], Error(EPERM)),
        (
            "trace a process",
            libc::SYS_ptrace,
            vec![number(16), Number(1), zero, zero],
            Error(EPERM),
        ),
        (
            "mount",
            libc::SYS_mount,
            vec![Bytes(b"none\0"), Bytes(b"/tmp\0"), Bytes(b"tmpfs\0"), zero, zero],
            Error(EPERM),
        ),
        ("load a program", libc::SYS_bpf, vec![number(5), zero, zero], Error(EPERM)),
        ("change its filter", libc::SYS_seccomp, vec![zero, zero, zero], Error(EPERM)),
        (
            "read its status",
            libc::SYS_openat,
            vec![at, Bytes(b"/proc/self/status\0"), zero],
            Success,
        ),
    ]
}

fn make_secret() -> Result<()> {
    fs::create_dir_all("/root")?;
    fs::write(SECRET, "of root")?;
    Ok(fs::set_permissions(SECRET, fs::Permissions::from_mode(0o600))?)
}

/// Tries each forbidden call and each allowed one. The daemon works afterwards.
pub(super) fn from_inside() -> Result<()> {
    make_secret()?;
    let tracer = Tracer::run(daemon(&["--output", "json", "--listen", "127.0.0.1:0"]))?;
    is_nobody(&tracer)?;
    let own = i64::from(tracer.pid());
    let at = Number(libc::AT_FDCWD.into());
    let inet = vec![Number(libc::AF_INET.into()), Number(libc::SOCK_STREAM.into()), Number(0)];
    let mut tries = of_all(own);
    tries.push(("open a socket of the Internet", libc::SYS_socket, inet, Error(EPERM)));
    if has_landlock() {
        // The daemon can read root's files, for those of container runtimes; only
        // Landlock denies the others.
        let read = vec![at, Bytes(SECRET_C), Number(0)];
        tries.push(("read a file of root", libc::SYS_openat, read, Error(EACCES)));
    }
    make(&tracer, &tries)?;
    ensure!(fs::read_to_string(SECRET)? == "of root", "the file was changed");
    reports_a_reset(&tracer)?;
    ensure!(tracer.scrape()?.values().sum::<f64>() > 0.0, "nothing is counted");
    Ok(())
}

/// Outputs need more permissions, and get only those.
pub(super) fn with_outputs() -> Result<()> {
    make_secret()?;
    let directory = Path::new("/run/sandbox");
    fs::create_dir_all(directory)?;
    chown(directory, Some(NOBODY), Some(NOBODY))?;
    let tracer = Tracer::run(daemon(&[
        "--output",
        "json",
        "--listen",
        "127.0.0.1:0",
        "--history",
        "--history-file",
        "/run/sandbox/history.db",
        "--otlp",
        "http://127.0.0.1:4318",
    ]))?;
    is_nobody(&tracer)?;
    let at = Number(libc::AT_FDCWD.into());
    let number = |number: libc::c_int| Number(number.into());
    let make_file = number(libc::O_WRONLY | libc::O_CREAT);
    let mut tries = of_all(tracer.pid().into());
    // With a history, files are written. Which ones is restricted only by file permissions and Landlock.
    let by_arguments =
        ["write a file", "make a file", "shorten a file", "remove a file", "rename a file"];
    tries.retain(|(what, ..)| !by_arguments.contains(what));
    tries.extend([
        (
            "make a file beside the history",
            libc::SYS_openat,
            vec![at, Bytes(b"/run/sandbox/new\0"), make_file, Number(0o600)],
            Success,
        ),
        (
            "remove it",
            libc::SYS_unlinkat,
            vec![at, Bytes(b"/run/sandbox/new\0"), Number(0)],
            Success,
        ),
        (
            "write a file of root",
            libc::SYS_openat,
            vec![at, Bytes(SECRET_C), number(libc::O_WRONLY)],
            Error(EACCES),
        ),
        (
            "remove a file of root",
            libc::SYS_unlinkat,
            vec![at, Bytes(SECRET_C), Number(0)],
            Error(EACCES),
        ),
        (
            "open a socket of the Internet",
            libc::SYS_socket,
            vec![number(libc::AF_INET), number(libc::SOCK_STREAM), Number(0)],
            Success,
        ),
    ]);
    if has_landlock() {
        let file = vec![at, Bytes(b"/tmp/new\0"), make_file, Number(0o600)];
        tries.push(("make a file elsewhere", libc::SYS_openat, file, Error(EACCES)));
    }
    make(&tracer, &tries)?;
    reports_a_reset(&tracer)
}

/// Tries calls, and compares their results.
fn make(tracer: &Tracer, tries: &[Try<'_>]) -> Result<()> {
    let caller = Caller::stop(tracer.pid())?;
    let mut wrong = Vec::new();
    for (what, call, arguments, expected) in tries {
        let result = caller.call(*call, arguments).with_context(|| (*what).to_owned())?;
        let is_right = match expected {
            Error(error) => result == *error,
            Success => result >= 0,
        };
        if !is_right {
            wrong.push(format!("{what}: {result}"));
        }
    }
    ensure!(wrong.is_empty(), "from inside: {}", wrong.join(", "));
    Ok(())
}

/// Checks that the daemon has dropped root and root's groups, and is hidden from its own user.
fn is_nobody(tracer: &Tracer) -> Result<()> {
    let process = format!("/proc/{}", tracer.pid());
    let status = fs::read_to_string(format!("{process}/status"))?;
    for (name, expected) in [
        ("Uid", [NOBODY; 4].map(|id| id.to_string()).join("\t")),
        ("Gid", [NOBODY; 4].map(|id| id.to_string()).join("\t")),
        ("Groups", String::new()),
    ] {
        let found = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        ensure!(found.map(str::trim) == Some(&expected), "{name} is {found:?}");
    }
    // Files of an undumpable process belong to root (`task_dump_owner` in `fs/proc/base.c`).
    ensure!(fs::metadata(format!("{process}/status"))?.uid() == 0, "it may be dumped");
    Ok(())
}

/// Whether this kernel has Landlock.
fn has_landlock() -> bool {
    let version = 1;
    // SAFETY: takes only numbers and a null pointer, and returns a number.
    let found = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0_usize, version)
    };
    found > 0
}
