//! From rows to the objects of the JSON form.

use super::schema::{
    Activity, Ancestor, Attempt, Body, Claim, Connection, Container, Counter, Credential, Datagram, Deed,
    Destination, Evidence, FileFacts, Gap, Impairment, Key, Line, Marker, Memory, Moment, Named, Names,
    Process, RawSocket, Reach, Read, Remote, Repeat, Serving, Status, Target, Traffic,
};
use super::text::{always, rfc3339, text, texts};
use crate::model::process::is_memfd;
use crate::model::time::WallTime;
use crate::ship::wire::view::{self, ActivityView, View};
use crate::ship::wire::{names, rows, v1};

impl<'a> From<View<'a>> for Line<'a> {
    fn from(view: View<'a>) -> Self {
        let batch = view.batch();
        let (host, host_b64) = always(&batch.host.name);
        Self {
            id: view.id(),
            seq: view.seq(),
            epoch: batch.epoch,
            host,
            host_b64,
            host_id: &batch.host.id,
            boot_id: &batch.host.boot_id,
            realm: batch.host.realm.as_deref(),
            time: rfc3339(view.wall_time()),
            boot_ns: view.boot_ns(),
            event: view.name(),
            body: match view.body() {
                view::Body::Activity(activity) => Body::Activity(Box::new((&activity).into())),
                view::Body::Repeat(row) => Body::Repeat(repeat(row, batch.wall_time(row.last_ns))),
                view::Body::Gap(row) => Body::Gap(gap(row)),
                view::Body::Status(row) => Body::Status(status(row)),
                view::Body::Unknown => Body::Unknown {},
            },
        }
    }
}

impl<'a> From<&ActivityView<'a>> for Activity<'a> {
    fn from(view: &ActivityView<'a>) -> Self {
        let rows::Attribution {
            identity,
            kind,
            confidence,
            evidence,
            human,
            blended,
            role,
            agent_session,
            owner,
            owner_source,
            login,
            login_from,
            login_tty,
            container: within,
            unit,
            unit_fragment,
            unit_description,
            file,
            agent_version,
        } = view.attribution;
        Self {
            identity,
            identity_kind: kind,
            confidence,
            evidence: evidence.iter().map(fact).collect(),
            human: human.as_deref(),
            blended: blended.iter().map(AsRef::as_ref).collect(),
            role: role.as_deref(),
            agent_session: agent_session.as_deref(),
            owner: owner.as_deref(),
            owner_source: owner_source.as_deref(),
            login: login.as_deref(),
            login_from: login_from.as_deref(),
            login_tty: login_tty.as_deref(),
            agent_version: agent_version.as_deref(),
            container: within.as_deref().map(container),
            unit: unit.as_deref(),
            unit_fragment: unit_fragment.as_deref(),
            unit_description: unit_description.as_deref(),
            file: file.as_deref().map(file_facts),
            process: process(view.process, view.activity.tid),
            moment: moment(view),
            deed: match view.deed {
                view::Deed::Connection(row) => Deed::Connection(connection(view, row)),
                view::Deed::Datagram(row) => Deed::Datagram(datagram(row)),
                view::Deed::Credential(row) => Deed::Credential(credential(row)),
                view::Deed::Update(row) | view::Deed::End(row) => Deed::Traffic(traffic(view, row)),
                view::Deed::Raw(row) => Deed::Raw(raw_socket(row)),
                view::Deed::Attempt(row) => Deed::Attempt(attempt(row)),
                view::Deed::Named(row) => Deed::Named(named(row)),
                view::Deed::Memory(row) => Deed::Memory(memory(view, row)),
                view::Deed::Key(row) => Deed::Key(key(row)),
                view::Deed::Unknown => Deed::Unknown {},
            },
            lineage: view.lineage().map(ancestor).collect(),
            lineage_truncated: view.activity.lineage_truncated,
        }
    }
}

