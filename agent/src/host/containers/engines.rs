//! What the files of each engine mean. Pure: bytes in, facts out.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::image::is_id;

/// Longest name or label that is kept, in bytes: Kubernetes allows 253, docker and compose use 63.
const NAME_BYTES: usize = 256;
/// Longest selector that is kept, in bytes.
const SELECTOR_BYTES: usize = 512;
/// Selectors of one container, at most.
const SELECTORS: usize = 64;
/// Labels by name.
pub(super) type Labels = BTreeMap<String, String>;

fn kept(text: &str) -> Option<Arc<str>> {
    (!text.is_empty() && text.len() <= NAME_BYTES).then(|| text.into())
}

/// `sha256:…` of what is such a digest, with or without its algorithm.
fn image_id(text: &str) -> Option<Arc<str>> {
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    is_id(hex).then(|| format!("sha256:{hex}").into())
}

/// Docker.
pub mod docker {
    use serde::Deserialize;

    use super::{Labels, SELECTOR_BYTES, SELECTORS, image_id, kept};
    use crate::model::container::{ComposeService, EngineFacts};
    use crate::model::image::{ImageReference, is_id, is_lower_hex};

    const PROJECT: &str = "com.docker.compose.project";
    const SERVICE: &str = "com.docker.compose.service";
    /// A digest of the service's part of the project's file, which compose gives each container and, other than the two
    /// above (`getImageBuildLabels`), no image that it builds (<https://github.com/docker/compose>, `pkg/compose`).
    const HASH: &str = "com.docker.compose.config-hash";

    /// `config.v2.json`: the fields that are looked at of `Container` in `container/container.go`,
    /// <https://github.com/moby/moby>.
    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "PascalCase")]
    pub struct Kept {
        #[serde(default)]
        name: String,
        #[serde(default)]
        driver: String,
        #[serde(default)]
        image: String,
        #[serde(default)]
        config: Config,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Config {
        #[serde(default)]
        image: String,
        labels: Option<Labels>,
    }

    /// An image's configuration (<https://github.com/opencontainers/image-spec/blob/main/config.md>).
    #[derive(Debug, Deserialize)]
    struct Image {
        config: Option<Config>,
    }

    /// Reads a container's file.
    pub fn read(bytes: &[u8]) -> Option<Kept> {
        serde_json::from_slice(bytes).ok()
    }

    /// Reads the labels of an image's configuration.
    pub fn image_labels(bytes: &[u8]) -> Option<Labels> {
        let image: Image = serde_json::from_slice(bytes).ok()?;
        Some(image.config.and_then(|config| config.labels).unwrap_or_default())
    }

    impl Kept {
        /// Where docker keeps the configuration of its image, if it keeps images itself (containerd may).
        pub fn image_config(&self) -> Option<String> {
            let id = self.image.strip_prefix("sha256:").filter(|id| is_id(id))?;
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            let driver =
                Some(&self.driver).filter(|driver| !driver.is_empty() && driver.bytes().all(is_name))?;
            Some(format!("/var/lib/docker/image/{driver}/imagedb/content/sha256/{id}"))
        }

        /// What it says, with the labels of its image where they are known.
        pub fn facts(&self, of_image: Option<&Labels>) -> EngineFacts {
            let id = image_id(&self.image);
            // `docker run 03779c70bd38` is kept as that: an id's beginning, and no name.
            let is_beginning = |name: &str| {
                name.len() >= 4
                    && is_lower_hex(name)
                    && id.as_ref().is_some_and(|id| id["sha256:".len()..].starts_with(name))
            };
            let named = Some(self.config.image.as_str()).filter(|name| !is_beginning(name));
            EngineFacts {
                engine: "docker".into(),
                source: "".into(),
                name: kept(self.name.strip_prefix('/').unwrap_or(&self.name)),
                image: named.and_then(ImageReference::parse),
                image_id: id,
                compose: self.compose(of_image),
                pod: None,
                selectors: self.selectors(),
            }
        }

        /// `getSelectorValuesFromConfig` of `docker/docker.go`, and `image_config_digest`
        /// (<https://github.com/spiffe/spire>), but for the environment, where secrets are.
        fn selectors(&self) -> Vec<std::sync::Arc<str>> {
            let image = Some(&self.config.image).filter(|image| !image.is_empty());
            let image = image.map(|image| format!("docker:image_id:{image}"));
            let digest = image_id(&self.image).map(|id| format!("docker:image_config_digest:{id}"));
            let labels = self.config.labels.iter().flatten();
            let labels = labels.map(|(label, value)| format!("docker:label:{label}:{value}"));
            let fits = |selector: &String| selector.len() <= SELECTOR_BYTES;
            image
                .into_iter()
                .chain(digest)
                .chain(labels)
                .filter(fits)
                .take(SELECTORS)
                .map(Into::into)
                .collect()
        }

        /// An image has labels too, and a container begins with those of its image: who makes an image could call its
        /// containers as he likes. So the hash must be there, and not be the image's.
        fn compose(&self, of_image: Option<&Labels>) -> Option<ComposeService> {
            let (labels, of_image) = (self.config.labels.as_ref()?, of_image?);
            let hash = labels.get(HASH)?;
            if of_image.get(HASH).is_some_and(|of_image| of_image == hash) {
                return None;
            }
            Some(ComposeService {
                project: kept(labels.get(PROJECT)?)?,
                service: kept(labels.get(SERVICE)?)?,
            })
        }
    }
}

