//! Real shapes of paths, and what each says. `{64}` stands for a container id, `{uid}` for a pod's uid and `{_uid}`
//! for the same with underscores.

use proptest::prelude::*;

use super::*;

const ID: &str = "4fa6e0f0c6786287e131c3852c58a2e01cc697a68231826813597e4994f1d6e2";
const POD: &str = "95cb0a5b-9bc6-4b4c-9a36-1d7e0c2a2c62";

fn place(path: &str) -> Place {
    let path = path.replace("{64}", ID).replace("{uid}", POD).replace("{_uid}", &POD.replace('-', "_"));
    Place::parse(path.as_bytes())
}

/// In words: what a path says, one word a fact.
fn words(path: &str) -> String {
    let Place { container, pod, unit, session, user_manager, claimed_unit, claimed_container } = place(path);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(ID, "{64}");
    let mut words = Vec::new();
    words.extend(container.map(|name| format!("container={}:{}", name.engine, text(&name.id))));
    words.extend(pod.map(|pod| format!("pod={}", pod.replace(POD, "{uid}"))));
    words.extend(unit.map(|unit| format!("unit={}", text(&unit))));
    words.extend(session.map(|session| format!("session={}:{}", session.uid, text(&session.id))));
    words.extend(user_manager.map(|uid| format!("user={uid}")));
    words.extend(claimed_unit.map(|unit| format!("claims-unit={}", text(&unit))));
    words
        .extend(claimed_container.map(|name| format!("claims-container={}:{}", name.engine, text(&name.id))));
    words.join(" ")
}