fn container(row: &rows::Container) -> Container<'_> {
    let rows::Container {
        id,
        engine,
        name,
        image,
        tag,
        digest,
        image_id,
        pod,
        pod_namespace,
        pod_uid,
        cluster,
        workload_kind,
        workload,
        service_account,
        pod_labels,
    } = row;
    Container {
        container_id: id,
        container_engine: engine,
        container_name: name.as_deref(),
        image: image.as_deref(),
        image_tag: tag.as_deref(),
        image_digest: digest.as_deref(),
        image_id: image_id.as_deref(),
        pod: pod.as_deref(),
        pod_namespace: pod_namespace.as_deref(),
        pod_uid: pod_uid.as_deref(),
        cluster: cluster.as_deref(),
        workload_kind: workload_kind.as_deref(),
        workload: workload.as_deref(),
        service_account: service_account.as_deref(),
        pod_labels: pod_labels.iter().map(AsRef::as_ref).collect(),
    }
}

fn file_facts(row: &rows::FileFacts) -> FileFacts<'_> {
    let rows::FileFacts { sha256, build_id, package, package_version, modified } = row;
    FileFacts {
        exe_sha256: sha256.as_deref(),
        exe_build_id: build_id.as_deref(),
        exe_package: package.as_deref(),
        exe_package_version: package_version.as_deref(),
        exe_package_modified: *modified,
    }
}

fn process(row: &rows::Process, tid: u32) -> Process<'_> {
    let (exe, exe_b64) = text(&row.exe);
    let (filename, filename_b64) = text(row.filename());
    let (script, script_b64) = if row.script { text(row.filename()) } else { (None, None) };
    let (argv, argv_b64) = texts(&row.argv);
    let (cwd, cwd_b64) = text(&row.cwd);
    let markers = row.markers.iter().map(|rows::Marker { name, value }| {
        let (name, name_b64) = always(name);
        let (value, value_b64) = value.as_ref().map_or((None, None), |value| {
            let (value, exact) = always(value);
            (Some(value), exact)
        });
        Marker { name, name_b64, value, value_b64 }
    });
    let argument_count = row.argument_count();
    let [stdin, stdout, stderr] = match &row.stdio {
        Some(streams) => streams.each_ref().map(|rows::Stdio(kind, ..)| Some(&**kind)),
        None => [None; 3],
    };
    Process {
        pid: row.pid,
        tid,
        start_ns: row.start_ns,
        ns_pid: Some(row.ns_pid.unwrap_or(row.pid)).filter(|pid| *pid != 0),
        ppid: row.parent.map(|(pid, _)| pid),
        parent_start_ns: row.parent.map(|(_, start)| start),
        exe,
        exe_b64,
        exe_device: row.exe_file.map(|file| file.device()),
        exe_inode: row.exe_file.map(|file| file.1),
        exe_deleted: row.exe_file.is_some_and(|file| file.4 == 0),
        exe_memfd: row.exe_file.is_some_and(|file| is_memfd(row.exe.as_bytes(), file.4)),
        filename,
        filename_b64,
        script,
        script_b64,
        argv,
        argv_b64,
        argv_truncated: row.argv_truncated,
        argument_count: (argument_count != 0).then_some(argument_count),
        cwd,
        cwd_b64,
        markers: markers.collect(),
        markers_truncated: row.markers_truncated,
        preload: row.preload,
        stdin,
        stdout,
        stderr,
        origin: &row.origin,
    }
}

fn moment<'a>(view: &ActivityView<'a>) -> Moment<'a> {
    let rows::Ids { uid, gid, euid, egid, capabilities, login_uid, session_id } = *view.ids;
    let rows::Namespaces { mount, network, pid, user } = *view.namespaces;
    let (comm, comm_b64) = text(&view.activity.comm);
    let (cgroup, cgroup_b64) = text(&view.cgroup.path);
    Moment {
        comm,
        comm_b64,
        uid,
        gid,
        euid,
        egid,
        capabilities: format!("{capabilities:016x}"),
        login_uid,
        session_id,
        cgroup_id: view.cgroup.id,
        cgroup,
        cgroup_b64,
        mount_namespace: mount,
        network_namespace: network,
        pid_namespace: pid,
        user_namespace: user,
        hook: &view.activity.hook,
    }
}

fn remote(endpoint: &v1::Endpoint) -> Remote {
    let v1::Endpoint(address, remote_port, v4_mapped) = *endpoint;
    let family = if address.0.is_ipv4() { "ipv4" } else { "ipv6" };
    Remote { family, v4_mapped, remote_address: address.0, remote_port }
}

fn said(names: &v1::Names) -> Names<'_> {
    let claims = names.claims.iter().map(|v1::Claim(name, source, server)| Claim {
        name,
        source,
        server: server.map(|server| server.0),
    });
    Names { name: names.own(), name_claims: claims.collect() }
}

