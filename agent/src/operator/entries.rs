//! Registration entries of SPIRE, as `spire-server entry show -output json` writes them: which SPIFFE ID a workload has
//! whose selectors are known.
//!
//! They are an operator's export, a file. SPIRE's own sockets are not asked: its delegated identity API hands out SVIDs with
//! their private keys, which the agent has no use for and should not be able to leak.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;

use super::file::{self, FileError};
use crate::model::spiffe::SpiffeId;

/// Where the entries are, unless they are not there: then there are none.
pub const ENTRIES: &str = "/etc/telltale/spire-entries.json";

/// Entries, at most.
const MOST: usize = 20_000;
/// Selectors of an entry, at most; more are no entry that a person made.
const SELECTORS: usize = 64;
/// IDs that one workload is given: those of the first entries.
const GIVEN: usize = 8;

/// Of protobuf's JSON form of `spire.api.types.Entry` (<https://github.com/spiffe/spire-api-sdk>) what is looked at.
#[derive(Deserialize)]
struct Export {
    entries: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    #[serde(default)]
    id: String,
    spiffe_id: RowId,
    #[serde(default)]
    selectors: Vec<RowSelector>,
}

#[derive(Deserialize)]
struct RowId {
    trust_domain: String,
    #[serde(default)]
    path: String,
}

#[derive(Deserialize)]
struct RowSelector {
    r#type: String,
    value: String,
}

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its own id, escaped text.
    pub id: Arc<str>,
    /// The SPIFFE ID that it gives.
    pub spiffe_id: SpiffeId,
    /// What a workload must have, all of it.
    selectors: BTreeSet<String>,
}

/// Entries, found by their selectors.
#[derive(Debug, Default)]
pub struct Entries {
    entries: Vec<Entry>,
    /// Which entries ask for a selector (`unix:uid:1000`): each stands at the one that fewest ask for, so that what all ask for
    /// leads to none.
    by_rarest: HashMap<String, Vec<usize>>,
}

/// Reads the entries of a file; none where it is not there.
///
/// # Errors
/// Where it cannot be read, or is wrong.
pub fn load(path: &Path) -> Result<Entries, FileError> {
    file::load("export of SPIRE's entries", path, Entries::parse)
}

impl Entries {
    /// Understands an export.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Export { entries: rows } = serde_json::from_str(text)
            .map_err(|error| format!("{error}: it is what `spire-server entry show -output json` prints"))?;
        if rows.len() > MOST {
            return Err(format!(
                "it has {} entries, more than {MOST}; export those of this node alone",
                rows.len()
            ));
        }
        let mut all = Self::default();
        for Row { id, spiffe_id: RowId { trust_domain, path }, selectors } in rows {
            let spiffe_id = SpiffeId::new(&trust_domain, &path);
            let spiffe_id = spiffe_id
                .ok_or_else(|| format!("the entry {id:?}: there is no SPIFFE ID {trust_domain:?}{path:?}"))?;
            let selectors: BTreeSet<String> = selectors
                .into_iter()
                .map(|RowSelector { r#type, value }| format!("{type}:{value}"))
                .collect();
            if selectors.is_empty() || selectors.len() > SELECTORS {
                let count = selectors.len();
                return Err(format!(
                    "the entry {id:?} has {count} selectors, and 1 to {SELECTORS} are possible"
                ));
            }
            all.entries.push(Entry { id: id.escape_debug().to_string().into(), spiffe_id, selectors });
        }
        let mut asked: HashMap<&String, usize> = HashMap::new();
        for selector in all.entries.iter().flat_map(|entry| &entry.selectors) {
            *asked.entry(selector).or_default() += 1;
        }
        for (at, entry) in all.entries.iter().enumerate() {
            if let Some(rarest) = entry.selectors.iter().min_by_key(|selector| asked.get(selector)) {
                all.by_rarest.entry(rarest.clone()).or_default().push(at);
            }
        }
        Ok(all)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entries of which a workload has every selector, as SPIRE's agent matches them
    /// (`pkg/agent/manager/cache`), in the order of the export.
    pub fn of(&self, selectors: &BTreeSet<String>) -> Vec<&Entry> {
        let found = selectors.iter().filter_map(|selector| self.by_rarest.get(selector)).flatten().copied();
        let is_met =
            |at: &usize| self.entries.get(*at).is_some_and(|entry| entry.selectors.is_subset(selectors));
        let mut whole: Vec<usize> = found.filter(is_met).collect();
        whole.sort_unstable();
        whole.into_iter().take(GIVEN).filter_map(|at| self.entries.get(at)).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `getJSONPrintedEntry` of `cmd/spire-server/cli/entry/show_test.go`, <https://github.com/spiffe/spire>
    /// (ef8527ec9101), within the form of the same test's `expOutJSON`.
    const EXPORT: &str = r#"{"entries": [{
      "id": "00000000-0000-0000-0000-000000000000",
      "spiffe_id": {
        "trust_domain": "example.org",
        "path": "/son"
      },
      "parent_id": {
        "trust_domain": "example.org",
        "path": "/father"
      },
      "selectors": [
        {
          "type": "foo",
          "value": "bar"
        }
      ],
      "x509_svid_ttl": 0,
      "federates_with": [],
      "hint": "internal",
      "admin": false,
      "created_at": "1547583197",
      "downstream": false,
      "expires_at": "0",
      "dns_names": [],
      "revision_number": "0",
      "store_svid": false,
      "jwt_svid_ttl": 0
    },{
      "id": "00000000-0000-0000-0000-000000000001",
      "spiffe_id": {
        "trust_domain": "example.org",
        "path": "/daughter"
      },
      "parent_id": {
        "trust_domain": "example.org",
        "path": "/father"
      },
      "selectors": [
        {
          "type": "bar",
          "value": "baz"
        },
        {
          "type": "foo",
          "value": "bar"
        }
      ],
      "x509_svid_ttl": 0,
      "federates_with": [],
      "hint": "external",
      "admin": false,
      "created_at": "1547583197",
      "downstream": false,
      "expires_at": "0",
      "dns_names": [],
      "revision_number": "0",
      "store_svid": false,
      "jwt_svid_ttl": 0
    }],"next_page_token": ""}"#;

