//! What the operator wants: `/etc/telltale/telltale.toml`, overridden by flags.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

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
}

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
        }
    }
}

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

    #[test]
    fn a_named_file_must_exist() {
        assert!(matches!(
            Config::load(Some(Path::new("/nonexistent/t.toml"))),
            Err(ConfigError::Read { .. })
        ));
    }
}
