//! Fuzz tests: paths and files under others' control yield only harmless text, and cannot pass a
//! service off as another's.

use std::{
    fs,
    panic::AssertUnwindSafe,
    path::{Path, PathBuf},
};

use super::{
    docker,
    host_files::HostFiles,
    kubernetes::PodNames,
    mounts::Layout,
    names::NameFiles,
    plain, process,
    service::{Container, Service},
};

const ID: &str = "cf87ba651579c9231db817909e7865e5747bd7abcac0c57ce23cf4abbaee046b";
const UID: &str = "8712f785-1a3e-41ec-a00b-e2dcc77431cb";

/// Maximum length of a service's text: that of a truncated cgroup path.
const LONGEST: usize = 512;

/// Checks that all text of a service is printable and short.
pub(super) fn assert_harmless(service: &Service) {
    let containers = [&service.container, &service.outer_container].into_iter().flatten();
    let texts = [&service.cgroup, &service.unit, &service.user_unit]
        .into_iter()
        .flatten()
        .chain(containers.flat_map(|one| [Some(&one.id), one.name.as_ref()]).flatten())
        .chain(
            service
                .pod
                .iter()
                .flat_map(|pod| [Some(&pod.uid), pod.name.as_ref(), pod.namespace.as_ref()])
                .flatten(),
        );
    for text in texts {
        assert!(text.len() <= LONGEST, "{} bytes", text.len());
        assert!(text.chars().all(|c| c.is_ascii_graphic() || c == ' '), "{text:?}");
    }
    // Three names and two slashes.
    assert!(service.label().is_none_or(|label| label.len() <= 3 * 253 + 2), "{service:?}");
}

/// Checks that a service below user 1000's manager, where that user chooses the names, is still
/// attributed to that user.
pub(super) fn assert_claimed(service: &Service) {
    assert_eq!(service.unit.as_deref(), Some("user@1000.service"));
    assert_eq!(service.user, Some(1000));
    let claimed = |container: &Option<Container>| container.iter().all(|one| one.claimed);
    assert!(claimed(&service.container) && claimed(&service.outer_container), "{service:?}");
    assert!(service.pod.iter().all(|pod| pod.claimed), "{service:?}");
    let label = service.label().expect("a user's manager has a label");
    assert!(label.starts_with("user@1000.service"), "{label}");
}

#[test]
fn cgroup_paths() {
    const USERS: &str = "/user.slice/user-1000.slice/user@1000.service";
    bolero::check!(name = "cgroup_paths").for_each(|bytes: &[u8]| {
        let path = String::from_utf8_lossy(bytes);
        assert_harmless(&Service::from_cgroup_path(&path));
        assert_claimed(&Service::from_cgroup_path(&format!("{USERS}/{path}")));
    });
}

/// Runtimes' files with container names, and Docker's settings.
#[test]
fn runtime_files() {
    const PATHS: [&str; 5] = [
        "var/lib/docker/containers/ID/config.v2.json",
        "run/containerd/io.containerd.runtime.v2.task/k8s.io/ID/config.json",
        "run/containers/storage/overlay-containers/ID/userdata/config.json",
        "var/lib/containers/storage/overlay-containers/containers.json",
        "settings/etc/docker/daemon.json",
    ];
    const CGROUPS: [&str; 4] = [
        "/system.slice/docker-ID.scope",
        "/kubepods.slice/kubepods-podUID.slice/cri-containerd-ID.scope",
        "/kubepods.slice/kubepods-podUID.slice/crio-ID.scope",
        "/machine.slice/libpod-ID.scope/container",
    ];
    let whole = |text: &str| text.replace("UID", UID).replace("ID", ID);
    let root = tempfile::tempdir().expect("a directory");
    // The same file at all paths.
    let file = root.path().join("file");
    fs::write(&file, "").expect("written");
    for path in PATHS {
        let path = root.path().join(whole(path));
        fs::create_dir_all(path.parent().expect("a parent")).expect("created");
        fs::hard_link(&file, path).expect("linked");
    }
    let services = CGROUPS.map(|path| Service::from_cgroup_path(&whole(path)));
    let names = AssertUnwindSafe(NameFiles::new(HostFiles::at(root.path().into())));
    let settings = HostFiles::at(root.path().join("settings"));
    bolero::check!(name = "runtime_files").for_each(move |bytes: &[u8]| {
        fs::write(&file, bytes).expect("written");
        for mut service in services.clone() {
            names.add_to(&mut service);
            assert_harmless(&service);
            let pod = service.pod.iter().flat_map(|pod| [&pod.name, &pod.namespace]);
            let container = service.container.iter().map(|container| &container.name);
            for name in pod.chain(container).flatten() {
                assert_eq!(plain::name(name), Some(name.as_str()));
            }
        }
        assert!(docker::containers(&settings).ends_with("/containers"));
    });
}

/// Names of the kubelet's logs and containers.
#[test]
fn pod_names() {
    bolero::check!(name = "pod_names").for_each(|bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        let found = [
            PodNames::from_container_name(&text),
            PodNames::from_log_link(&text, ID),
            PodNames::from_log_directory(&text, UID),
        ];
        for PodNames { namespace, pod, container } in found.into_iter().flatten() {
            for name in [Some(namespace), Some(pod), container].into_iter().flatten() {
                assert_eq!(plain::name(&name), Some(name.as_str()));
            }
        }
    });
}

/// `stat` and `cgroup` of a process, and `mountinfo`.
#[test]
fn proc_files() {
    bolero::check!(name = "proc_files").for_each(|bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        let _any = process::start_ticks(&text);
        if let Some(path) = process::most_informative(&text) {
            assert!(text.contains(path));
            assert_harmless(&Service::from_cgroup_path(path));
        }
        let is_root = |path: &Path| path.ends_with("cgroup");
        let layout = Layout::parse(&text, is_root);
        let root = layout.unified.as_deref();
        assert_eq!(layout.complete, root.is_some_and(is_root), "{:?}", root.map(PathBuf::from));
    });
}
