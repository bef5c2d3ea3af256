//! One process of /proc.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;

use agent_common::limits::{ARGV_BYTES, PATH_BYTES};
use procfs::FromRead;
use procfs::process::{Stat, Status};

use super::cgroups::Index;
use super::{Found, Reader, parse};
use crate::model::bytes::RawBytes;
use crate::model::process::{
    CredentialIds, ExecImage, FileRef, Origin, Process, ProcessKey, Stdio, StdioKind,
};
use crate::model::time::BootTime;

/// Bytes read of an environment: `ARG_MAX` allows more; what is beyond is marked as truncated.
const ENVIRON_BYTES: u64 = 128 << 10;
/// Readings of one process before it is taken as it is: each time it called exec meanwhile.
const ATTEMPTS: usize = 3;

/// A process, and whether its executable could not be looked at.
pub(super) struct ReadProcess {
    pub(super) found: Found,
    pub(super) unreadable: bool,
}

/// Reads a process; `None` where it is gone, or only waits to be reaped.
pub(super) fn read(
    reader: &Reader<'_>,
    directory: &Path,
    pid: u32,
    tick_ns: u64,
    cgroups: &Index,
) -> Option<ReadProcess> {
    let mut result = None;
    for _ in 0..ATTEMPTS {
        let before = stat(directory)?;
        let exe = fs::read_link(directory.join("exe"));
        let read = read_once(reader, directory, &before, pid, tick_ns, cgroups)?;
        let after = stat(directory)?;
        if (before.starttime, before.ppid) != (after.starttime, after.ppid) {
            continue;
        }
        result = Some(read);
        if exe.ok() == fs::read_link(directory.join("exe")).ok() {
            break;
        }
    }
    result
}

fn read_once(
    reader: &Reader<'_>,
    directory: &Path,
    stat: &Stat,
    pid: u32,
    tick_ns: u64,
    cgroups: &Index,
) -> Option<ReadProcess> {
    let status =
        Status::from_read(File::open(directory.join("status")).ok()?.take(parse::LINES_BYTES)).ok()?;
    let number = |name: &str| parse::number_or_none(&read_limited(&directory.join(name), 32).ok()?);
    let (exe, exe_file, unreadable) = executable(directory);
    let cmdline = read_limited(&directory.join("cmdline"), parse::LINES_BYTES).unwrap_or_default();
    let environ = read_limited(&directory.join("environ"), ENVIRON_BYTES).unwrap_or_default();
    let (markers, preload) = reader.markers.of(&environ);
    let argv = parse::arguments(&cmdline);
    let image = ExecImage {
        filename: exe.clone(),
        interpreter: exe.clone(),
        exe,
        exe_file,
        script: false,
        argument_count: u32::try_from(argv.len()).unwrap_or(u32::MAX),
        argv_truncated: cmdline.len() > ARGV_BYTES,
        argv,
        cwd: fs::read_link(directory.join("cwd"))
            .map(|path| path.as_os_str().as_bytes().into())
            .unwrap_or_default(),
        markers,
        markers_truncated: environ.len() as u64 >= ENVIRON_BYTES,
        preload,
        stdio: [0, 1, 2].map(|fd| stdio(directory, fd)),
        capabilities_permitted: status.capprm,
    };
    let start = BootTime::from_ns(stat.starttime.saturating_mul(tick_ns));
    let process = Process {
        key: ProcessKey { pid, start },
        parent: None,
        namespaced_pid: status
            .nspid
            .and_then(|pids| pids.last().and_then(|&pid| u32::try_from(pid).ok()))
            .unwrap_or(pid),
        image: Arc::new(image),
        ids: CredentialIds {
            uid: status.ruid,
            gid: status.rgid,
            euid: status.euid,
            egid: status.egid,
            capabilities: status.capeff,
            login_uid: number("loginuid"),
            session_id: number("sessionid"),
        },
        cgroup: Arc::new(
            cgroups.find(&read_limited(&directory.join("cgroup"), parse::LINES_BYTES).unwrap_or_default()),
        ),
        namespaces: parse::namespaces(directory),
        origin: Origin::Inventoried,
        since: start,
        exec_count: 0,
        role: None,
        login: Default::default(),
    };
    let parent_pid = u32::try_from(stat.ppid).unwrap_or_default();
    Some(ReadProcess { found: Found { process, parent_pid, read_at: (reader.now)() }, unreadable })
}

/// `stat` of a process that runs; its `comm` may hold anything.
fn stat(directory: &Path) -> Option<Stat> {
    let stat = Stat::from_read(File::open(directory.join("stat")).ok()?.take(PATH_BYTES as u64)).ok()?;
    (!matches!(stat.state, 'Z' | 'X' | 'x')).then_some(stat)
}

/// Path and inode of the executable, and whether it is hidden from us. A kernel thread has none.
fn executable(directory: &Path) -> (RawBytes, FileRef, bool) {
    let link = directory.join("exe");
    let (path, metadata) = match (fs::read_link(&link), fs::metadata(&link)) {
        (Ok(path), Ok(metadata)) => (path, metadata),
        (Err(error), _) | (_, Err(error)) => {
            let hidden = error.kind() == io::ErrorKind::PermissionDenied;
            return (RawBytes::default(), FileRef::default(), hidden);
        }
    };
    let file = FileRef {
        device: device(metadata.dev()),
        inode: metadata.ino(),
        changed: (metadata.ctime(), u32::try_from(metadata.ctime_nsec()).unwrap_or_default()),
        links: u32::try_from(metadata.nlink()).unwrap_or(u32::MAX),
        mode: metadata.mode(),
    };
    let bytes = path.as_os_str().as_bytes();
    // The kernel appends this for an unlinked file; a linked file may be called so.
    let bytes = bytes.strip_suffix(b" (deleted)").filter(|_| file.links == 0).unwrap_or(bytes);
    (bytes.into(), file, false)
}

fn stdio(directory: &Path, fd: u8) -> Stdio {
    let Ok(metadata) = fs::metadata(directory.join(format!("fd/{fd}"))) else { return Stdio::default() };
    let kind = metadata.file_type();
    let kind = match () {
        () if kind.is_fifo() => StdioKind::Pipe,
        () if kind.is_socket() => StdioKind::Socket,
        () if kind.is_char_device() => StdioKind::CharacterDevice,
        () if kind.is_file() => StdioKind::File,
        () => StdioKind::Other,
    };
    Stdio { kind, device: device(metadata.dev()), inode: metadata.ino() }
}

/// A device number as the kernel holds it, from the form that `stat` gives.
fn device(dev: u64) -> u32 {
    (rustix::fs::major(dev) << 20) | rustix::fs::minor(dev)
}

/// The beginning of a file.
pub(super) fn read_limited(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}
