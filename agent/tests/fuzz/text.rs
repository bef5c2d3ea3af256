//! Texts that processes and operators write: arguments, paths of cgroups, names, rules, users.

use agent::attribute::place::Place;
use agent::attribute::users::Users;
use agent::catalogue::agents::AgentCatalogue;
use agent::catalogue::file::Source;
use agent::host::containers::{cri, docker, podman};
use agent::model::bytes::RawBytes;
use agent::model::container::EngineFacts;
use agent::model::identity::Identity;
use agent::model::image::ImageReference;
use agent::model::process::ExecImage;
use agent::process::program::{Program, program_of};
use agent::process::redact::redact_argv;
use proptest::prelude::*;

use super::fuzz;

/// Arguments, each ended by a NUL as a process has them.
fn argument_lists() -> Vec<Vec<u8>> {
    [
        "curl\0-H\0Authorization: Bearer abc.def.ghi\0https://user:pass@example.com/?token=1\0",
        "mysql\0-psecret\0--host=db\0",
        "bash\0-c\0export AWS_SECRET_ACCESS_KEY=x; aws s3 ls\0",
        "docker\0login\0-u\0me\0--password\0'quoted \"twice\"'\0",
        "node\0--eval\0{\"password\":\"x\",\"name\":\"API_TOKEN\",\"value\":\"y\"}\0",
    ]
    .map(|list| list.as_bytes().to_vec())
    .to_vec()
}

#[test]
fn arguments_are_redacted() {
    fuzz(argument_lists(), |bytes| {
        let argv: Vec<RawBytes> = bytes.split(|byte| *byte == 0).map(RawBytes::from).collect();
        prop_assert_eq!(redact_argv(&argv).len(), argv.len());
        Ok(())
    });
}

/// Interpreter, its arguments and the working directory, apart by NUL bytes: what runs is told, and is an agent only where a
/// signature's directory is in it.
#[test]
fn programs_behind_interpreters_are_told() {
    let catalogue = AgentCatalogue::shipped().unwrap();
    let seeds = [
        &b"/usr/bin/node\0/home/a\0node\0--require\0x\0/usr/lib/node_modules/@openai/codex/bin/codex.js\0--yolo"[..],
        b"/usr/bin/python3.11\0/\0python3\0-Wignore\0-um\0aider\0--yes",
        b"/usr/bin/node\0/home/a/p\0node\0../node_modules/@google/gemini-cli/bundle/gemini.js\0--sandbox=danger-full-access",
        b"/usr/bin/bash\0/x\0bash\0-eo\0pipefail\0--\0../../x.sh",
        b"/usr/bin/deno\0/x\0deno\0run\0-c\0y\0mcp-server-x.ts",
        b"/home/a/.local/share/claude/versions/2.1.0\0/\0claude\0--permission-mode\0bypassPermissions",
    ];
    fuzz(seeds.map(<[u8]>::to_vec).to_vec(), |bytes| {
        let mut parts = bytes.split(|&byte| byte == 0).map(RawBytes::from);
        let (exe, cwd) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let image = ExecImage { exe, cwd, argv: parts.collect(), ..ExecImage::default() };
        let program = program_of(&image);
        if let Program::Script(path) = &program {
            prop_assert!(
                !path.as_bytes().split(|&byte| byte == b'/').any(|part| part == b".." || part == b".")
            );
        }
        if let Some(server) = catalogue.mcp_server(&image, &program) {
            prop_assert!(!server.is_empty() && server.len() <= 214);
        }
        if let Some(agent) = catalogue.agent(&image, &program) {
            let named = match &program {
                Program::Script(path) | Program::Known { script: path, .. } => path,
                Program::Module(name) => name,
                Program::Executable | Program::Inline => &image.exe,
            };
            let is_telling = |word: &str| named.to_string().contains(word);
            prop_assert!(
                ["node_modules/", "/versions/", "-packages/", "aider", "openhands"]
                    .into_iter()
                    .any(is_telling)
            );
            prop_assert!(agent.bypass(&image.argv).len() <= 64);
        }
        Ok(())
    });
}

#[test]
fn cgroups_are_placed() {
    let seeds = [
        "/user.slice/user-1000.slice/user@1000.service/app.slice/app-org.gnome.Terminal.slice/vte-1.scope",
        "/system.slice/docker-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef.scope",
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1b4e28ba_2fa1_11d2_883f_0016d3cca427.slice/\
         cri-containerd-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef.scope",
        "/machine.slice/libpod-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef.scope/container",
        "/system.slice/system-getty.slice/getty@tty1.service",
    ];
    fuzz(seeds.map(|path| path.as_bytes().to_vec()).to_vec(), |bytes| {
        let placed = format!("{:?}", Place::parse(bytes));
        prop_assert!(placed.len() < 64 * (bytes.len() + 64), "{} bytes of {}", placed.len(), bytes.len());
        Ok(())
    });
}

