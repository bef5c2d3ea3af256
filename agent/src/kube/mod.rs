//! What a cluster tells of the pods of this node: asked of its API server, or of the node's kubelet, by a thread of its own.
//!
//! The cluster may be slow, down, or lie: nothing on the event path waits for it. What it says comes as
//! [`ClusterNews`] whenever it comes; how far it is believed is [`crate::attribute::pods`]' to say, beside what cgroups and
//! engines say. All that is read is bounded: answers, lines, pods, names, labels.
//!
//! The crate `kube` was looked at: its watcher keeps whole objects and reads lists and lines without a bound, and it brings
//! sixty crates (tower, k8s-openapi, …) for what is two questions here. These are asked with `reqwest`, which delivers batches
//! already. Its rules are those of <https://kubernetes.io/docs/reference/using-api/api-concepts/>.

mod check;
mod client;
mod namespaces;
mod objects;
mod owners;
mod settings;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod watch;

pub use check::{Checked, check};
pub use settings::{Access, Settings, SettingsError};

use std::io;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::host::{HostRoot, tokens};
use crate::model::kube::ClusterNews;

/// News that wait for the loop; beyond, the cluster is read no further.
const WAITING: usize = 1_024;

/// What a cluster tells, as it comes.
#[derive(Debug)]
pub struct Cluster(mpsc::Receiver<ClusterNews>);

impl Cluster {
    /// Starts to ask, in a thread of its own: reading a list takes too long for the loop. Another looks whose tokens are
    /// mounted, which needs no cluster. Both end with this value.
    ///
    /// # Errors
    /// Where no thread can be had.
    pub fn start(settings: Option<Settings>, host: Arc<HostRoot>) -> io::Result<Self> {
        let (tell, news) = mpsc::channel(WAITING);
        if let Err(error) = tokens::start(host, tell.clone()) {
            tracing::warn!(%error, "whose token is read is not told: the host's mounts cannot be watched");
        }
        let Some(settings) = settings else { return Ok(Self(news)) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new()
            .name("cluster".to_owned())
            .spawn(move || runtime.block_on(watch::ask(&settings, &tell)))?;
        Ok(Self(news))
    }

    /// The next news, if there are any.
    pub fn try_next(&mut self) -> Option<ClusterNews> {
        self.0.try_recv().ok()
    }

    /// The next news. Nothing is lost where this is dropped half-way.
    pub async fn next(&mut self) -> ClusterNews {
        match self.0.recv().await {
            Some(news) => news,
            // The thread has ended: it has nothing more to say.
            None => std::future::pending().await,
        }
    }
}
