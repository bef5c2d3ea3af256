//! The objects of the JSON form. docs/events.md says what each field means; the names here are that contract.

use std::borrow::Cow;
use std::net::IpAddr;

use serde::Serialize;

/// Text that a batch or this program owns.
pub(super) type Str<'a> = Cow<'a, str>;

#[derive(Serialize)]
pub(super) struct Line<'a> {
    pub(super) id: String,
    pub(super) seq: u64,
    pub(super) epoch: u64,
    pub(super) host: Str<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) host_b64: Option<String>,
    pub(super) host_id: &'a str,
    pub(super) boot_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) realm: Option<&'a str>,
    pub(super) time: String,
    pub(super) boot_ns: u64,
    pub(super) event: &'static str,
    #[serde(flatten)]
    pub(super) body: Body<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Body<'a> {
    Activity(Box<Activity<'a>>),
    Repeat(Repeat<'a>),
    Gap(Gap<'a>),
    Status(Status<'a>),
    Unknown {},
}

#[derive(Serialize)]
pub(super) struct Activity<'a> {
    pub(super) identity: &'a str,
    pub(super) identity_kind: &'a str,
    pub(super) confidence: &'a str,
    pub(super) evidence: Vec<Evidence<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) human: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) blended: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) role: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) agent_session: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) owner: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) owner_source: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) login: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) login_from: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) login_tty: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) agent_version: Option<&'a str>,
    #[serde(flatten)]
    pub(super) container: Option<Container<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unit: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unit_fragment: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unit_description: Option<&'a str>,
    #[serde(flatten)]
    pub(super) file: Option<FileFacts<'a>>,
    #[serde(flatten)]
    pub(super) process: Process<'a>,
    #[serde(flatten)]
    pub(super) moment: Moment<'a>,
    #[serde(flatten)]
    pub(super) deed: Deed<'a>,
    pub(super) lineage: Vec<Ancestor<'a>>,
    pub(super) lineage_truncated: bool,
}

#[derive(Serialize)]
pub(super) struct Container<'a> {
    pub(super) container_id: &'a str,
    pub(super) container_engine: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) container_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) image: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) image_tag: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) image_digest: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) image_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pod: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pod_namespace: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pod_uid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cluster: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) workload_kind: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) workload: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) service_account: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) pod_labels: Vec<&'a str>,
}

#[derive(Serialize)]
pub(super) struct FileFacts<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) exe_sha256: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) exe_build_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) exe_package: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) exe_package_version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) exe_package_modified: Option<bool>,
}

#[derive(Serialize)]
pub(super) struct Evidence<'a> {
    pub(super) kind: &'a str,
    pub(super) detail: &'a str,
    pub(super) confidence: &'a str,
}

#[derive(Serialize)]
pub(super) struct Process<'a> {
    pub(super) pid: u32,
    pub(super) tid: u32,
    pub(super) start_ns: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ns_pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ppid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) parent_start_ns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) exe: Option<Str<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) exe_b64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) exe_device: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) exe_inode: Option<u64>,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) exe_deleted: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) exe_memfd: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) filename: Option<Str<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) filename_b64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) script: Option<Str<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) script_b64: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) argv: Vec<Str<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) argv_b64: Option<Vec<String>>,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) argv_truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) argument_count: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cwd: Option<Str<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cwd_b64: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) markers: Vec<Marker<'a>>,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) markers_truncated: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) preload: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stdin: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stdout: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stderr: Option<&'a str>,
    pub(super) origin: &'a str,
}

#[derive(Serialize)]
pub(super) struct Marker<'a> {
    pub(super) name: Str<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name_b64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) value: Option<Str<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) value_b64: Option<String>,
}

