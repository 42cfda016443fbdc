//! Tests with paths that systemd and the runtimes really create.

use proptest::prelude::*;

use super::*;
use crate::owner::{
    fuzz::{assert_claimed, assert_harmless},
    service::{Qos, Runtime},
};

const ID: &str = "cf87ba651579c9231db817909e7865e5747bd7abcac0c57ce23cf4abbaee046b";
const INNER: &str = "ec08435e04266c5ba381fccbb829f626d11d8ddf5f8f547263c7a2d79ab4787a";
const UID: &str = "8712f785-1a3e-41ec-a00b-e2dcc77431cb";

/// Parses a path. `ID`, `INNER`, `UID` and `U_I_D` (with underscores) stand for the values above.
fn read(path: &str) -> Service {
    let path = path
        .replace("INNER", INNER)
        .replace("U_I_D", &UID.replace('-', "_"))
        .replace("UID", UID)
        .replace("ID", ID);
    Service::from_cgroup_path(&path)
}

#[test]
fn units_of_the_system() {
    for (path, unit) in [
        ("/system.slice/nginx.service", "nginx.service"),
        ("/system.slice/foobar.service/sdfdsaf", "foobar.service"),
        ("/system.slice/system-getty.slice/getty@tty5.service", "getty@tty5.service"),
        (
            "/system.slice/system-postgresql.slice/postgresql@9.4-main.service/aaa/bbb",
            "postgresql@9.4-main.service",
        ),
        ("/system.slice/system-waldo.slice/_cpu.service/sdfdsaf", "cpu.service"),
        ("/system.slice/docker.socket", "docker.socket"),
        (
            "/system.slice/system-serial\\x2dgetty.slice/serial-getty@ttyS0.service",
            "serial-getty@ttyS0.service",
        ),
        ("/system.slice/dev-disk-by\\x2dlabel-swap.swap", "dev-disk-by\\x2dlabel-swap.swap"),
        ("/init.scope", "init.scope"),
        ("/system.slice/run-r1f2e.scope", "run-r1f2e.scope"),
        (
            "/machine.slice/machine-qemu\\x2d1\\x2dvm.scope/libvirt/emulator",
            "machine-qemu\\x2d1\\x2dvm.scope",
        ),
        // The slice for want of a unit.
        ("/system.slice", "system.slice"),
        ("/foo.slice/foo-bar.slice", "foo-bar.slice"),
        ("/foo.slice/jobs", "foo.slice"),
    ] {
        let service = read(path);
        assert_eq!(service.unit.as_deref(), Some(unit), "{path}");
        assert_eq!((service.container, service.pod, service.user), (None, None, None), "{path}");
    }
}

#[test]
fn units_of_users() {
    let user = "/user.slice/user-1000.slice";
    for (path, unit, user_unit) in [
        ("/session-2.scope", "session-2.scope", None),
        ("/session-2.scope/x/y.service", "session-2.scope", None),
        ("/user@1000.service/app.slice/sync.service", "user@1000.service", Some("sync.service")),
        (
            "/user@1000.service/app.slice/app-gnome-firefox-4242.scope",
            "user@1000.service",
            Some("app-gnome-firefox-4242.scope"),
        ),
        (
            "/user@1000.service/app.slice/app-org.gnome.Terminal.slice/vte-spawn-1.scope",
            "user@1000.service",
            Some("vte-spawn-1.scope"),
        ),
        ("/user@1000.service/init.scope", "user@1000.service", Some("init.scope")),
        ("/user@1000.service", "user@1000.service", None),
        ("/user@1000.service/app.slice", "user@1000.service", None),
        ("/user@1000.service/waldo/a.service", "user@1000.service", None),
        // A user's own tree does not change the user.
        (
            "/user@1000.service/user.slice/user-0.slice/user@0.service/a.service",
            "user@1000.service",
            Some("user@0.service"),
        ),
    ] {
        let service = read(&format!("{user}{path}"));
        assert_eq!(service.unit.as_deref(), Some(unit), "{path}");
        assert_eq!(service.user, Some(1000), "{path}");
        assert_eq!(service.user_unit.as_deref(), user_unit, "{path}");
    }
}

#[test]
fn paths_without_a_service() {
    for path in ["/", "", "/..", "/../..", "/user/1000.user/c2.session", "/a/b.service", "//"] {
        let service = read(path);
        let expected = Service { cgroup: Some(path.to_owned()), ..Service::default() };
        assert_eq!(service, expected, "{path}");
    }
}