fn named(row: &v1::Named) -> Named<'_> {
    let v1::Named { cookie, protocol, remote: peer, names } = row;
    Named { protocol, remote: remote(peer), names: said(names), cookie: *cookie }
}

fn fact(row: &rows::Evidence) -> Evidence<'_> {
    let rows::Evidence { kind, detail, confidence } = row;
    Evidence { kind, detail, confidence }
}

fn destination<'a>(view: &ActivityView<'a>, row: Option<&'a v1::Destination>) -> Destination<'a> {
    let Some(row) = row else { return Destination::default() };
    let process = view.listening(row);
    let (destination_exe, destination_exe_b64) = process.map_or((None, None), |process| text(&process.exe));
    Destination {
        destination_identity: row.identity.as_deref(),
        destination_kind: row.kind.as_deref(),
        destination_confidence: row.confidence.as_deref(),
        destination_evidence: row.evidence.iter().map(fact).collect(),
        destination_pid: process.map(|process| process.pid),
        destination_start_ns: process.map(|process| process.start_ns),
        destination_exe,
        destination_exe_b64,
    }
}

fn connection<'a>(view: &ActivityView<'a>, row: &'a v1::Connection) -> Connection<'a> {
    let connected = row.connected();
    Connection {
        protocol: &row.protocol,
        remote: remote(&row.asked),
        names: said(&row.names),
        destination: destination(view, row.destination.as_deref()),
        connected_address: connected.map(|endpoint| endpoint.0.0),
        connected_port: connected.map(|endpoint| endpoint.1),
        local_address: row.local.map(|endpoint| endpoint.0.0),
        local_port: row.local.map(|endpoint| endpoint.1),
        outcome: &row.outcome,
        errno: row.errno.and_then(names::errno),
        errno_number: row.errno,
        outcome_reason: row.reason.as_deref(),
        waited_ns: row.waited_ns,
        latency_ns: row.latency_ns,
        held: row.held,
        cookie: row.cookie,
    }
}

fn traffic<'a>(view: &ActivityView<'a>, row: &'a v1::Traffic) -> Traffic<'a> {
    Traffic {
        protocol: &row.protocol,
        remote: remote(&row.remote),
        names: said(&row.names),
        destination: destination(view, row.destination.as_deref()),
        bytes_sent: row.sent,
        bytes_received: row.received,
        duration_ns: row.duration_ns,
        errno: row.errno.and_then(names::errno),
        errno_number: row.errno,
        cookie: row.cookie,
    }
}

fn raw_socket(row: &v1::RawSocket) -> RawSocket<'_> {
    let v1::RawSocket { family, socket_type, protocol } = row;
    RawSocket { socket_family: family, socket_type: socket_type.as_deref(), socket_protocol: *protocol }
}

fn datagram(row: &v1::Datagram) -> Datagram<'_> {
    let v1::Datagram { cookie, protocol, remote: peer, names } = row;
    Datagram { protocol, remote: remote(peer), names: said(names), cookie: *cookie }
}

fn credential(row: &v1::Credential) -> Credential<'_> {
    // A socket of the abstract namespace is no file.
    let file = Some(row.file).filter(|file| *file != rows::File::default());
    let (path, path_b64) = always(&row.path);
    let (other_path, other_path_b64) = row.other_path.as_ref().map_or((None, None), text);
    let token = row.token.as_deref();
    Credential {
        credential: &row.name,
        credential_kind: &row.kind,
        sensitivity: row.sensitivity,
        path,
        path_b64,
        device: file.map(|file| file.device()),
        inode: file.map(|file| file.1),
        file_links: file.map(|file| file.4),
        file_mode: file.map(|file| format!("{:06o}", file.5)),
        access: &row.access,
        truncate: row.truncate,
        matched_by: &row.matched_by,
        how: &row.how,
        other_path,
        other_path_b64,
        expected: row.expected,
        token_of: token.map(|token| &*token.of),
        token_pod: token.and_then(|token| token.pod.as_deref()),
        token_pod_uid: token.map(|token| &*token.pod_uid),
        token_service_account: token.and_then(|token| token.service_account.as_deref()),
    }
}