/// The shapes that systemd, engines and kubelets give paths.
const SHAPES: &[(&str, &str)] = &[
    // systemd
    ("/", ""),
    ("/init.scope", "unit=init.scope"),
    ("/system.slice/nginx.service", "unit=nginx.service"),
    ("/system.slice/system-getty.slice/getty@tty1.service", "unit=getty@tty1.service"),
    ("/a.slice/a-b.slice/a-b-c.slice/deep.service", "unit=deep.service"),
    ("/system.slice/dev-hugepages.mount", "unit=dev-hugepages.mount"),
    ("/system.slice/ssh.socket", "unit=ssh.socket"),
    (
        r"/system.slice/system-systemd\x2dfsck.slice/systemd-fsck@dev-sda1.service",
        "unit=systemd-fsck@dev-sda1.service",
    ),
    (r"/system.slice/foo\x2dbar.service", r"unit=foo\x2dbar.service"),
    ("/system.slice/_cpu.service", "unit=cpu.service"),
    ("/system.slice/run-r3f1c2a5b.scope", "unit=run-r3f1c2a5b.scope"),
    ("/system.slice/systemd-udevd.service/udev", "unit=systemd-udevd.service"),
    ("/user.slice/user-1000.slice/session-3.scope", "session=1000:3"),
    ("/user.slice/user-0.slice/session-c1.scope", "session=0:c1"),
    ("/user.slice/user-1000.slice/user-runtime-dir@1000.service", "unit=user-runtime-dir@1000.service"),
    ("/user.slice/user-1000.slice", ""),
    // a user's own manager
    ("/user.slice/user-1000.slice/user@1000.service/init.scope", "user=1000 claims-unit=init.scope"),
    (
        "/user.slice/user-1000.slice/user@1000.service/app.slice/syncthing.service",
        "user=1000 claims-unit=syncthing.service",
    ),
    (
        "/user.slice/user-1000.slice/user@1000.service/app.slice/app-org.gnome.Terminal.slice/vte-spawn-1a.scope",
        "user=1000 claims-unit=vte-spawn-1a.scope",
    ),
    ("/user.slice/user-1000.slice/user@1000.service", "user=1000"),
    // not user managers
    ("/user.slice/user-1000.slice/user@1001.service/x.service", "unit=user@1001.service"),
    ("/system.slice/user@1000.service/x.service", "unit=user@1000.service"),
    ("/user.slice/user-1000.slice/user@+1000.service", "unit=user@+1000.service"),
    ("/session-3.scope", "unit=session-3.scope"),
    // docker
    ("/system.slice/docker-{64}.scope", "container=docker:{64}"),
    ("/docker/{64}", "container=docker:{64}"),
    ("/custom.slice/docker-{64}.scope", "container=docker:{64}"),
    ("/actions_job/{64}", "container=docker:{64}"),
    ("/system.slice:docker:{64}", "container=docker:{64}"),
    ("/system.slice/docker.service", "unit=docker.service"),
    ("/system.slice/docker.service/docker/{64}", "container=docker:{64}"),
    ("/system.slice/docker.service/init", "unit=docker.service"),
    ("/ecs/55091c13-b8cf-4801-b527-f4601742204d/{64}", "container=oci:{64}"),
    // podman
    ("/machine.slice/libpod-{64}.scope", "container=podman:{64}"),
    ("/machine.slice/libpod-{64}.scope/container", "container=podman:{64}"),
    ("/machine.slice/libpod-conmon-{64}.scope", ""),
    ("/libpod_parent/libpod-{64}", "container=podman:{64}"),
    ("/libpod_parent/conmon", ""),
    (
        "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{64}.scope/container",
        "user=1000 claims-container=podman:{64}",
    ),
    // Kubernetes
    ("/kubepods/burstable/pod{uid}/{64}", "container=oci:{64} pod={uid}"),
    ("/kubepods/pod{uid}/{64}", "container=oci:{64} pod={uid}"),
    (
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{_uid}.slice/cri-containerd-{64}.scope",
        "container=containerd:{64} pod={uid}",
    ),
    ("/kubepods.slice/kubepods-pod{_uid}.slice/crio-{64}.scope", "container=crio:{64} pod={uid}"),
    ("/kubepods.slice/kubepods-pod{_uid}.slice/crio-conmon-{64}.scope", "pod={uid}"),
    ("/kubepods.slice/kubepods-pod{_uid}.slice/docker-{64}.scope", "container=docker:{64} pod={uid}"),
    (
        "/kubepods/besteffort/pod0c4a8b1d2e3f405162738495a6b7c8d9/{64}",
        "container=oci:{64} pod=0c4a8b1d2e3f405162738495a6b7c8d9",
    ),
    (
        "/system.slice/containerd.service/kubepods-burstable-pod{_uid}.slice:cri-containerd:{64}",
        "container=containerd:{64} pod={uid}",
    ),
    ("/system.slice/k3s.service/kubepods/pod{uid}/{64}", "container=oci:{64} pod={uid}"),
    ("/k8s.io/{64}", "container=containerd:{64}"),
    ("/default/{64}", "container=containerd:{64}"),
    (
        "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{_uid}.slice/cri-containerd-{64}.scope",
        "container=containerd:{64} pod={uid}",
    ),
    // nspawn, machined, LXC
    ("/machine.slice/systemd-nspawn@deb.service/payload", "container=nspawn:deb"),
    ("/machine.slice/systemd-nspawn@deb.service/payload/system.slice/nginx.service", "container=nspawn:deb"),
    (r"/machine.slice/systemd-nspawn@a\x2db.service/payload/init.scope", "container=nspawn:a-b"),
    ("/machine.slice/systemd-nspawn@deb.service/supervisor", "unit=systemd-nspawn@deb.service"),
    (r"/machine.slice/machine-my\x2dbox.scope", "container=machine:my-box"),
    ("/lxc.payload.web", "container=lxc:web"),
    ("/lxc.payload.web/init.scope", "container=lxc:web"),
    ("/lxc.monitor.web", ""),
    ("/lxc.payload/web/init.scope", "container=lxc:web"),
    ("/lxc.monitor/web", ""),
    ("/lxc.payload", ""),
    ("/lxc/101/ns/system.slice/cron.service", "container=lxc:101"),
    // nested: what runs in a container names the rest
    ("/system.slice/docker-{64}.scope/docker/{64}", "container=docker:{64} claims-container=docker:{64}"),
    ("/lxc.payload.web/kubepods/pod{uid}/{64}", "container=lxc:web claims-container=oci:{64}"),
    ("/docker/{64}/system.slice/nginx.service", "container=docker:{64}"),
];