/// What is shown of bytes has nothing that a terminal obeys, and is read as one line.
#[test]
fn what_is_shown_is_obeyed_by_nobody() {
    let seeds = ["plain", "caf\u{e9} \u{202e}gnp.exe", "a\u{1b}[31mb\r\n\u{9b}c", "\u{2028}\u{feff}\\x1b"];
    let mut seeds = seeds.map(|text| text.as_bytes().to_vec()).to_vec();
    seeds.push(b"\xff\xc2\xe2\x80\xae\xf0\x9f".to_vec());
    fuzz(seeds, |bytes| {
        let shown = RawBytes::from(bytes).to_string();
        let obeyed =
            |c: char| c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}');
        prop_assert!(!shown.chars().any(obeyed), "{shown:?}");
        Ok(())
    });
}

#[test]
fn rules_are_read_or_refused_with_a_place() {
    let seed = "version = 1\n\n[[credential]]\nname = \"ssh\"\nkind = \"ssh\"\nsensitivity = 5\n\
        paths = [\"~/.ssh/id_*\", \"/etc/**/{a,b}.pem\"]\nexclude = [\"*.pub\"]\n";
    fuzz(vec![seed.as_bytes().to_vec()], |bytes| {
        let source =
            Source { file: "rules.toml".to_owned(), text: String::from_utf8_lossy(bytes).into_owned() };
        if let Err(error) = source.parse() {
            prop_assert!(error.to_string().contains("rules.toml"), "{error}");
        }
        Ok(())
    });
}

#[test]
fn users_are_read() {
    let seed =
        b"root:x:0:0:root:/root:/bin/bash\nalice:x:1000:1000::/home/alice:/bin/sh\n\xff:x:4294967295:0:::\n";
    fuzz(vec![seed.to_vec()], |bytes| {
        let users = Users::parse(bytes);
        prop_assert!(users.name(0).len() <= bytes.len().max("uid:0".len()));
        Ok(())
    });
}

const IN_PODMAN: &str = "7e4c364e930aed6455f0419258aed562b58e16d676b4aacb89dfbe5f338f1692";

/// Whatever an engine's file says, an image has one canonical name.
#[test]
fn files_of_engines_are_facts_or_nothing() {
    let names = ["docker-compose", "docker-labelled", "podman", "containerd", "crio", "crio-sandbox"];
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/containers");
    let seeds = names.map(|name| std::fs::read(directory.join(name).with_extension("json")).unwrap());
    fuzz(seeds.to_vec(), |bytes| {
        let kept = docker::read(bytes);
        let path = kept.as_ref().and_then(docker::Kept::image_config).unwrap_or_default();
        prop_assert!(!path.contains("..") && path.matches('/').count() <= 10, "{}", path);
        let all: [Option<EngineFacts>; 4] = [
            kept.map(|kept| kept.facts(docker::image_labels(bytes).as_ref())),
            podman::find(bytes, IN_PODMAN).ok().flatten(),
            cri::crio(bytes),
            cri::containerd(bytes),
        ];
        for facts in all.into_iter().flatten() {
            prop_assert!(facts.name.is_none_or(|name| name.len() <= 256));
            if let Some(image) = facts.image {
                let identity = Identity::Image { repository: image.repository };
                prop_assert_eq!(identity.to_string().parse::<Identity>(), Ok(identity));
            }
        }
        Ok(())
    });
}

#[test]
fn references_of_images_are_names_or_nothing() {
    let digest = "sha256:aaea69ca297bd4f81a9606f34d7805df4af71f1927dc6f1bef6b023f555c7910";
    let seeds = [
        "redis".to_owned(),
        "evil.example/redis:7".to_owned(),
        format!("localhost:5000/a__b/c-d.e:1.2@{digest}"),
        "[2001:db8::1]:5000/x/y".to_owned(),
        format!("docker.io/library/redis@{digest}"),
    ];
    fuzz(seeds.map(String::into_bytes).to_vec(), |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return Ok(()) };
        if let Some(reference) = ImageReference::parse(text) {
            prop_assert_eq!(ImageReference::parse_qualified(&reference.to_string()), Some(reference.clone()));
            let identity = Identity::Image { repository: reference.repository };
            prop_assert_eq!(identity.to_string().parse::<Identity>(), Ok(identity));
        }
        Ok(())
    });
}