/// The process at the moment of the act.
#[derive(Serialize)]
pub(super) struct Moment<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) comm: Option<Str<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) comm_b64: Option<String>,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) euid: u32,
    pub(super) egid: u32,
    pub(super) capabilities: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) login_uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) session_id: Option<u32>,
    pub(super) cgroup_id: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cgroup: Option<Str<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cgroup_b64: Option<String>,
    pub(super) mount_namespace: u32,
    pub(super) network_namespace: u32,
    pub(super) pid_namespace: u32,
    pub(super) user_namespace: u32,
    pub(super) hook: &'a str,
}

#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Deed<'a> {
    Connection(Connection<'a>),
    Datagram(Datagram<'a>),
    Credential(Credential<'a>),
    Traffic(Traffic<'a>),
    Raw(RawSocket<'a>),
    Attempt(Attempt<'a>),
    Named(Named<'a>),
    Memory(Memory<'a>),
    Key(Key<'a>),
    Unknown {},
}

#[derive(Serialize)]
pub(super) struct Remote {
    pub(super) family: &'static str,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) v4_mapped: bool,
    pub(super) remote_address: IpAddr,
    pub(super) remote_port: u16,
}

#[derive(Serialize)]
pub(super) struct Names<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) name_claims: Vec<Claim<'a>>,
}

#[derive(Serialize)]
pub(super) struct Claim<'a> {
    pub(super) name: &'a str,
    pub(super) source: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) server: Option<IpAddr>,
}

#[derive(Default, Serialize)]
pub(super) struct Destination<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) destination_identity: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) destination_kind: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) destination_confidence: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) destination_evidence: Vec<Evidence<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) destination_pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) destination_start_ns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) destination_exe: Option<Str<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) destination_exe_b64: Option<String>,
}

#[derive(Serialize)]
pub(super) struct Named<'a> {
    pub(super) protocol: &'a str,
    #[serde(flatten)]
    pub(super) remote: Remote,
    #[serde(flatten)]
    pub(super) names: Names<'a>,
    pub(super) cookie: u64,
}

#[derive(Serialize)]
pub(super) struct Connection<'a> {
    pub(super) protocol: &'a str,
    #[serde(flatten)]
    pub(super) remote: Remote,
    #[serde(flatten)]
    pub(super) names: Names<'a>,
    #[serde(flatten)]
    pub(super) destination: Destination<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) connected_address: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) connected_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) local_address: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) local_port: Option<u16>,
    pub(super) outcome: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) errno: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) errno_number: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) outcome_reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) waited_ns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) latency_ns: Option<u64>,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) held: bool,
    pub(super) cookie: u64,
}

#[derive(Serialize)]
pub(super) struct Traffic<'a> {
    pub(super) protocol: &'a str,
    #[serde(flatten)]
    pub(super) remote: Remote,
    #[serde(flatten)]
    pub(super) names: Names<'a>,
    #[serde(flatten)]
    pub(super) destination: Destination<'a>,
    pub(super) bytes_sent: u64,
    pub(super) bytes_received: u64,
    pub(super) duration_ns: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) errno: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) errno_number: Option<u32>,
    pub(super) cookie: u64,
}

#[derive(Serialize)]
pub(super) struct RawSocket<'a> {
    pub(super) socket_family: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) socket_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) socket_protocol: Option<u16>,
}

#[derive(Serialize)]
pub(super) struct Datagram<'a> {
    pub(super) protocol: &'a str,
    #[serde(flatten)]
    pub(super) remote: Remote,
    #[serde(flatten)]
    pub(super) names: Names<'a>,
    pub(super) cookie: u64,
}

#[derive(Serialize)]
pub(super) struct Credential<'a> {
    pub(super) credential: &'a str,
    pub(super) credential_kind: &'a str,
    pub(super) sensitivity: u8,
    pub(super) path: Str<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) path_b64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) device: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) inode: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) file_links: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) file_mode: Option<String>,
    pub(super) access: &'a str,
    pub(super) truncate: bool,
    pub(super) matched_by: &'a str,
    pub(super) how: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) other_path: Option<Str<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) other_path_b64: Option<String>,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) expected: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) token_of: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) token_pod: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) token_pod_uid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) token_service_account: Option<&'a str>,
}