/// Podman.
pub mod podman {
    use serde::Deserialize;

    use super::{image_id, kept};
    use crate::model::container::EngineFacts;
    use crate::model::image::ImageReference;

    /// `Container` of `containers.go`, <https://github.com/containers/storage>.
    #[derive(Debug, Deserialize)]
    struct Listed {
        id: String,
        #[serde(default)]
        image: String,
        #[serde(default)]
        metadata: String,
    }

    /// `RuntimeContainerMetadata` of `libpod/storage.go`, <https://github.com/containers/podman>. CRI-O lists its
    /// containers here too, with the same names and a pod's besides: its own file tells more.
    #[derive(Debug, Deserialize)]
    struct Metadata {
        #[serde(default, rename = "image-name")]
        image_name: String,
        #[serde(default)]
        name: String,
        #[serde(default, rename = "pod-id")]
        pod_id: String,
    }

    /// A container in the list.
    ///
    /// # Errors
    /// Where it is no such list.
    pub fn find(bytes: &[u8], id: &str) -> Result<Option<EngineFacts>, serde_json::Error> {
        let listed: Vec<Listed> = serde_json::from_slice(bytes)?;
        let Some(Listed { image, metadata, .. }) = listed.into_iter().find(|listed| listed.id == id) else {
            return Ok(None);
        };
        let Ok(metadata) = serde_json::from_str::<Metadata>(&metadata) else { return Ok(None) };
        if !metadata.pod_id.is_empty() {
            return Ok(None);
        }
        Ok(Some(EngineFacts {
            engine: "podman".into(),
            source: "".into(),
            name: kept(&metadata.name),
            image: ImageReference::parse_qualified(&metadata.image_name),
            image_id: image_id(&image),
            compose: None,
            pod: None,
            selectors: Vec::new(),
        }))
    }
}

/// Engines of Kubernetes: by the annotations of the container's OCI specification.
pub mod cri {
    use serde::Deserialize;

    use super::{Labels, image_id, kept};
    use crate::model::container::{EngineFacts, Pod};
    use crate::model::image::ImageReference;

    #[derive(Debug, Deserialize)]
    struct Specification {
        #[serde(default)]
        annotations: Labels,
    }

    #[derive(Debug, Deserialize)]
    struct Metadata {
        #[serde(default)]
        name: String,
    }

    fn annotations(bytes: &[u8]) -> Option<Labels> {
        serde_json::from_slice::<Specification>(bytes).ok().map(|specification| specification.annotations)
    }

    /// `DefaultCRIAnnotations` of `pkg/cri/annotations/annotations.go`, <https://github.com/containerd/containerd>: they
    /// are set behind what a pod's own annotations may say. A sandbox has no image here: it is the pause container's.
    pub fn containerd(bytes: &[u8]) -> Option<EngineFacts> {
        let annotations = annotations(bytes)?;
        let get = |name: &str| annotations.get(&format!("io.kubernetes.cri.{name}")).map(String::as_str);
        get("container-type")?;
        let pod = |name| get(name).and_then(kept);
        Some(EngineFacts {
            engine: "containerd".into(),
            source: "".into(),
            name: get("container-name").and_then(kept),
            image: get("image-name").and_then(ImageReference::parse),
            image_id: None,
            compose: None,
            pod: pod("sandbox-name").map(|name| Pod {
                name,
                namespace: pod("sandbox-namespace").unwrap_or_default(),
                uid: pod("sandbox-uid").unwrap_or_default(),
            }),
            selectors: Vec::new(),
        })
    }

    /// `SpecAddAnnotations` of `internal/factory/container/container.go`, <https://github.com/cri-o/cri-o>: behind those of
    /// the pod, which its author writes, so only the names that it sets itself are read: `io.kubernetes.pod.name` is none.
    pub fn crio(bytes: &[u8]) -> Option<EngineFacts> {
        let annotations = annotations(bytes)?;
        let get = |name: &str| annotations.get(&format!("io.kubernetes.cri-o.{name}")).map(String::as_str);
        // Podman's specifications lie there too.
        let kind = get("ContainerType")?;
        let metadata = get("Metadata").and_then(|text| serde_json::from_str::<Metadata>(text).ok());
        let name = metadata.filter(|_| kind == "container").and_then(|metadata| kept(&metadata.name));
        Some(EngineFacts {
            engine: "crio".into(),
            source: "".into(),
            name,
            image: get("ImageName").filter(|_| kind == "container").and_then(ImageReference::parse_qualified),
            image_id: get("ImageRef").and_then(image_id),
            compose: None,
            pod: get("SandboxName").and_then(pod),
            selectors: Vec::new(),
        })
    }

    /// `k8s_POD_NAMESPACE_UID_ATTEMPT` (`makeSandboxName` of `internal/factory/sandbox`): no name in Kubernetes has a `_`.
    fn pod(sandbox: &str) -> Option<Pod> {
        let parts: Vec<&str> = sandbox.split('_').collect();
        let ["k8s", name, namespace, uid, _attempt] = parts.as_slice() else { return None };
        Some(Pod { name: kept(name)?, namespace: kept(namespace)?, uid: kept(uid)? })
    }
}
