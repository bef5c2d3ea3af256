//! Which entry of the catalogue a path is: whole paths against globs, on bytes, case-sensitive.

use std::cmp::Reverse;
use std::sync::Arc;

use globset::{Candidate, GlobSet, GlobSetBuilder};

use super::Entry;
use super::pattern::{Anchor, Pattern, as_path, compile};

/// What decides between patterns that match the same path; the greatest wins.
type Rank = (Anchor, usize, Reverse<usize>, usize);

/// All patterns of all entries.
#[derive(Debug)]
pub struct Matcher {
    set: GlobSet,
    /// For each pattern its rank and its entry.
    patterns: Vec<(Rank, Arc<Entry>)>,
}

impl Matcher {
    /// Compiles the patterns of entries, later ones winning where all else is equal.
    pub fn new<'a>(
        entries: impl IntoIterator<Item = (&'a Arc<Entry>, &'a [Pattern])>,
    ) -> Result<Self, globset::Error> {
        let mut set = GlobSetBuilder::new();
        let mut ranked = Vec::new();
        for (order, (entry, patterns)) in entries.into_iter().enumerate() {
            for pattern in patterns {
                set.add(compile(&pattern.glob())?);
                let (anchor, literal, deep) = pattern.specificity();
                ranked.push(((anchor, literal, deep, order), Arc::clone(entry)));
            }
        }
        Ok(Self { set: set.build()?, patterns: ranked })
    }

    /// The entry for a path, from the root of the process that opened it (one that lacks its beginning is compared
    /// with `~/` and `**/` patterns alone).
    ///
    /// Of several entries the most specific counts: `/` before `~/` before `**/`, then more literal bytes, then fewer
    /// `**`, then the later entry. An entry whose `exclude` matches the path is passed over.
    pub fn find(&self, path: &[u8]) -> Option<&Arc<Entry>> {
        let candidate = Candidate::new(as_path(path));
        let matching = self.set.matches_candidate(&candidate);
        let matching = matching.into_iter().filter_map(|index| self.patterns.get(index));
        let open = matching.filter(|(_, entry)| !entry.exclude.is_match_candidate(&candidate));
        open.max_by_key(|(rank, _)| *rank).map(|(_, entry)| entry)
    }
}

/// Compiles the patterns of what an entry is not.
pub(super) fn exclusion(patterns: &[Pattern]) -> Result<GlobSet, globset::Error> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        set.add(compile(&pattern.glob())?);
    }
    set.build()
}