#[test]
fn containers_of_each_runtime() {
    use Runtime::{Containerd, CriO, Docker, Podman};
    for (path, runtime, unit) in [
        // systemd driver, v1 and v2
        ("/system.slice/docker-ID.scope", Some(Docker), Some("docker-ID.scope")),
        ("/foo.slice/docker-ID.scope/init", Some(Docker), Some("docker-ID.scope")),
        ("/machine.slice/libpod-ID.scope/container", Some(Podman), Some("libpod-ID.scope")),
        (
            "/machine.slice/machine-libpod_pod_INNER.slice/libpod-ID.scope",
            Some(Podman),
            Some("libpod-ID.scope"),
        ),
        ("/system.slice/crio-ID.scope", Some(CriO), Some("crio-ID.scope")),
        ("/system.slice/nerdctl-ID.scope", Some(Containerd), Some("nerdctl-ID.scope")),
        (
            "/docker.slice/docker-ID.scope/system.slice/nginx.service",
            Some(Docker),
            Some("docker-ID.scope"),
        ),
        // cgroupfs driver, v1 and v2
        ("/docker/ID", Some(Docker), None),
        ("/docker/ID/app", Some(Docker), None),
        ("/libpod_parent/libpod-ID", Some(Podman), None),
        ("/libpod_parent/INNER/libpod-ID/ctr", Some(Podman), None),
        ("/actions_job/ID", None, None),
        ("/ID", None, None),
        ("/ecs/4d5e/ID", None, None),
        // cgroupfs driver with a parent meant for the systemd driver
        ("/system.slice:docker:ID", Some(Docker), None),
        ("/machine.slice:libpod:ID", Some(Podman), None),
        // as seen from within a cgroup namespace
        ("/../docker-ID.scope", Some(Docker), Some("docker-ID.scope")),
    ] {
        let service = read(path);
        let container = service.container.expect(path);
        assert_eq!((container.id.as_str(), container.runtime), (ID, runtime), "{path}");
        assert!(!container.claimed, "{path}");
        assert_eq!(service.unit, unit.map(|unit| unit.replace("ID", ID)), "{path}");
        assert_eq!((service.outer_container, service.pod), (None, None), "{path}");
    }
}

#[test]
fn pods_of_each_runtime() {
    use Runtime::{Containerd, CriO, Docker};
    for (path, runtime, qos) in [
        // systemd driver
        (
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podU_I_D.slice/\
          cri-containerd-ID.scope",
            Some(Containerd),
            Qos::Burstable,
        ),
        (
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podU_I_D.slice/\
          crio-ID.scope/container",
            Some(CriO),
            Qos::BestEffort,
        ),
        ("/kubepods.slice/kubepods-podU_I_D.slice/docker-ID.scope", Some(Docker), Qos::Guaranteed),
        (
            "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-podU_I_D.slice/\
          cri-containerd-ID.scope",
            Some(Containerd),
            Qos::Guaranteed,
        ),
        (
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podU_I_D.slice/\
          cri-containerd-ID",
            Some(Containerd),
            Qos::Burstable,
        ),
        // cgroupfs driver
        ("/kubepods/burstable/podUID/ID", None, Qos::Burstable),
        ("/kubepods/besteffort/podUID/ID/kube-proxy", None, Qos::BestEffort),
        ("/kubepods/podUID/crio-ID", Some(CriO), Qos::Guaranteed),
        // kubelet and runtime with different drivers
        (
            "/system.slice/containerd.service/kubepods-burstable-podU_I_D.slice:cri-containerd:ID",
            Some(Containerd),
            Qos::Burstable,
        ),
        (
            "/kubepods-besteffort-podU_I_D.slice:cri-containerd:ID",
            Some(Containerd),
            Qos::BestEffort,
        ),
    ] {
        let service = read(path);
        let container = service.container.expect(path);
        assert_eq!((container.id.as_str(), container.runtime), (ID, runtime), "{path}");
        let pod = service.pod.expect(path);
        assert_eq!((pod.uid.as_str(), pod.qos), (UID, qos), "{path}");
        assert!(!container.claimed && !pod.claimed, "{path}");
    }
}

#[test]
fn a_pod_without_a_container_is_its_slice() {
    let service = read("/kubepods.slice/kubepods-podU_I_D.slice");
    assert_eq!(service.pod.expect("a pod").uid, UID);
    assert_eq!(service.unit, Some(format!("kubepods-pod{}.slice", UID.replace('-', "_"))));
}

