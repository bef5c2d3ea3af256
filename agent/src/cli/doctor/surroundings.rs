//! What is around the host: the container engines that run there, and the cluster that it is a node of.

use std::path::Path;

use super::{HostLine, NO, YES};
use crate::config::Config;
use crate::host::HostRoot;
use crate::host::containers::{EngineFound, engines};
use crate::kernel::probe::HostProbe;
use crate::kube::{Checked, Settings, check};
use crate::ship::host::read_host;

/// How what is asked of a cluster that is configured is called.
pub(super) const OF_CLUSTER: &str = "cluster_";
/// What a kubelet keeps: the host is a node.
const KUBELET: &str = "/var/lib/kubelet";

/// Looks at both.
pub(super) fn look(probe: &HostProbe, config: Option<&Path>, node_name: Option<&str>) -> Vec<HostLine> {
    let Some(host) = probe.host_root.as_deref() else { return Vec::new() };
    let mut lines = vec![of_engines(&engines(host))];
    lines.extend(of_cluster(host, config, node_name));
    lines
}

fn line(name: &'static str, state: &'static str, detail: String, remedy: Option<String>) -> HostLine {
    HostLine { name, state, required: false, detail, remedy }
}

fn of_engines(found: &[EngineFound]) -> HostLine {
    const NAME: &str = "container_engines";
    if found.is_empty() {
        let detail = "none keeps anything where engines do: containers of others are told by engine and id";
        return line(NAME, YES, detail.to_owned(), None);
    }
    let said = |one: &EngineFound| match one.problem {
        None => format!("{} ({})", one.engine, one.path),
        Some(problem) => format!("{} ({}: {problem})", one.engine, one.path),
    };
    let detail = found.iter().map(said).collect::<Vec<_>>().join(", ");
    if found.iter().all(|one| one.problem.is_none()) {
        return line(NAME, YES, detail, None);
    }
    let remedy =
        "let root alone write there (chmod go-w, chown root), and run as root or with CAP_DAC_READ_SEARCH";
    line(NAME, NO, format!("{detail}: containers are told by engine and id"), Some(remedy.to_owned()))
}

fn of_cluster(host: &HostRoot, config: Option<&Path>, node_name: Option<&str>) -> Vec<HostLine> {
    const NAME: &str = "cluster";
    let settings = || -> Result<Option<Settings>, String> {
        let config = Config::load(config).map_err(|error| error.to_string())?;
        let node_name = config.node_name(node_name).map_err(|error| error.to_string())?;
        let Some(settings) = Settings::new(&config.kubernetes).map_err(|error| error.to_string())? else {
            return Ok(None);
        };
        let about = read_host(host, node_name.as_deref(), None).map_err(|error| error.to_string())?;
        let node = String::from_utf8_lossy(about.name.as_bytes()).to_lowercase();
        Ok(Some(Settings { node, ..settings }))
    };
    let settings = match settings() {
        Ok(Some(settings)) => settings,
        Ok(None) if host.open(Path::new(KUBELET), rustix::fs::OFlags::PATH).is_ok() => {
            let detail = format!(
                "the host is a node ({KUBELET}), and no cluster is configured: pods are told by their images"
            );
            let remedy =
                "name kubernetes.server or kubernetes.kubelet in the configuration, or run as the DaemonSet";
            return vec![line(NAME, NO, detail, Some(remedy.to_owned()))];
        }
        Ok(None) => {
            let detail = "none is configured, and the host is no node of one".to_owned();
            return vec![line(NAME, YES, detail, None)];
        }
        Err(error) => {
            let remedy = "mend the configuration".to_owned();
            return vec![line(NAME, NO, error, Some(remedy))];
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return vec![line(NAME, NO, format!("it cannot be asked: {error}"), None)],
    };
    runtime.block_on(check(&settings)).into_iter().map(of_answer).collect()
}

fn of_answer(Checked { what, is_served, detail, remedy }: Checked) -> HostLine {
    let name = match what {
        "pods" => "cluster_pods",
        "pods_watched" => "cluster_pods_watched",
        "namespaces" => "cluster_namespaces",
        "replicasets" => "cluster_replicasets",
        "destination_pods" => "cluster_destination_pods",
        "destination_pods_watched" => "cluster_destination_pods_watched",
        "services" => "cluster_services",
        "services_watched" => "cluster_services_watched",
        "endpointslices" => "cluster_endpointslices",
        "endpointslices_watched" => "cluster_endpointslices_watched",
        _ => "cluster_jobs",
    };
    line(name, if is_served { YES } else { NO }, detail, remedy)
}
