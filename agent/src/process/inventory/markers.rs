//! Environment markers: names of variables that tell who started a process. No other variable is ever kept.

use std::collections::HashMap;

use agent_common::limits::MARKER_VALUE_BYTES;

use crate::model::bytes::RawBytes;
use crate::model::process::Marker;

/// Which variables are markers, and of which the value is kept. A name that ends in `_` stands for every variable
/// that begins so, up to and including the first underscore; an exact name goes before it.
#[derive(Clone, Debug, Default)]
pub struct Markers {
    names: HashMap<Vec<u8>, bool>,
}

impl Markers {
    /// From names, each with whether its value is kept.
    pub fn new<N: AsRef<[u8]>>(names: impl IntoIterator<Item = (N, bool)>) -> Self {
        Self { names: names.into_iter().map(|(name, value)| (name.as_ref().to_vec(), value)).collect() }
    }

    /// The markers of an environment block (`NAME=VALUE\0…`), and whether the loader is told to preload.
    pub(super) fn of(&self, environ: &[u8]) -> (Vec<Marker>, bool) {
        let mut markers = Vec::new();
        let mut preload = false;
        for variable in environ.split(|&byte| byte == 0) {
            let Some(equals) = variable.iter().position(|&byte| byte == b'=') else { continue };
            let (name, value) = variable.split_at(equals);
            let value = value.get(1..).unwrap_or_default();
            preload |= matches!(name, b"LD_PRELOAD" | b"LD_AUDIT" | b"LD_LIBRARY_PATH") && !value.is_empty();
            if let Some(keep_value) = self.find(name) {
                let value = keep_value.then(|| value.get(..MARKER_VALUE_BYTES).unwrap_or(value).into());
                markers.push(Marker { name: RawBytes::from(name), value });
            }
        }
        (markers, preload)
    }

    fn find(&self, name: &[u8]) -> Option<bool> {
        let family =
            || name.iter().position(|&byte| byte == b'_').and_then(|at| self.names.get(name.get(..=at)?));
        self.names.get(name).or_else(family).copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_listed_names_are_kept_and_values_of_few() {
        let markers = Markers::new([("CLAUDECODE", true), ("CODEX_", false), ("SSH_CONNECTION", true)]);
        let environ = b"PATH=/bin\0CLAUDECODE=1\0CODEX_API_KEY=sk-1\0CODEX=2\0XCODEX_A=1\0SSH_CONNECTION=a=b\0bad\0=x\0";
        let (found, preload) = markers.of(environ);
        let found: Vec<_> =
            found.iter().map(|m| (m.name.to_string(), m.value.as_ref().map(|v| v.to_string()))).collect();
        assert_eq!(
            found,
            [
                ("CLAUDECODE".into(), Some("1".into())),
                ("CODEX_API_KEY".into(), None),
                ("SSH_CONNECTION".into(), Some("a=b".into()))
            ]
        );
        assert!(!preload);
        assert!(markers.of(b"LD_PRELOAD=/x.so\0").1);
        assert!(!markers.of(b"LD_PRELOAD=\0MY_LD_PRELOAD=x").1);
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_environment(environ in proptest::collection::vec(any::<u8>(), 0..256)) {
            let (found, _) = Markers::new([("A", true)]).of(&environ);
            prop_assert!(found.iter().all(|marker| marker.name == "A".into()));
        }
    }
}
