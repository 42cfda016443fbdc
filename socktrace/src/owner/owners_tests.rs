//! Tests of finding services by cgroup and process.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use tempfile::TempDir;

use super::*;

const ID: &str = "cf87ba651579c9231db817909e7865e5747bd7abcac0c57ce23cf4abbaee046b";

/// A host in a directory: cgroups in `cgroup`, processes in `proc`, other files next to them.
fn host() -> TempDir {
    let root = tempfile::tempdir().expect("a directory");
    for directory in ["cgroup", "proc"] {
        fs::create_dir(root.path().join(directory)).expect("created");
    }
    root
}

fn cgroup(root: &Path, path: &str) -> u64 {
    let path = root.join("cgroup").join(path);
    fs::create_dir_all(&path).expect("created");
    fs::metadata(path).expect("there").ino()
}

fn process(root: &Path, pid: u32, cgroups: &str) {
    let directory = root.join("proc").join(pid.to_string());
    fs::create_dir_all(&directory).expect("created");
    let stat = format!("{pid} (x) S{} 1 0", " 0".repeat(18));
    fs::write(directory.join("stat"), stat).expect("written");
    fs::write(directory.join("cgroup"), cgroups).expect("written");
}

fn owners(root: &Path, complete: bool, legacy: bool) -> Owners {
    Owners {
        ids: Some(CgroupIds::without_handles(root.join("cgroup"), complete)),
        legacy,
        processes: Some(Processes::at(root.join("proc"))),
        names: NameLookups::new(HostFiles::at(root.into()), Duration::from_mins(1)),
        services: LruCache::new(KEPT),
        last: None,
    }
}

/// Time of the event: long after the processes above started, and before they are looked up.
const EVENT: u64 = 1_000_000_000;

/// A process at that time; 0 for none.
fn at(pid: u32) -> Option<Sighting> {
    (pid != 0).then_some(Sighting { pid, seen_ns: EVENT, at_ns: EVENT })
}

#[test]
fn a_cgroup_alone_is_enough() {
    let root = host();
    let id = cgroup(root.path(), "system.slice/nginx.service");
    let mut owners = owners(root.path(), true, false);
    let service = owners.service(id, at(0));
    assert_eq!(service.unit.as_deref(), Some("nginx.service"));
    assert!(Arc::ptr_eq(&service, &owners.service(id, at(0))), "kept");
    fs::remove_dir(root.path().join("cgroup/system.slice/nginx.service")).expect("removed");
    assert_eq!(owners.service(id, at(0)), service);
}

#[test]
fn unknown_has_a_reason() {
    let root = host();
    process(root.path(), 7, "0::/system.slice/other.service\n");
    let mut owners = owners(root.path(), true, false);
    let mut why = |cgroup, pid| owners.service(cgroup, at(pid)).unknown;
    assert_eq!(why(0, 0), Some(Unknown::NotRecorded));
    assert_eq!(why(0, 8), Some(Unknown::ProcessGone));
    // The process may have moved to another cgroup since, so it is not consulted.
    assert_eq!(why(u64::MAX, 7), Some(Unknown::Busy));
    assert_eq!(why(0, 7), None);
}

#[test]
fn where_not_all_is_visible_the_process_decides() {
    let root = host();
    process(root.path(), 7, &format!("0::/../../kubepods/cri-containerd-{ID}\n"));
    let mut owners = owners(root.path(), false, false);
    let service = owners.service(0, at(7));
    assert_eq!(service.container.as_ref().expect("one").id, ID);
}

#[test]
fn with_cgroup_v1_the_process_tells_of_containers() {
    let root = host();
    let systemds = cgroup(root.path(), "system.slice/containerd.service");
    let top = cgroup(root.path(), "");
    process(root.path(), 7, &format!("2:memory:/docker/{ID}\n0::/system.slice/x.service\n"));
    process(root.path(), 8, "1:name=systemd:/system.slice/a.service\n0::/\n");
    let mut owners = owners(root.path(), true, true);
    let service = owners.service(systemds, at(7));
    assert_eq!(service.container.as_ref().expect("one").id, ID);
    // The process has no container, and the cgroup is that of the event.
    let service = owners.service(systemds, at(8));
    assert_eq!(service.unit.as_deref(), Some("containerd.service"));
    // With v1 alone, every process is in the root of cgroup2.
    assert_eq!(owners.service(top, at(8)).unit.as_deref(), Some("a.service"));
    assert_eq!(owners.service(top, at(9)).unknown, Some(Unknown::ProcessGone));
    // Without cgroup2, and with pids of another namespace.
    owners.ids = None;
    assert_eq!(owners.service(1, at(8)).unit.as_deref(), Some("a.service"));
    owners.processes = None;
    assert_eq!(owners.service(1, at(8)).unknown, Some(Unknown::NotVisible));
}

#[test]
fn names_are_looked_for_again() {
    let root = host();
    let id = cgroup(root.path(), &format!("docker/{ID}"));
    let mut owners = owners(root.path(), true, false);
    let age = |owners: &mut Owners, age: Duration| {
        for (_, named) in &mut owners.services {
            named.at = Instant::now().checked_sub(age).expect("since boot");
        }
    };
    let label =
        |owners: &mut Owners| owners.service(id, at(0)).label().expect("a label").into_owned();
    assert_eq!(label(&mut owners), &ID[..12]);

    let state = root.path().join("var/lib/docker/containers").join(ID);
    fs::create_dir_all(&state).expect("created");
    fs::write(state.join("config.v2.json"), r#"{"Name":"/web"}"#).expect("written");
    assert_eq!(label(&mut owners), &ID[..12], "not yet");
    age(&mut owners, NO_NAMES_AGE);
    assert_eq!(label(&mut owners), "web");

    fs::write(state.join("config.v2.json"), r#"{"Name":"/shop"}"#).expect("written");
    age(&mut owners, NO_NAMES_AGE);
    assert_eq!(label(&mut owners), "web", "still good");
    age(&mut owners, NAMES_AGE);
    assert_eq!(label(&mut owners), "shop");

    fs::remove_dir_all(&state).expect("removed");
    age(&mut owners, NAMES_AGE);
    assert_eq!(label(&mut owners), "shop", "the container has gone");
}

#[test]
fn this_host_is_understood() {
    let mut owners = Owners::new();
    // Whatever this host has, there is an answer, and without a process it is unknown.
    assert!(owners.service(0, None).unknown.is_some());
    assert!(owners.service(0, at(u32::MAX)).unknown.is_some());
}
