//! Tests of names, with files as written by the runtimes and the kubelet.

use std::{fs, path::Path};

use tempfile::TempDir;

use super::*;

const ID: &str = "cf87ba651579c9231db817909e7865e5747bd7abcac0c57ce23cf4abbaee046b";
const OTHER: &str = "ec08435e04266c5ba381fccbb829f626d11d8ddf5f8f547263c7a2d79ab4787a";
const UID: &str = "8712f785-1a3e-41ec-a00b-e2dcc77431cb";

fn host(files: &[(&str, &str)]) -> TempDir {
    let root = tempfile::tempdir().expect("a directory");
    for (path, text) in files {
        write(root.path(), path, text);
    }
    root
}

/// Writes a file; `ID` and `UID` stand for the values above.
fn write(root: &Path, path: &str, text: &str) {
    let whole = |text: &str| text.replace("UID", UID).replace("ID", ID);
    let path = root.join(whole(path));
    fs::create_dir_all(path.parent().expect("a parent")).expect("created");
    fs::write(path, whole(text)).expect("written");
}

fn named(root: &TempDir, path: &str) -> Service {
    let path = path.replace("OTHER", OTHER).replace("UID", UID).replace("ID", ID);
    let mut service = Service::from_cgroup_path(&path);
    NameFiles::new(HostFiles::at(root.path().into())).add_to(&mut service);
    service
}

fn label(root: &TempDir, path: &str) -> String {
    named(root, path).label().expect("a label").into_owned()
}

const DOCKER: (&str, &str) = (
    "var/lib/docker/containers/ID/config.v2.json",
    r#"{"StreamConfig":{},"State":{"Running":true},"ID":"ID","Config":{"Hostname":"cf87ba651579"},
        "Name":"/shop-cart-1","HostConfig":{"Binds":null},"RestartCount":0}"#,
);

#[test]
fn docker() {
    let root = host(&[DOCKER]);
    assert_eq!(label(&root, "/system.slice/docker-ID.scope"), "shop-cart-1");
    assert_eq!(label(&root, "/docker/ID"), "shop-cart-1");
    assert_eq!(label(&root, "/docker/OTHER"), &OTHER[..12]);
}

#[test]
fn docker_elsewhere() {
    let root = host(&[
        ("etc/docker/daemon.json", r#"{"data-root":"/data/docker","iptables":false}"#),
        ("data/docker/containers/ID/config.v2.json", r#"{"Name":"/web"}"#),
    ]);
    assert_eq!(label(&root, "/docker/ID"), "web");
}

#[test]
fn docker_in_kubernetes() {
    let name = r#"{"Name":"/k8s_app_cart-0_shop_UID_0"}"#;
    let root = host(&[("var/lib/docker/containers/ID/config.v2.json", name)]);
    // With this driver, the path does not reveal the runtime.
    let service = named(&root, "/kubepods/burstable/podUID/ID");
    assert_eq!(service.label().as_deref(), Some("shop/cart-0/app"));
    assert_eq!(service.container.expect("one").runtime, Some(Runtime::Docker));
}

#[test]
fn podman() {
    let listed = format!(
        r#"[{{"id":"{OTHER}","names":["other"],"image":"x"}},
            {{"id":"ID","names":["db"],"metadata":"{{\"image-name\":\"x\"}}","flags":{{}}}}]"#
    );
    for list in [
        "var/lib/containers/storage/overlay-containers/containers.json",
        "var/lib/containers/storage/overlay-containers/volatile-containers.json",
        "run/containers/storage/overlay-containers/volatile-containers.json",
    ] {
        let root = host(&[(list, &listed)]);
        assert_eq!(label(&root, "/machine.slice/libpod-ID.scope/container"), "db", "{list}");
    }
}

#[test]
fn containerd() {
    let config = r#"{"ociVersion":"1.1.0","process":{"args":["sleep"]},"annotations":{
        "io.kubernetes.cri.container-name":"app","io.kubernetes.cri.container-type":"container",
        "io.kubernetes.cri.sandbox-name":"cart-0","io.kubernetes.cri.sandbox-namespace":"shop",
        "io.kubernetes.cri.sandbox-uid":"UID"}}"#;
    for run in ["run/containerd", "run/k3s/containerd"] {
        let path = format!("{run}/io.containerd.runtime.v2.task/k8s.io/ID/config.json");
        let root = host(&[(&path, config)]);
        for path in [
            "/kubepods.slice/kubepods-podUID.slice/cri-containerd-ID.scope",
            "/kubepods/podUID/ID",
            "/system.slice/containerd.service/kubepods-podUID.slice:cri-containerd:ID",
        ] {
            assert_eq!(label(&root, path), "shop/cart-0/app", "{path}");
        }
    }
}

#[test]
fn crio() {
    let root = host(&[(
        "run/containers/storage/overlay-containers/ID/userdata/config.json",
        r#"{"annotations":{"io.kubernetes.cri-o.ContainerName":"k8s_app_cart-0_shop_UID_0",
            "io.kubernetes.container.name":"app","io.kubernetes.pod.name":"cart-0",
            "io.kubernetes.pod.namespace":"shop"}}"#,
    )]);
    let path = "/kubepods.slice/kubepods-podUID.slice/crio-ID.scope/container";
    assert_eq!(label(&root, path), "shop/cart-0/app");
}

#[test]
fn logs_where_the_runtime_says_nothing() {
    let root = host(&[("var/log/containers/cart-0_shop_app-ID.log", "")]);
    assert_eq!(label(&root, "/kubepods/burstable/podUID/ID"), "shop/cart-0/app");
    let root = host(&[("var/log/pods/shop_cart-0_UID/app/0.log", "")]);
    assert_eq!(label(&root, "/kubepods/burstable/podUID/ID"), "shop/cart-0");
    assert_eq!(label(&root, "/kubepods/burstable/podUID"), "shop/cart-0");
}

#[test]
fn what_is_claimed_gets_no_name() {
    let root = host(&[DOCKER, ("var/log/pods/shop_cart-0_UID/app/0.log", "")]);
    let user = "/user.slice/user-1000.slice/user@1000.service";
    for path in ["docker-ID.scope", "docker/ID", "kubepods/podUID/ID"] {
        let service = named(&root, &format!("{user}/{path}"));
        assert_eq!(service.container.as_ref().expect("one").name, None, "{path}");
        assert!(service.pod.as_ref().is_none_or(|pod| pod.name.is_none()), "{path}");
        assert_eq!(service.label().as_deref(), Some("user@1000.service"), "{path}");
    }
    // The outer container is the host's own.
    let service = named(&root, "/docker/ID/docker/OTHER");
    assert_eq!(service.container.as_ref().expect("the inner one").name, None);
    assert_eq!(service.label().as_deref(), Some("shop-cart-1"));
}

#[test]
fn names_that_are_more_than_names_are_left_out() {
    for text in [
        r#"{"Name":"/a\u001b[2Jb"}"#,
        r#"{"Name":"/../../etc"}"#,
        r#"{"Name":""}"#,
        r#"{"Name":7}"#,
        r#"{"Name""#,
        "",
    ] {
        let root = host(&[(DOCKER.0, text)]);
        assert_eq!(label(&root, "/docker/ID"), &ID[..12], "{text}");
    }
}