fn attempt(row: &v1::Attempt) -> Attempt<'_> {
    let (path, path_b64) = always(&row.path);
    let (other_path, other_path_b64) = row.other_path.as_ref().map_or((None, None), text);
    Attempt {
        credential: &row.name,
        credential_kind: &row.kind,
        sensitivity: row.sensitivity,
        path,
        path_b64,
        path_claimed: row.file.is_none(),
        device: row.file.map(|file| file.device()),
        inode: row.file.map(|file| file.1),
        file_links: row.file.map(|file| file.4),
        file_mode: row.file.map(|file| format!("{:06o}", file.5)),
        matched_by: &row.matched_by,
        how: &row.how,
        other_path,
        other_path_b64,
        errno: names::errno(row.errno),
        errno_number: row.errno,
    }
}

fn memory<'a>(view: &ActivityView<'a>, row: &'a v1::Memory) -> Memory<'a> {
    let v1::Memory { target, how, relation, errno } = row;
    let other = view.party(*target);
    Memory {
        how,
        outcome: names::answer(*errno),
        errno: errno.and_then(names::errno),
        errno_number: *errno,
        same_identity: other.is_some_and(|(who, _)| who.identity == view.attribution.identity),
        target: other.map(|(who, process)| {
            let (target_exe, target_exe_b64) = text(&process.exe);
            Target {
                target_identity: &who.identity,
                target_identity_kind: &who.kind,
                target_pid: process.pid,
                target_start_ns: process.start_ns,
                target_exe,
                target_exe_b64,
            }
        }),
        relation,
    }
}

fn key(row: &v1::Key) -> Key<'_> {
    let v1::Key { serial, kind, description, truncated, owner, errno } = row;
    let (key_type, key_type_b64) = kind.as_ref().map_or((None, None), text);
    let (key_description, key_description_b64) = description.as_ref().map_or((None, None), text);
    Key {
        key_serial: *serial,
        key_type,
        key_type_b64,
        key_description,
        key_description_b64,
        key_description_truncated: *truncated,
        key_uid: *owner,
        outcome: names::answer(*errno),
        errno: errno.and_then(names::errno),
        errno_number: *errno,
    }
}

fn ancestor(row: &rows::Process) -> Ancestor<'_> {
    let (exe, exe_b64) = text(&row.exe);
    let (argv, argv_b64) = texts(&row.argv);
    Ancestor { pid: row.pid, start_ns: row.start_ns, exe, exe_b64, argv, argv_b64 }
}

fn repeat(row: &v1::Repeat, last: WallTime) -> Repeat<'_> {
    let v1::Repeat { cookie, remote: peer, memory, read: again, count, last_ns } = row;
    Repeat {
        cookie: *cookie,
        remote: peer.as_ref().map(remote),
        memory: memory.as_ref().map(reach),
        read: again.as_deref().map(|again| Box::new(read(again))),
        count: *count,
        last_boot_ns: *last_ns,
        last_time: rfc3339(last),
    }
}

fn read(row: &v1::Read) -> Read<'_> {
    let v1::Read { identity, exe, exe_file, credential, path, euid } = row;
    let ((exe, exe_b64), (path, path_b64)) = (text(exe), always(path));
    Read {
        identity,
        exe,
        exe_b64,
        exe_device: exe_file.device(),
        exe_inode: exe_file.1,
        euid: *euid,
        credential,
        path,
        path_b64,
    }
}

fn reach(row: &v1::Reach) -> Reach<'_> {
    let v1::Reach { actor, target, how, errno } = row;
    let ((pid, start_ns), (target_pid, target_start_ns)) = (*actor, target.unzip());
    Reach { pid, start_ns, how, outcome: names::answer(*errno), target_pid, target_start_ns }
}

fn gap(row: &v1::Gap) -> Gap<'_> {
    let v1::Gap { stage, cause, family, lost } = row;
    Gap { stage, cause, hook_family: family.as_deref(), lost: *lost }
}

fn status(row: &v1::Status) -> Status<'_> {
    let v1::Status { phase, version, serving, counters, impairments } = row;
    Status {
        phase,
        agent_version: version,
        serving: serving.iter().map(|(capability, hook)| Serving { capability, hook }).collect(),
        impairments: impairments.iter().map(|(cause, what)| Impairment { cause, what }).collect(),
        counters: counters.iter().map(|(name, value)| Counter { name, value: *value }).collect(),
    }
}