    fn ids(entries: &Entries, selectors: &[&str]) -> Vec<String> {
        let selectors = selectors.iter().map(|selector| (*selector).to_owned()).collect();
        entries.of(&selectors).iter().map(|entry| entry.spiffe_id.to_string()).collect()
    }

    #[test]
    fn an_entry_is_met_by_who_has_all_its_selectors() {
        let entries = Entries::parse(EXPORT).unwrap();
        let (son, daughter) = ("spiffe://example.org/son", "spiffe://example.org/daughter");
        assert_eq!(ids(&entries, &["foo:bar"]), [son]);
        assert_eq!(ids(&entries, &["foo:bar", "x:y", "bar:baz"]), [son, daughter]);
        assert!(ids(&entries, &["bar:baz"]).is_empty() && ids(&entries, &[]).is_empty());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let entry = |id: &str, selectors: &str| {
            format!(r#"{{"entries":[{{"id":"e","spiffe_id":{id},"selectors":[{selectors}]}}]}}"#)
        };
        let good = r#"{"trust_domain":"a","path":"/b"}"#;
        let selector = r#"{"type":"unix","value":"uid:0"}"#;
        assert!(Entries::parse(&entry(good, selector)).is_ok());
        // A selector that stands twice is one.
        let twice = Entries::parse(&entry(good, &format!("{selector},{selector}"))).unwrap();
        assert_eq!(ids(&twice, &["unix:uid:0"]), ["spiffe://a/b"]);
        for (text, part) in [
            (String::new(), "spire-server"),
            ("{}".to_owned(), "entries"),
            (entry(good, ""), "0 selectors"),
            (entry(r#"{"trust_domain":"A","path":"/b"}"#, selector), "no SPIFFE ID"),
            (entry(r#"{"trust_domain":"a","path":"b"}"#, selector), "no SPIFFE ID"),
        ] {
            let message = Entries::parse(&text).err().unwrap();
            assert!(message.contains(part), "{message}");
        }
    }

    proptest! {
        #[test]
        fn those_are_found_whose_selectors_are_all_there(
            entries in prop::collection::vec(prop::collection::btree_set(0_u8..6, 1..4), 0..GIVEN),
            has in prop::collection::btree_set(0_u8..6, 0..6),
        ) {
            let rows: Vec<String> = entries.iter().enumerate().map(|(at, selectors)| {
                let selectors: Vec<_> =
                    selectors.iter().map(|it| format!(r#"{{"type":"s","value":"{it}"}}"#)).collect();
                let id = format!(r#"{{"trust_domain":"a","path":"/{at}"}}"#);
                format!(r#"{{"id":"{at}","spiffe_id":{id},"selectors":[{}]}}"#, selectors.join(","))
            }).collect();
            let export = Entries::parse(&format!(r#"{{"entries":[{}]}}"#, rows.join(","))).unwrap();
            let has_all = |(at, wanted): (usize, &BTreeSet<u8>)| wanted.is_subset(&has).then(|| at.to_string());
            let expected: Vec<String> = entries.iter().enumerate().filter_map(has_all).collect();
            let selectors = has.iter().map(|it| format!("s:{it}")).collect();
            let found: Vec<String> = export.of(&selectors).iter().map(|entry| entry.id.to_string()).collect();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn any_text_is_entries_or_wrong(text in r#"[\[\]{}:,"a-z_]{0,200}"#) {
            let _ = Entries::parse(&text);
        }
    }
}
