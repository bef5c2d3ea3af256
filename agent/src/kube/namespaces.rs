//! Who owns a namespace, by an annotation or label of it: for pods that say nothing themselves. Asked only where the
//! configuration says so, for it takes a right to read namespaces that nothing else needs.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::client::{Client, METADATA};
use super::objects::{Object, parse};
use crate::generations::Generations;

/// Namespaces of one generation.
const GENERATION: usize = 512;
/// Bytes of an object's metadata: all annotations have 256 KiB at most.
const METADATA_BYTES: usize = 2 << 20;
/// After so long a namespace is asked for anew, when one of its pods is told.
const FRESH: Duration = Duration::from_secs(300);

#[derive(Clone, Debug)]
struct Known {
    owner: Option<Arc<str>>,
    until: Instant,
}

/// Owners of namespaces.
pub(super) struct Namespaces {
    known: Generations<Arc<str>, Known>,
    pause: Duration,
    /// Until when nobody is asked, because a question was not answered.
    not_before: Option<Instant>,
}

impl Namespaces {
    /// After a question to which nobody has answered, no other is asked for `pause`.
    pub(super) fn new(pause: Duration) -> Self {
        Self { known: Generations::new(GENERATION), pause, not_before: None }
    }

    /// The owner of a namespace, by the first of these names that it has.
    pub(super) async fn owner_of(
        &mut self,
        namespace: &Arc<str>,
        names: &[String],
        server: Option<&mut Client>,
    ) -> Option<Arc<str>> {
        let now = Instant::now();
        let before = self.known.touch(namespace).cloned();
        if let Some(known) = before.as_ref().filter(|known| now < known.until) {
            return known.owner.clone();
        }
        // What was said before holds until something else is.
        let before = before.and_then(|known| known.owner);
        if self.not_before.is_some_and(|then| now < then) {
            return before;
        }
        let path = format!("/api/v1/namespaces/{namespace}");
        let owner = match server?.get(&path, &[], METADATA, METADATA_BYTES).await {
            Ok(bytes) => {
                let object =
                    parse::<Object>(&bytes).ok().filter(|object| *object.metadata.name == **namespace);
                object.and_then(|object| object.metadata.owner(names))
            }
            Err(failure) if failure.is_passing() => {
                self.not_before = Some(Instant::now() + self.pause);
                return before;
            }
            Err(_) => None,
        };
        let known = Known { owner: owner.clone(), until: Instant::now() + FRESH };
        self.known.insert(namespace.clone(), known);
        owner
    }
}
