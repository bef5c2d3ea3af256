//! What the operator wants: `/etc/telltale/telltale.toml`, overridden by flags.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::operator::entries::ENTRIES;
use crate::operator::rules::RULES;

/// Read where no `--config` names another file; may be absent.
pub const DEFAULT_FILE: &str = "/etc/telltale/telltale.toml";
/// A larger file is not a configuration.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The file, checked. Unknown keys are errors.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Address of the collector: `http://HOST:PORT` or `https://HOST:PORT`. Without it nothing is shipped.
    pub collector: Option<String>,
    /// Print no events: they go to the collector alone. For services, whose journal would otherwise hold them all.
    pub quiet: bool,
    /// Further files of credential rules.
    pub catalogue: Vec<PathBuf>,
    /// After how long a connection that lasts is told of again with what it has carried, in seconds; 0: never.
    pub connection_update_seconds: u32,
    /// The host's name in events, instead of what the kernel says: in a pod that is the pod's own.
    pub node_name: Option<String>,
    /// A directory of a BPF file system, in which is pinned what is to outlive the agent, so that a restart loses nothing;
    /// `none`: nothing is.
    pub pins: PathBuf,
    /// The directory of what is kept over restarts: the lives of identities; `none`: nothing is. Without it: where systemd
    /// says, or `/var/lib/telltale`.
    pub state: Option<PathBuf>,
    /// The realm that identities are of; without it they are of none.
    pub realm: Option<String>,
    /// Rules of identities; may be absent, and is read again when it changes.
    pub identity_rules: PathBuf,
    /// Entries of SPIRE; may be absent, and is read again when it changes.
    pub spire_entries: PathBuf,
    /// The cluster of Kubernetes that the host is a node of. In a pod with a service account's token it is asked without it.
    pub kubernetes: Kubernetes,
}

/// Whom to ask for the node's pods. Unknown keys are errors.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Kubernetes {
    /// Address of the API server.
    pub server: Option<String>,
    /// Address of the node's kubelet: it is asked for its pods instead, and the API server, if any, for owners alone.
    pub kubelet: Option<String>,
    /// A file with the bearer token to ask with; it is read again for each question.
    pub token_file: Option<PathBuf>,
    /// A file with the certificates of the authorities of both.
    pub ca_file: Option<PathBuf>,
    /// The cluster's name in identities; without it the uid of its namespace `kube-system`.
    pub cluster: Option<String>,
    /// Labels and annotations of a pod, beside `telltale.dev/owner`, that name who owns it.
    pub owner_labels: Vec<String>,
    /// Whether the same labels and annotations of a pod's namespace count, where the pod has none.
    pub namespace_owners: bool,
    /// Whether connections are told with the pod or Service that they lead to. It takes the right to list and watch Services
    /// and EndpointSlices.
    pub destinations: bool,
}

/// Where the state is, unless configured.
const STATE: &str = "/var/lib/telltale";
/// Set by systemd for `StateDirectory=`.
const STATE_VARIABLE: &str = "STATE_DIRECTORY";
/// Where systemd and most distributions mount a BPF file system.
const PINS: &str = "/sys/fs/bpf/telltale";
/// Instead of a directory: nothing is pinned, or kept.
const NOWHERE: &str = "none";

/// How often long connections are told of, unless configured. A minute shows a large upload while it can still be
/// stopped, and costs little where many connections last.
const CONNECTION_UPDATE_SECONDS: u32 = 60;

impl Default for Config {
    fn default() -> Self {
        Self {
            collector: None,
            quiet: false,
            catalogue: Vec::new(),
            connection_update_seconds: CONNECTION_UPDATE_SECONDS,
            node_name: None,
            pins: PINS.into(),
            state: None,
            realm: None,
            identity_rules: RULES.into(),
            spire_entries: ENTRIES.into(),
            kubernetes: Kubernetes::default(),
        }
    }
}

/// Bytes of the longest name: a DNS name has 253, and so has a node of Kubernetes.
const NODE_NAME_BYTES: usize = 253;

/// Bytes of a realm's name: it is part of a file's.
const REALM_BYTES: usize = 64;

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error(
        "cannot read the configuration {path}: {source}; mend its permissions, or name another with --config"
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No host has such a name.
    #[error(
        "the node name {name:?} is none: it has 1 to {NODE_NAME_BYTES} printable ASCII characters without space; mend \
         --node-name or node_name (in a pod it comes from spec.nodeName: is NODE_NAME set there?)"
    )]
    NodeName {
        /// What was given.
        name: String,
    },
    /// No realm is called so.
    #[error(
        "the realm {name:?} is none: it has 1 to {REALM_BYTES} of the characters A-Z, a-z, 0-9, '.', '_' and '-', and begins with \
         a letter or digit (--realm, or realm in the configuration)"
    )]
    Realm {
        /// What was given.
        name: String,
    },
    /// Nothing can be pinned there.
    #[error(
        "{path:?} is no place for pins: name a directory by its whole path, such as {PINS}, or `{NOWHERE}` (--pins, or pins \
         in the configuration)"
    )]
    Pins {
        /// What was given.
        path: PathBuf,
    },
    /// Nothing can be kept there.
    #[error(
        "{path:?} is no place for the state: name a directory by its whole path, such as {STATE}, or `{NOWHERE}` (--state, or \
         state in the configuration)"
    )]
    State {
        /// What was given.
        path: PathBuf,
    },
    /// Events would go nowhere.
    #[error(
        "--quiet (`quiet = true`) without a collector: events would go nowhere; name one with --collector, or leave it out"
    )]
    QuietAlone,
    /// It is no configuration.
    #[error("the configuration {path} is larger than {MAX_FILE_BYTES} bytes: this is not one")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// A key or value is wrong.
    #[error("the configuration {path} is wrong: {message}")]
    Form {
        /// The file.
        path: PathBuf,
        /// Where, and what.
        message: String,
    },
}

