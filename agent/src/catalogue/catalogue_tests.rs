use std::sync::LazyLock;

use agent_common::limits::RULE_ANCESTORS;
use proptest::prelude::*;

use super::pattern::{Anchor, Component};
use super::*;

/// Compiling all patterns takes a while in a test build.
static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| Catalogue::shipped().unwrap());

fn source(file: &str, text: &str) -> Source {
    Source { file: file.into(), text: text.into() }
}

fn name(catalogue: &Catalogue, path: &str) -> Option<String> {
    catalogue.find(path.as_bytes()).map(|entry| entry.name.to_string())
}

fn admits(catalogue: &Catalogue, path: &[u8]) -> bool {
    let components: Vec<&[u8]> = path.split(|&byte| byte == b'/').filter(|part| !part.is_empty()).collect();
    catalogue.rules().admits(&components)
}

#[test]
fn what_ships_knows_credentials() {
    let catalogue = &*CATALOGUE;
    let cases = [
        ("/etc/shadow", "shadow"),
        ("/etc/gshadow-", "shadow"),
        ("/etc/sudoers.d/90-cloud", "sudoers"),
        ("/etc/ssh/ssh_host_ed25519_key", "ssh-host-key"),
        ("/root/.ssh/id_ed25519", "ssh-private-key"),
        ("/home/alice/.ssh/work.pem", "ssh-private-key"),
        ("/var/lib/docker/overlay2/x/merged/root/.aws/credentials", "aws-credentials"),
        ("/home/a/.aws/sso/cache/0a.json", "aws-session"),
        ("/home/a/.azure/msal_token_cache.bin", "azure-credentials"),
        ("/home/a/.config/gcloud/legacy_credentials/a@b.c/adc.json", "gcloud-credentials"),
        ("/home/a/.oci/sessions/DEFAULT/token", "oracle-cloud-credentials"),
        ("/home/a/.kube/config", "kubeconfig"),
        (
            "/run/secrets/kubernetes.io/serviceaccount/..2026_01_01_10_00_00.1/token",
            "kubernetes-service-account-token",
        ),
        ("/var/run/secrets/kubernetes.io/serviceaccount/token", "kubernetes-service-account-token"),
        ("/run/secrets/eks.amazonaws.com/serviceaccount/..d/token", "cloud-workload-token"),
        ("/run/secrets/db-password", "container-secret"),
        (
            "/var/lib/kubelet/pods/u/volumes/kubernetes.io~projected/kube-api-access-1/..d/token",
            "kubernetes-pod-volumes",
        ),
        ("/run/credentials/nginx.service/tls.key", "systemd-credential"),
        ("/etc/letsencrypt/live/example.org/privkey.pem", "tls-private-key"),
        ("/srv/app/.env", "env-file"),
        ("/srv/app/.env.production", "env-file"),
        ("/srv/app/deploy.pem", "private-key-file"),
        ("/srv/app/prod.kdbx", "password-manager"),
        ("/home/a/.mozilla/firefox/x.default/key4.db", "firefox-logins"),
        ("/home/a/.config/google-chrome/Default/Login Data", "chromium-logins"),
        ("/home/a/.claude/.credentials.json", "claude-credentials"),
        ("/home/a/.codex/auth.json", "codex-credentials"),
        ("/home/a/.cursor/x/y/auth.json", "cursor-credentials"),
        ("/home/a/.ollama/id_ed25519", "other-agent-credentials"),
        ("/srv/tf/terraform.tfstate", "terraform-credentials"),
    ];
    for (path, entry) in cases {
        assert_eq!(name(catalogue, path).as_deref(), Some(entry), "{path}");
        assert!(admits(catalogue, path.as_bytes()), "{path}");
    }
}

