use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::Path;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::model::container::{ComposeService, Pod};

const COMPOSED: &str = "6044d5ac276260b825e1815585ff8db3987a7b6cbd7c79a0433c99964459c204";
const LABELLED: &str = "9d6c50d437ad6728a766ede1db63f43269217269a0966351eb990a858159a2a4";
const IN_PODMAN: &str = "7e4c364e930aed6455f0419258aed562b58e16d676b4aacb89dfbe5f338f1692";
const IN_POD: &str = "b1f06ea545e81d89dc503414d20a33f1b3f3eca71e3a4344fd16ddc202cc8129";
const BOX: &str = "c22dad9b666cba0a5d3b706f034803455ae4665d6018d9365a3acae319a230eb";
const IMAGE_OF_LABELLED: &str = "5a3c8c3e545e789741f90b9c2eda349c8b71687db04caa4b0b0a2bd7bdc73ebc";
const LIST: &str = "var/lib/containers/storage/overlay-containers/containers.json";

fn fixture(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/containers").join(name)).unwrap()
}

/// A host with these files.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        files.mode("", 0o755);
        files
    }

    /// All of the engines' own.
    fn of_engines() -> Self {
        let files = Self::new();
        let imagedb = "var/lib/docker/image/vfs/imagedb/content/sha256";
        for (path, name) in [
            (docker_file(COMPOSED), "docker-compose.json"),
            (docker_file(LABELLED), "docker-labelled.json"),
            (format!("{imagedb}/{BOX}"), "docker-image-box.json"),
            (format!("{imagedb}/{IMAGE_OF_LABELLED}"), "docker-image-labelled.json"),
            (LIST.to_owned(), "podman.json"),
            (containerd_file(IN_POD), "containerd.json"),
        ] {
            files.write(&path, &fixture(name));
        }
        files
    }

    fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        let below = path.strip_prefix(self.0.path()).unwrap().to_owned();
        for directory in below.ancestors().skip(1) {
            self.mode(directory.to_str().unwrap(), 0o755);
        }
        self.mode(below.to_str().unwrap(), 0o600);
    }

    fn mode(&self, path: &str, mode: u32) {
        fs::set_permissions(self.0.path().join(path), Permissions::from_mode(mode)).unwrap();
    }

    fn look(&self, id: &str) -> Answer {
        look(&HostRoot::at(self.0.path()).unwrap(), id)
    }

    fn facts(&self, id: &str) -> Arc<EngineFacts> {
        match self.look(id) {
            Answer::Found(facts) => facts,
            other => panic!("{other:?}"),
        }
    }
}

fn docker_file(id: &str) -> String {
    format!("var/lib/docker/containers/{id}/config.v2.json")
}

fn containerd_file(id: &str) -> String {
    format!("run/containerd/io.containerd.runtime.v2.task/k8s.io/{id}/config.json")
}

/// What is not root's is not used: who is not root makes no such file.
fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn image(facts: &EngineFacts) -> String {
    facts.image.as_ref().map(ToString::to_string).unwrap_or_default()
}

#[test]
fn each_engine_tells_of_its_containers() {
    let files = Files::of_engines();
    if !is_root() {
        assert_eq!(files.look(COMPOSED), Answer::Refused);
        return;
    }
    let composed = files.facts(COMPOSED);
    let service = ComposeService { project: "shop".into(), service: "db".into() };
    assert_eq!((&*composed.engine, composed.name.as_deref()), ("docker", Some("d1")));
    assert_eq!(image(&composed), "docker.io/team/box:1.2");
    assert_eq!(composed.image_id.as_deref(), Some(&*format!("sha256:{BOX}")));
    assert_eq!(composed.compose, Some(service));
    assert_eq!(*composed.source, format!("/{}", docker_file(COMPOSED)));

    let in_podman = files.facts(IN_PODMAN);
    assert_eq!((&*in_podman.engine, in_podman.name.as_deref()), ("podman", Some("t1")));
    assert_eq!(image(&in_podman), "registry.example/team/box:1.2");
    let id = "sha256:03779c70bd385480b8fa390546ba8da3165855427640abd25e11e9bf974d3c42";
    assert_eq!(in_podman.image_id.as_deref(), Some(id));

    let in_pod = files.facts(IN_POD);
    assert_eq!((&*in_pod.engine, in_pod.name.as_deref()), ("containerd", Some("operator")));
    assert_eq!(image(&in_pod), "registry.example/team/box:1.2");
    let pod = Pod {
        name: "operator-65747dc769-pjztg".into(),
        namespace: "shop".into(),
        uid: "4cad64d0-7a36-452a-8a08-bd3a694cdad5".into(),
    };
    assert_eq!(in_pod.pod, Some(pod));

    assert_eq!(files.look(BOX), Answer::NotFound);
    assert_eq!(files.look("../../etc"), Answer::NotFound);
}