#[test]
fn each_shape_says_what_is_written_beside_it() {
    for (path, expected) in SHAPES {
        assert_eq!(words(path), *expected, "{path}");
    }
}

/// What users name is a claim.
const FORGED: &[(&str, &str)] = &[
    (
        "/user.slice/user-1000.slice/user@1000.service/docker-{64}.scope",
        "user=1000 claims-container=docker:{64}",
    ),
    (
        "/user.slice/user-1000.slice/user@1000.service/system.slice/nginx.service",
        "user=1000 claims-unit=nginx.service",
    ),
    (
        "/user.slice/user-1000.slice/user@1000.service/kubepods/pod{uid}/{64}",
        "user=1000 claims-container=oci:{64}",
    ),
    ("/system.slice/app.service/docker-{64}.scope", "unit=app.service claims-container=docker:{64}"),
    ("/system.slice/app.service/nginx.service", "unit=app.service"),
    ("/system.slice/app.service/user-0.slice/session-1.scope", "unit=app.service"),
    ("/system.slice/app.service/containerd.service/{64}", "unit=app.service claims-container=oci:{64}"),
    (
        "/user.slice/user-1000.slice/session-3.scope/docker/{64}",
        "session=1000:3 claims-container=docker:{64}",
    ),
    ("/system.slice/containerd.service/nginx.service", "unit=containerd.service"),
    // not ids
    ("/docker/4FA6E0F0C6786287E131C3852C58A2E01CC697A68231826813597E4994F1D6E2", ""),
    ("/system.slice/docker-4fa6.scope", "unit=docker-4fa6.scope"),
    ("/docker/buildkit", ""),
    // not from the root
    ("docker/{64}", ""),
    ("/../docker/{64}", ""),
    ("", ""),
];

#[test]
fn what_users_name_is_a_claim() {
    for (path, expected) in FORGED {
        assert_eq!(words(path), *expected, "{path}");
    }
}

fn any_path() -> impl Strategy<Value = Vec<u8>> {
    let shape =
        proptest::sample::select(SHAPES.iter().chain(FORGED).map(|(path, _)| *path).collect::<Vec<_>>());
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..512),
        (shape, any::<prop::sample::Index>(), any::<u8>()).prop_map(|(shape, at, byte)| {
            let mut path = shape.replace("{64}", ID).replace("{uid}", POD).into_bytes();
            if !path.is_empty() {
                let at = at.index(path.len());
                path[at] = byte;
            }
            path
        }),
        "(/[a-z@.:0-9_-]{0,12}(.service|.scope|.slice)?){0,100}".prop_map(String::into_bytes),
    ]
}

proptest! {
    #[test]
    fn any_bytes_are_a_path(path in any_path()) {
        let place = Place::parse(&path);
        // A place has one namer: what is in a container is no unit or session of the host.
        prop_assert!(place.container.is_none() || place.unit.is_none());
        prop_assert!(place.session.is_none() || (place.container.is_none() && place.unit.is_none()));
    }

    #[test]
    fn nothing_below_a_users_manager_is_known(tail in any_path()) {
        let mut path = b"/user.slice/user-1000.slice/user@1000.service/".to_vec();
        path.extend_from_slice(&tail);
        let place = Place::parse(&path);
        prop_assert_eq!((place.container, place.unit, place.session, place.pod), (None, None, None, None));
    }

    #[test]
    fn nothing_in_a_container_changes_which_it_is(tail in any_path()) {
        let mut path = format!("/docker/{ID}/").into_bytes();
        path.extend_from_slice(&tail);
        let place = Place::parse(&path);
        let nonsense = tail.split(|byte| *byte == b'/').any(|component| component == b".." || component.len() > 255);
        prop_assume!(!nonsense);
        let claimed_container = place.claimed_container.clone();
        let container = Some(ContainerName { engine: "docker", id: ID.as_bytes().into() });
        prop_assert_eq!(place, Place { container, claimed_container, ..Place::default() });
    }
}