#[test]
fn what_ships_leaves_the_innocent_alone() {
    let catalogue = &*CATALOGUE;
    let paths = [
        "/etc/passwd",
        "/etc/pam.d/sshd",
        "/home/alice/.ssh/id_ed25519.pub",
        "/home/alice/.ssh/known_hosts",
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/ssl/certs/ISRG_Root_X1.pem",
        "/usr/lib/python3/dist-packages/certifi/cacert.pem",
        "/opt/venv/lib/python3.12/site-packages/certifi/cacert.pem",
        "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
        "/home/a/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/ureq-3.5.2/testdata/key.pem",
        "/srv/app/node_modules/https-proxy/test/server.key",
        "/usr/lib/python3/dist-packages/twisted/test/server.pem",
        "/run/secrets/kubernetes.io/serviceaccount/ca.crt",
        "/srv/app/package.json",
        "/srv/app/config.json",
        "/home/a/.aws/cli/alias",
        "/srv/ENV",
        "/ETC/SHADOW",
    ];
    for path in paths {
        assert_eq!(name(catalogue, path), None, "{path}");
    }
    // Files that every program opens do not even reach userspace.
    for path in [
        "/etc/passwd",
        "/etc/ld.so.cache",
        "/usr/lib/x86_64-linux-gnu/libc.so.6",
        "/etc/ssl/certs/ca-certificates.crt",
        "/usr/lib/python3.11/os.py",
        "/srv/app/node_modules/x/package.json",
        "/proc/self/maps",
        "/etc/nsswitch.conf",
    ] {
        assert!(!admits(catalogue, path.as_bytes()), "{path}");
    }
}

#[test]
fn every_shipped_entry_is_explained() {
    let catalogue = &*CATALOGUE;
    for (entry, patterns) in catalogue.entries() {
        assert!(
            entry.comment.len() > 20 && !patterns.is_empty() && !entry.attack.is_empty(),
            "{}",
            entry.name
        );
    }
    assert!(catalogue.entries().count() > 40);
    assert_eq!(catalogue.digest().len(), 64);
}

const EXTRA: &str = "version = 1\n[[credential]]\nname = \"netrc\"\nkind = \"x\"\nsensitivity = 1\npaths = [\"~/.netrc\", \"~/.netrc.d/*\"]\ncomment = \"c\"\n";

#[test]
fn operators_add_replace_and_disable() {
    let extra = source("site.toml", &EXTRA.replace("version = 1", "version = 1\ndisable = [\"env-file\"]"));
    let catalogue = &Catalogue::from_sources(&[shipped(), extra]).unwrap();
    assert_eq!(catalogue.find(b"/h/.netrc").map(|entry| entry.sensitivity), Some(1));
    assert_eq!(name(catalogue, "/h/.netrc.d/x").as_deref(), Some("netrc"));
    assert_eq!(name(catalogue, "/h/_netrc"), None);
    assert_eq!(name(catalogue, "/srv/.env"), None);
    assert_ne!(catalogue.digest(), CATALOGUE.digest());
}

#[test]
fn the_most_specific_entry_counts() {
    let entry = |name: &str, path: &str| {
        format!(
            "[[credential]]\nname = \"{name}\"\nkind = \"x\"\nsensitivity = 1\npaths = [\"{path}\"]\ncomment = \"c\"\n"
        )
    };
    let text = [
        "version = 1\n".into(),
        entry("root", "/srv/**/x.pem"),
        entry("any", "**/*.pem"),
        entry("home", "~/.k/*.pem"),
        entry("same", "**/*.pem"),
    ]
    .concat();
    let catalogue = &Catalogue::from_sources(&[source("t", &text)]).unwrap();
    assert_eq!(name(catalogue, "/srv/.k/x.pem").as_deref(), Some("root"));
    assert_eq!(name(catalogue, "/a/.k/x.pem").as_deref(), Some("home"));
    assert_eq!(name(catalogue, "/a/x.pem").as_deref(), Some("same"));
    // A path that lacks its beginning.
    assert_eq!(name(catalogue, "srv/a/x.pem").as_deref(), Some("same"));
}