#[test]
fn cri_o_is_believed_in_what_it_sets_itself() {
    let facts = cri::crio(&fixture("crio.json")).unwrap();
    assert_eq!((&*facts.engine, facts.name.as_deref()), ("crio", Some("redis")));
    assert_eq!(image(&facts), "quay.io/team/redis:alpine");
    let pod = Pod {
        name: "cache-0".into(),
        namespace: "shop".into(),
        uid: "7b1e0a52-3a0c-4f52-9d53-0a1f6f0a7c11".into(),
    };
    assert_eq!(facts.pod, Some(pod.clone()));
    let sandbox = cri::crio(&fixture("crio-sandbox.json")).unwrap();
    assert_eq!((sandbox.name, sandbox.image, sandbox.pod), (None, None, Some(pod)));
    assert!(cri::crio(&fixture("containerd.json")).is_none());
    assert!(cri::containerd(&fixture("crio.json")).is_none());
}

/// Labels of an image are its maker's: they make no container another's service.
#[test]
fn an_image_names_no_service() {
    let labelled = docker::read(&fixture("docker-labelled.json")).unwrap();
    let of_image = docker::image_labels(&fixture("docker-image-labelled.json")).unwrap();
    assert_eq!(labelled.facts(Some(&of_image)).compose, None);
    assert_eq!(image(&labelled.facts(Some(&of_image))), "localhost:5000/team/labelled:7");

    let composed = docker::read(&fixture("docker-compose.json")).unwrap();
    let plain = docker::image_labels(&fixture("docker-image-box.json")).unwrap();
    assert!(composed.facts(Some(&plain)).compose.is_some());
    assert_eq!(composed.facts(None).compose, None, "not without a look at the image");
    let forged = [("com.docker.compose.config-hash".to_owned(), "0123".to_owned())].into();
    assert_eq!(composed.facts(Some(&forged)).compose, None);
}