impl Config {
    /// Reads `named`, or the default file where it exists.
    ///
    /// # Errors
    /// Where the file cannot be read, or is wrong.
    pub fn load(named: Option<&Path>) -> Result<Self, ConfigError> {
        let path = named.unwrap_or(Path::new(DEFAULT_FILE));
        let fail = |source| ConfigError::Read { path: path.to_owned(), source };
        match fs::metadata(path) {
            Ok(metadata) if metadata.len() > MAX_FILE_BYTES => {
                return Err(ConfigError::TooLarge { path: path.to_owned() });
            }
            Ok(_) => {}
            Err(error) if named.is_none() && error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => return Err(fail(error)),
        }
        let text = fs::read_to_string(path).map_err(fail)?;
        toml::from_str(&text)
            .map_err(|error| ConfigError::Form { path: path.to_owned(), message: error.to_string() })
    }

    /// Where to pin what is to outlive the agent: as the command line says, else the file.
    ///
    /// # Errors
    /// Where that is a relative path.
    pub fn pins(&self, named: Option<&Path>) -> Result<Option<PathBuf>, ConfigError> {
        let path = named.unwrap_or(&self.pins);
        if path == Path::new(NOWHERE) {
            return Ok(None);
        }
        if !path.is_absolute() {
            return Err(ConfigError::Pins { path: path.to_owned() });
        }
        Ok(Some(path.to_owned()))
    }

    /// Where to keep what outlives the agent: as the command line says, else the file, else systemd.
    ///
    /// # Errors
    /// Where that is a relative path.
    pub fn state(&self, named: Option<&Path>) -> Result<Option<PathBuf>, ConfigError> {
        let by_systemd = || std::env::var_os(STATE_VARIABLE).map(PathBuf::from);
        let path = named.map(Path::to_owned).or_else(|| self.state.clone()).or_else(by_systemd);
        let path = path.unwrap_or_else(|| STATE.into());
        match path {
            none if none == Path::new(NOWHERE) => Ok(None),
            path if path.is_absolute() => Ok(Some(path)),
            path => Err(ConfigError::State { path }),
        }
    }

    /// The realm: that of the command line, else that of the file.
    ///
    /// # Errors
    /// Where it can be none's.
    pub fn realm(&self, named: Option<&str>) -> Result<Option<String>, ConfigError> {
        let Some(name) = named.or(self.realm.as_deref()) else { return Ok(None) };
        let fits = (1..=REALM_BYTES).contains(&name.len())
            && name.starts_with(|first: char| first.is_ascii_alphanumeric())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if fits { Ok(Some(name.to_owned())) } else { Err(ConfigError::Realm { name: name.to_owned() }) }
    }

    /// The host's name in events: that of the command line, else that of the file.
    ///
    /// # Errors
    /// Where it can be no host's. `$(NODE_NAME)`, which Kubernetes leaves so where there is no such variable, is none.
    pub fn node_name(&self, named: Option<&str>) -> Result<Option<String>, ConfigError> {
        let Some(name) = named.or(self.node_name.as_deref()) else { return Ok(None) };
        let fits = (1..=NODE_NAME_BYTES).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_graphic() && !b"$()".contains(&byte));
        if fits { Ok(Some(name.to_owned())) } else { Err(ConfigError::NodeName { name: name.to_owned() }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, ConfigError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        Config::load(Some(file.path()))
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_it() {
        let error = load("colector = \"http://127.0.0.1:4319\"\n").unwrap_err().to_string();
        assert!(error.contains("colector") && error.contains("collector"), "{error}");
    }

    #[test]
    fn a_whole_file_is_read() {
        let config = load("collector = \"http://127.0.0.1:4319\"\ncatalogue = [\"/x.toml\"]\n").unwrap();
        assert_eq!(config.collector.as_deref(), Some("http://127.0.0.1:4319"));
        assert_eq!(config.catalogue, [PathBuf::from("/x.toml")]);
        assert_eq!(config.connection_update_seconds, 60);
        assert_eq!(load("connection_update_seconds = 0\n").unwrap().connection_update_seconds, 0);
    }

    /// The names that serde takes for the keys of a struct: asked of the very code that reads the file.
    struct Keys<'a>(&'a mut &'static [&'static str]);