#[test]
fn errors_name_file_line_entry_and_remedy() {
    let check = |from: &str, to: &str, expected: &str| {
        assert!(EXTRA.contains(from), "{from}");
        let text = EXTRA.replace(from, to);
        let error =
            Catalogue::from_sources(&[shipped(), source("site.toml", &text)]).unwrap_err().to_string();
        assert!(error.starts_with("site.toml:") && error.contains(expected), "{error}");
    };
    check("kind =", "knid =", "site.toml:4: entry `netrc`: unknown field `knid`");
    check("sensitivity = 1\n", "", "entry `netrc`: missing field `sensitivity`");
    check("sensitivity = 1", "sensitivity = 6", ":5: entry `netrc`: sensitivity 6: use 1");
    check("sensitivity = 1", "sensitivity = 300", ":5: entry `netrc`: ");
    check("name = \"netrc\"", "name = \"Net Rc\"", ":3: entry `Net Rc`: `Net Rc` is not a name");
    check("~/.netrc.d/*", "netrc", ":6: entry `netrc`: path `netrc`: begin it with");
    check(
        "~/.netrc.d/*",
        "**/*.json",
        ":6: entry `netrc`: path `**/*.json`: the kernel's filter finds nothing",
    );
    check("~/.netrc.d/*", "/tmp/krb5cc_*", "name the files");
    check("version = 1", "version = 2", ":1: version 2");
    check("version = 1", "version = 1\ndisable = [\"nothing\"]", ":2: disable: there is no entry `nothing`");
    check("comment", "attack = [\"1552\"]\ncomment", ":7: entry `netrc`: `1552` is not an ATT&CK technique");
    check("[\"~/.netrc\", \"~/.netrc.d/*\"]", "[]", "no paths");
    for (reader, expected) in [
        ("bin/x", "write the name of an executable"),
        ("~/bin/x", "write the name of an executable"),
        ("python3", "an interpreter reads what any script"),
        ("/usr/bin/*", "it means every program"),
        ("/opt/x/", "write it without `//`"),
    ] {
        let readers = format!("expected_readers = [\"curl\", \"{reader}\"]\ncomment");
        check("comment", &readers, &format!(":7: entry `netrc`: expected reader `{reader}`: {expected}"));
    }
    check("version = 1", "version = ", "site.toml:1: ");
    check("version = 1\n", "", "missing field `version`");
    let twice = EXTRA.to_owned() + &EXTRA.replace("version = 1\n", "");
    let error = Catalogue::from_sources(&[source("t", &twice)]).unwrap_err().to_string();
    assert!(error.starts_with("t:9: entry `netrc`: the name is used twice"), "{error}");
}

#[test]
fn files_are_read_in_order_and_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("b.toml"), EXTRA).unwrap();
    std::fs::write(path("a.toml"), EXTRA.replace("sensitivity = 1", "sensitivity = 2")).unwrap();
    std::fs::write(path("ignored.txt"), "nonsense").unwrap();
    let sensitivity = |files: &[PathBuf]| {
        Catalogue::load(directory.path(), files)
            .map(|catalogue| catalogue.find(b"/h/.netrc").map(|entry| entry.sensitivity))
    };
    assert_eq!(sensitivity(&[]).unwrap(), Some(1));
    assert_eq!(sensitivity(&[path("a.toml")]).unwrap(), Some(2));
    let missing = sensitivity(&[path("none.toml")]).unwrap_err().to_string();
    assert!(missing.contains("none.toml: cannot read it"), "{missing}");
    std::fs::write(path("large.toml"), " ".repeat(MAX_FILE_BYTES as usize + 1)).unwrap();
    assert!(matches!(sensitivity(&[]).unwrap_err().problem, Problem::TooLarge(_)));
    assert!(Catalogue::load(&path("absent"), &[]).is_ok());
}