#[test]
fn an_images_id_is_no_name() {
    let run_by = |name: &str| {
        let text =
            format!(r#"{{"Name":"/x","Image":"sha256:{BOX}","Config":{{"Image":"{name}","Labels":null}}}}"#);
        image(&docker::read(text.as_bytes()).unwrap().facts(None))
    };
    assert_eq!(run_by(BOX), "");
    assert_eq!(run_by(&format!("sha256:{BOX}")), "");
    assert_eq!(run_by(&BOX[..12]), "");
    assert_eq!(run_by("cafe"), "docker.io/library/cafe");
    assert_eq!(run_by("redis@sha256:x"), "");
}

#[test]
fn podman_says_which_registry_or_nothing() {
    let run = |name: &str, pod: &str| {
        let metadata = format!(r#"{{\"image-name\":\"{name}\",\"name\":\"n\",\"pod-id\":\"{pod}\"}}"#);
        let text = format!(r#"[{{"id":"{BOX}","image":"x","metadata":"{metadata}"}}]"#);
        podman::find(text.as_bytes(), BOX).unwrap()
    };
    assert_eq!(image(&run("localhost/redis:7", "").unwrap()), "localhost/redis:7");
    assert_eq!(run("redis", "").unwrap().image, None);
    assert!(run("quay.io/x/y", "1f04").is_none(), "a pod of CRI-O's");
    assert!(podman::find(b"{}", BOX).is_err());
}

#[test]
fn what_others_could_have_written_is_refused() {
    if !is_root() {
        return;
    }
    let files = Files::of_engines();
    let docker = docker_file(COMPOSED);
    let inside = |path: &str| files.0.path().join(path);
    for path in [&*docker, "var/lib/docker/containers", "var/lib"] {
        let is_file = path.ends_with(".json");
        for bits in [0o002, 0o020] {
            files.mode(path, 0o755 | bits);
            assert_eq!(files.look(COMPOSED), Answer::Refused, "{path} {bits:o}");
        }
        files.mode(path, if is_file { 0o600 } else { 0o755 });
        chown(inside(path), Some(1000), None).unwrap();
        assert_eq!(files.look(COMPOSED), Answer::Refused, "{path}");
        chown(inside(path), Some(0), None).unwrap();
    }
    assert!(matches!(files.look(COMPOSED), Answer::Found(_)));

    // An administrator's link is followed, within the host; a user's is not.
    fs::rename(inside("var/lib/docker"), inside("srv")).unwrap();
    symlink("/srv", inside("var/lib/docker")).unwrap();
    assert!(matches!(files.look(COMPOSED), Answer::Found(_)));
    rustix::fs::chownat(
        rustix::fs::CWD,
        inside("var/lib/docker"),
        Some(rustix::fs::Uid::from_raw(1000)),
        None,
        rustix::fs::AtFlags::SYMLINK_NOFOLLOW,
    )
    .unwrap();
    assert_eq!(files.look(COMPOSED), Answer::Refused);
}

#[test]
fn what_is_no_file_or_too_large_says_nothing_and_blocks_nobody() {
    if !is_root() {
        return;
    }
    let files = Files::new();
    let path = docker_file(COMPOSED);
    files.write(&path, b"{");
    assert_eq!(files.look(COMPOSED), Answer::Unreadable);
    files.write(&path, &vec![b' '; CONTAINER_BYTES as usize + 1]);
    assert_eq!(files.look(COMPOSED), Answer::TooLarge);
    let at = files.0.path().join(&path);
    fs::remove_file(&at).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &at, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
    assert_eq!(files.look(COMPOSED), Answer::Refused);
    fs::remove_file(&at).unwrap();
    assert_eq!(files.look(COMPOSED), Answer::NotFound);
    // Nested deeper than a parser's stack would bear.
    files.write(&path, "[".repeat(1 << 20).as_bytes());
    assert_eq!(files.look(COMPOSED), Answer::Unreadable);
}

#[test]
fn engines_are_found_by_what_they_keep() {
    let found = |files: &Files| engines(&HostRoot::at(files.0.path()).unwrap());
    assert_eq!(found(&Files::new()), []);
    if !is_root() {
        return;
    }
    let files = Files::of_engines();
    let names: Vec<_> = found(&files).into_iter().map(|one| (one.engine, one.problem)).collect();
    assert_eq!(names, [("docker", None), ("podman", None), ("containerd", None)]);
    files.mode("var/lib/docker/containers", 0o777);
    files.mode(LIST, 0o666);
    let problems: Vec<_> = found(&files).into_iter().map(|one| (one.engine, one.problem.is_some())).collect();
    assert_eq!(problems, [("docker", true), ("podman", true), ("containerd", false)]);
}

#[tokio::test]
async fn the_thread_answers() {
    let files = Files::of_engines();
    let host = Arc::new(HostRoot::at(files.0.path()).unwrap());
    let mut lookup = start(host).unwrap();
    assert!(lookup.ask(BOX.into()));
    assert_eq!(lookup.found().await, ContainerFound { id: BOX.into(), answer: Answer::NotFound });
}

proptest! {
    #[test]
    fn any_bytes_are_facts_or_nothing(text in ".{0,200}", at in 0_usize..4_000, byte in any::<u8>()) {
        for name in ["docker-compose.json", "podman.json", "containerd.json", "crio.json"] {
            let mut changed = fixture(name);
            let at = at % changed.len();
            changed[at] = byte;
            for bytes in [text.as_bytes(), &changed] {
                if let Some(kept) = docker::read(bytes) {
                    let _ = (kept.image_config(), kept.facts(Some(&Default::default())));
                }
                let _ = docker::image_labels(bytes);
                let _ = podman::find(bytes, IN_PODMAN);
                let _ = (cri::crio(bytes), cri::containerd(bytes));
            }
        }
    }
}
