//! What a cluster tells of the pods of this node: asked of its API server, or of the node's kubelet, by a thread of its own; and,
//! where it is configured, of the addresses of all pods and Services (`peers`).
//!
//! The cluster may be slow, down, or lie: nothing on the event path waits for it. What it says comes as
//! [`ClusterNews`] whenever it comes; how far it is believed is [`crate::attribute::pods`]' to say, beside what cgroups and
//! engines say. All that is read is bounded: answers, lines, pods, names, labels.
//!
//! The crate `kube` was looked at: its watcher keeps whole objects and reads lists and lines without a bound, and it brings
//! sixty crates (tower, k8s-openapi, …) for what is a handful of questions here. These are asked with `reqwest`, which delivers batches
//! already. Its rules are those of <https://kubernetes.io/docs/reference/using-api/api-concepts/>.

mod check;
mod client;
mod namespaces;
mod objects;
mod owners;
mod peers;
mod reflect;
mod services;
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

use self::watch::Pace;
use crate::host::{HostRoot, tokens};
use crate::model::kube::ClusterNews;
use crate::model::peer::PeerNews;

/// News that wait for the loop; beyond, the cluster is read no further.
const WAITING: usize = 1_024;

/// What a cluster tells, as it comes.
#[derive(Debug)]
pub struct Cluster {
    news: mpsc::Receiver<ClusterNews>,
    /// Of addresses, which are many: what is told of this node's pods does not wait behind them.
    peers: mpsc::Receiver<PeerNews>,
}

impl Cluster {
    /// Starts to ask, in a thread of its own: reading a list takes too long for the loop. Another looks whose tokens are
    /// mounted, which needs no cluster. Both end with this value.
    ///
    /// # Errors
    /// Where no thread can be had.
    pub fn start(settings: Option<Settings>, host: Arc<HostRoot>) -> io::Result<Self> {
        let (tell, news) = mpsc::channel(WAITING);
        let (tell_peers, peers) = mpsc::channel(WAITING);
        let cluster = Self { news, peers };
        if let Err(error) = tokens::start(host, tell.clone()) {
            tracing::warn!(%error, "whose token is read is not told: the host's mounts cannot be watched");
        }
        let Some(settings) = settings else { return Ok(cluster) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("cluster".to_owned()).spawn(move || {
            let (name, named) = tokio::sync::watch::channel(None);
            runtime.block_on(async {
                tokio::join!(
                    watch::ask(&settings, &tell, &name),
                    peers::ask(&settings, &tell_peers, named, Pace::default())
                )
            })
        })?;
        Ok(cluster)
    }

    /// The next news, if there are any.
    pub fn try_next(&mut self) -> Option<ClusterNews> {
        let peers = || self.peers.try_recv().ok().map(ClusterNews::Peers);
        self.news.try_recv().ok().or_else(peers)
    }

    /// The next news. Nothing is lost where this is dropped half-way.
    pub async fn next(&mut self) -> ClusterNews {
        tokio::select! {
            biased;
            Some(news) = self.news.recv() => news,
            Some(news) = self.peers.recv() => ClusterNews::Peers(news),
            // The thread has ended: it has nothing more to say.
            else => std::future::pending().await,
        }
    }
}