/// A path that a pattern matches: wild parts filled from `fill`, `**` by so many components.
fn instance(pattern: &Pattern, before: usize, deep: usize, fill: &str) -> Vec<u8> {
    let mut path = String::new();
    if pattern.anchor != Anchor::Root {
        (0..before).for_each(|level| path.push_str(&format!("/up{level}")));
    }
    for component in &pattern.components {
        match component {
            Component::Literal(text) => path.push_str(&format!("/{text}")),
            Component::Wild { glob, .. } => {
                let name = glob.replace('*', fill).replace('?', "q");
                // No file has an empty name.
                path.push_str(&format!("/{}", if name.is_empty() { "x" } else { &name }));
            }
            Component::Deep => (0..deep).for_each(|level| path.push_str(&format!("/{fill}d{level}"))),
        }
    }
    path.into_bytes()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// No false negatives: what a pattern matches, the kernel's filter lets through, up to the depth that it looks at.
    #[test]
    fn the_filter_admits_whatever_matches(before in 0usize..14, deep in 1usize..=(RULE_ANCESTORS as usize - 4), fill in "[a-z.\\-_ ]{0,12}") {
        let catalogue = &*CATALOGUE;
        let mut matched = 0;
        for (entry, patterns) in catalogue.entries() {
            for pattern in patterns {
                let path = instance(pattern, before, deep, &fill);
                if catalogue.find(&path).is_some() {
                    matched += 1;
                    prop_assert!(admits(catalogue, &path), "{}: {}", entry.name, String::from_utf8_lossy(&path));
                }
            }
        }
        prop_assert!(matched > 100, "{matched}");
    }

    /// The same for paths made of the catalogue's own words and others, in any order.
    #[test]
    fn the_filter_admits_any_path_that_matches(picks in prop::collection::vec((any::<prop::sample::Index>(), "[a-z]{0,3}", 0u8..4), 1..12)) {
        let catalogue = &*CATALOGUE;
        let words: Vec<String> = catalogue
            .entries()
            .flat_map(|(_, patterns)| patterns)
            .flat_map(|pattern| &pattern.components)
            .filter_map(|component| match component {
                Component::Literal(text) => Some(text.clone()),
                Component::Wild { glob, .. } => Some(glob.replace(['*', '?'], "x")),
                Component::Deep => None,
            })
            .collect();
        let mut path = String::new();
        for (word, noise, how) in &picks {
            let word = &words[word.index(words.len())];
            path.push_str(&match how {
                0 => format!("/{noise}x"),
                1 => format!("/{word}{noise}"),
                _ => format!("/{word}"),
            });
        }
        if catalogue.find(path.as_bytes()).is_some() {
            prop_assert!(admits(catalogue, path.as_bytes()), "{path}");
        }
    }

    #[test]
    fn any_bytes_are_a_path(path in prop::collection::vec(any::<u8>(), 0..200)) {
        let catalogue = &*CATALOGUE;
        if catalogue.find(&path).is_some() {
            prop_assert!(admits(catalogue, &path));
        }
    }
}

/// Which shipped socket a path or (after `@`) an abstract name is.
fn socket(name: &str) -> Option<String> {
    let (name, is_abstract) = name.strip_prefix('@').map_or((name, false), |name| (name, true));
    let mut stream = crate::capture::testing::Stream::new(0);
    let by = crate::capture::testing::actor(5, 4);
    let given = if is_abstract { format!("\0{name}") } else { name.to_owned() };
    let act = crate::capture::decode::decode(&stream.unix_connect(&by, &given)).unwrap();
    let crate::model::act::Deed::UnixConnect(socket) = act.deed else { panic!() };
    CATALOGUE.find_socket(&socket).map(|entry| entry.name.to_string())
}

#[test]
fn the_shipped_sockets_are_found_and_others_are_not() {
    let found = [
        ("/tmp/ssh-XXXXabcd/agent.4100", "ssh-agent"),
        ("/run/user/1000/keyring/ssh", "ssh-agent"),
        ("/home/ada/.ssh/agent/s.abc.agent.def", "ssh-agent"),
        ("/run/user/1000/gnupg/S.gpg-agent.ssh", "gpg-agent"),
        ("/run/docker.sock", "container-engine"),
        ("/run/k3s/containerd/containerd.sock", "container-engine"),
        ("@/containerd-shim/0123.sock", "containerd-shim"),
        ("/run/spire/sockets/agent.sock", "spire-agent"),
    ];
    for (path, entry) in found {
        assert_eq!(socket(path).as_deref(), Some(entry), "{path}");
    }
    for path in ["/run/systemd/journal/stdout", "/run/dbus/system_bus_socket", "@/tmp/.X11-unix/X0", "@"] {
        assert_eq!(socket(path), None, "{path}");
    }
    // A file's rule is none for a socket, and the other way round.
    assert_eq!(socket("/etc/shadow"), None);
    assert!(CATALOGUE.find(b"/run/docker.sock").is_none());
}

#[test]
fn a_socket_entry_that_the_kernel_cannot_look_for_is_refused() {
    let text = "version = 1\n[[socket]]\nname = \"x\"\nkind = \"socket\"\nsensitivity = 1\n\
                paths = [\"/run/*\"]\ncomment = \"x\"\n";
    let source = Source { file: "x.toml".into(), text: text.into() };
    let error = Catalogue::from_sources(&[source]).unwrap_err().to_string();
    assert!(error.contains("x.toml:6") && error.contains("nothing telling"), "{error}");
}