#[derive(Serialize)]
pub(super) struct Attempt<'a> {
    pub(super) credential: &'a str,
    pub(super) credential_kind: &'a str,
    pub(super) sensitivity: u8,
    pub(super) path: Str<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) path_b64: Option<String>,
    pub(super) path_claimed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) device: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) inode: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) file_links: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) file_mode: Option<String>,
    pub(super) matched_by: &'a str,
    pub(super) how: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) other_path: Option<Str<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) other_path_b64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) errno: Option<&'static str>,
    pub(super) errno_number: u32,
}

#[derive(Serialize)]
pub(super) struct Memory<'a> {
    pub(super) how: &'a str,
    pub(super) outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) errno: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) errno_number: Option<u32>,
    #[serde(flatten)]
    pub(super) target: Option<Target<'a>>,
    pub(super) same_identity: bool,
    pub(super) relation: &'a str,
}

#[derive(Serialize)]
pub(super) struct Target<'a> {
    pub(super) target_identity: &'a str,
    pub(super) target_identity_kind: &'a str,
    pub(super) target_pid: u32,
    pub(super) target_start_ns: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) target_exe: Option<Str<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) target_exe_b64: Option<String>,
}

#[derive(Serialize)]
pub(super) struct Key<'a> {
    pub(super) key_serial: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) key_type: Option<Str<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) key_type_b64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) key_description: Option<Str<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) key_description_b64: Option<String>,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) key_description_truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) key_uid: Option<u32>,
    pub(super) outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) errno: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) errno_number: Option<u32>,
}

#[derive(Serialize)]
pub(super) struct Reach<'a> {
    pub(super) pid: u32,
    pub(super) start_ns: u64,
    pub(super) how: &'a str,
    pub(super) outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) target_pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) target_start_ns: Option<u64>,
}

#[derive(Serialize)]
pub(super) struct Ancestor<'a> {
    pub(super) pid: u32,
    pub(super) start_ns: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) exe: Option<Str<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) exe_b64: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) argv: Vec<Str<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) argv_b64: Option<Vec<String>>,
}

#[derive(Serialize)]
pub(super) struct Repeat<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cookie: Option<u64>,
    #[serde(flatten)]
    pub(super) remote: Option<Remote>,
    #[serde(flatten)]
    pub(super) memory: Option<Reach<'a>>,
    #[serde(flatten)]
    pub(super) read: Option<Box<Read<'a>>>,
    pub(super) count: u64,
    pub(super) last_boot_ns: u64,
    pub(super) last_time: String,
}

#[derive(Serialize)]
pub(super) struct Read<'a> {
    pub(super) identity: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) exe: Option<Str<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) exe_b64: Option<String>,
    pub(super) exe_device: String,
    pub(super) exe_inode: u64,
    pub(super) euid: u32,
    pub(super) credential: &'a str,
    pub(super) path: Str<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) path_b64: Option<String>,
}

#[derive(Serialize)]
pub(super) struct Gap<'a> {
    pub(super) stage: &'a str,
    pub(super) cause: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hook_family: Option<&'a str>,
    pub(super) lost: u64,
}

#[derive(Serialize)]
pub(super) struct Status<'a> {
    pub(super) phase: &'a str,
    pub(super) agent_version: &'a str,
    pub(super) serving: Vec<Serving<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) impairments: Vec<Impairment<'a>>,
    pub(super) counters: Vec<Counter<'a>>,
}

#[derive(Serialize)]
pub(super) struct Impairment<'a> {
    pub(super) cause: &'a str,
    pub(super) what: &'a str,
}

#[derive(Serialize)]
pub(super) struct Serving<'a> {
    pub(super) capability: &'a str,
    pub(super) hook: &'a str,
}

#[derive(Serialize)]
pub(super) struct Counter<'a> {
    pub(super) name: &'a str,
    pub(super) value: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_false(value: &bool) -> bool {
    !value
}