#[test]
fn containers_with_names() {
    for (path, name, runtime) in [
        ("/lxc.payload.web/system.slice/nginx.service", "web", Runtime::Lxc),
        ("/lxc/101/ns/system.slice/nginx.service", "101", Runtime::Lxc),
        ("/machine.slice/machine-my\\x2dweb.scope/payload/system.slice", "my-web", Runtime::Nspawn),
        ("/machine.slice/systemd-nspawn@web.service/payload", "web", Runtime::Nspawn),
    ] {
        let service = read(path);
        let container = service.container.as_ref().expect(path);
        assert_eq!((container.id.as_str(), container.runtime), (name, Some(runtime)), "{path}");
        assert_eq!(service.label().as_deref(), Some(name), "{path}");
    }
}

#[test]
fn of_containers_in_containers_the_innermost_counts() {
    for path in [
        "/docker/ID/docker/INNER",
        "/system.slice/docker-ID.scope/docker/INNER",
        "/docker/ID/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-podU_I_D.slice/\
         cri-containerd-INNER.scope",
        "/docker/ID/a/machine.slice/machine-x.scope/docker/INNER",
    ] {
        let service = read(path);
        let (inner, outer) = (service.container.as_ref(), service.outer_container.as_ref());
        let (inner, outer) = (inner.expect(path), outer.expect(path));
        assert_eq!((inner.id.as_str(), inner.claimed), (INNER, true), "{path}");
        assert_eq!((outer.id.as_str(), outer.claimed), (ID, false), "{path}");
        assert!(service.pod.as_ref().is_none_or(|pod| pod.claimed), "{path}");
        assert_eq!(service.label().as_deref(), Some(&ID[..12]), "{path}");
    }
}

#[test]
fn a_pod_is_not_hidden_by_one_that_is_claimed_in_it() {
    let other = "00000000000000000000000000000000";
    let service = read(&format!("/kubepods/podUID/ID/kubepods/pod{other}/INNER"));
    let pod = service.pod.expect("a pod");
    assert_eq!((pod.uid.as_str(), pod.claimed), (UID, false));
}

#[test]
fn what_users_and_services_name_is_claimed() {
    for (path, unit) in [
        (
            "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope/container",
            "user@1000.service",
        ),
        (
            "/user.slice/user-1000.slice/user@1000.service/kubepods/burstable/podUID/ID",
            "user@1000.service",
        ),
        ("/user.slice/user-1000.slice/user@1000.service/lxc.payload.web", "user@1000.service"),
        ("/system.slice/web.service/libpod-payload-ID", "web.service"),
        ("/system.slice/evil.service/docker.service/docker/ID", "evil.service"),
    ] {
        let service = read(path);
        let container = service.container.as_ref().expect(path);
        assert!(container.claimed, "{path}");
        assert!(service.pod.as_ref().is_none_or(|pod| pod.claimed), "{path}");
        assert_eq!(service.label().as_deref(), Some(unit), "{path}");
    }
}

#[test]
fn a_long_path_is_read_whole_and_kept_in_part() {
    let path = format!("/{}/docker/{ID}", "a".repeat(4_000));
    let service = Service::from_cgroup_path(&path);
    assert_eq!(service.container.expect("a container").id, ID);
    assert_eq!(service.cgroup.map(|kept| kept.len()), Some(PATH_LIMIT));
}

/// Components with a meaning, whole and in parts, and meaningless ones.
fn component() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("system.slice".to_owned()),
        Just("user.slice".to_owned()),
        Just("user-1000.slice".to_owned()),
        Just("user@1000.service".to_owned()),
        Just("kubepods".to_owned()),
        Just("burstable".to_owned()),
        Just("docker".to_owned()),
        Just("lxc".to_owned()),
        Just("..".to_owned()),
        Just(ID.to_owned()),
        Just(format!("docker-{ID}.scope")),
        Just(format!("pod{UID}")),
        Just(format!("kubepods-pod{}.slice:cri-containerd:{ID}", UID.replace('-', "_"))),
        "(machine|systemd-nspawn@|lxc.payload.|docker|kubepods-pod)[-a-f0-9\\\\x:@._]{0,40}\
         (.scope|.service|.slice)?",
        "\\PC{0,30}",
        ".{0,300}",
    ]
}

proptest! {
    #[test]
    fn whatever_a_path_says_it_is_harmless(parts in prop::collection::vec(component(), 0..12)) {
        let service = Service::from_cgroup_path(&format!("/{}", parts.join("/")));
        assert_harmless(&service);
    }

    #[test]
    fn below_a_users_manager_nothing_changes_the_label_but_units(
        parts in prop::collection::vec(component(), 0..8)
    ) {
        let root = "/user.slice/user-1000.slice/user@1000.service";
        let service = Service::from_cgroup_path(&format!("{root}/{}", parts.join("/")));
        assert_claimed(&service);
    }
}