    impl<'de> serde::Deserializer<'de> for Keys<'_> {
        type Error = serde::de::value::Error;

        fn deserialize_struct<V: serde::de::Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            visitor: V,
        ) -> Result<V::Value, Self::Error> {
            *self.0 = fields;
            self.deserialize_any(visitor)
        }

        fn deserialize_any<V: serde::de::Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
            Err(serde::de::Error::custom("only the keys are asked for"))
        }

        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct
            newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }

    const PAGE: &str = include_str!("../../docs/configuration.md");

    /// What stands between backticks at the beginning of a table's rows, under a heading.
    fn documented(heading: &str) -> Vec<&'static str> {
        let (_, section) = PAGE.split_once(heading).unwrap();
        let section = section.split("\n## ").next().unwrap();
        section
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
            .map(|(name, _)| name)
            .collect()
    }

    #[test]
    fn the_documented_keys_are_the_keys() {
        let mut keys: &[&str] = &[];
        Config::deserialize(Keys(&mut keys)).unwrap_err();
        assert!(!keys.is_empty());
        assert_eq!(documented("## Keys\n"), keys);
        let (_, example) = PAGE.split_once("```toml\n").unwrap();
        let config = load(example.split("```").next().unwrap()).unwrap();
        let Config {
            collector,
            quiet,
            catalogue,
            connection_update_seconds,
            node_name,
            pins,
            state,
            realm,
            identity_rules,
            spire_entries,
            kubernetes,
        } = config;
        let seconds = connection_update_seconds != Config::default().connection_update_seconds;
        let every = [
            collector.is_some(),
            quiet,
            !catalogue.is_empty(),
            seconds,
            node_name.is_some(),
            pins != Config::default().pins,
            state.is_some(),
            realm.is_some(),
            identity_rules != Path::new(RULES),
            spire_entries != Path::new(ENTRIES),
            kubernetes != Kubernetes::default(),
        ];
        assert_eq!(every, [true; 11], "the example uses every key, with a value of its own");
    }

    #[test]
    fn the_documented_keys_of_kubernetes_are_the_keys() {
        let mut keys: &[&str] = &[];
        Kubernetes::deserialize(Keys(&mut keys)).unwrap_err();
        assert!(!keys.is_empty());
        assert_eq!(documented("## Kubernetes\n"), keys);
    }

    #[test]
    fn the_documented_flags_are_the_flags() {
        use clap::Args;
        let command = crate::cli::run::RunArgs::augment_args(clap::Command::new("run"));
        for flag in command.get_arguments().filter_map(|argument| argument.get_long()) {
            let with_a_key = documented("## Keys\n").contains(&flag.replace('-', "_").as_str());
            let without = documented("## Flags without a key\n");
            let is_documented =
                |line: &&str| line.strip_prefix("--").and_then(|l| l.split(' ').next()) == Some(flag);
            assert!(with_a_key || without.iter().any(is_documented), "--{flag}");
            assert!(PAGE.contains(&format!("`--{flag}")), "--{flag}");
        }
    }

    #[test]
    fn pins_are_a_whole_path_or_none() {
        let config = load("pins = \"/mnt/bpf/telltale\"\n").unwrap();
        assert_eq!(config.pins(None).unwrap().as_deref(), Some(Path::new("/mnt/bpf/telltale")));
        assert_eq!(config.pins(Some(Path::new(NOWHERE))).unwrap(), None);
        assert_eq!(Config::default().pins(None).unwrap().as_deref(), Some(Path::new(PINS)));
        for path in ["", "pins", "./none"] {
            let error = config.pins(Some(Path::new(path))).unwrap_err().to_string();
            assert!(error.contains("whole path"), "{error}");
        }
    }

    #[test]
    fn the_command_line_names_the_node_before_the_file() {
        let config = load("node_name = \"from-file\"\n").unwrap();
        assert_eq!(config.node_name(None).unwrap().as_deref(), Some("from-file"));
        assert_eq!(config.node_name(Some("node-7.example")).unwrap().as_deref(), Some("node-7.example"));
        assert_eq!(Config::default().node_name(None).unwrap(), None);
        assert_eq!(config.realm(Some("acme-prod")).unwrap().as_deref(), Some("acme-prod"));
        for name in ["", "..", "a/b", "a b", "$(REALM)", &"a".repeat(65)] {
            assert!(matches!(config.realm(Some(name)), Err(ConfigError::Realm { .. })), "{name}");
        }
        for name in ["", "a b", "$(NODE_NAME)", "a\u{1b}[2J", "b\u{fc}ro", &"x".repeat(254)] {
            let error = config.node_name(Some(name)).unwrap_err().to_string();
            assert!(error.contains("spec.nodeName"), "{error}");
        }
    }

    #[test]
    fn a_named_file_must_exist() {
        assert!(matches!(
            Config::load(Some(Path::new("/nonexistent/t.toml"))),
            Err(ConfigError::Read { .. })
        ));
    }
}
