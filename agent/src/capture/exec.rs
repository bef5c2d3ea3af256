//! The exec record: the longest, with seven sections; decoded, and rewritten with another argv.

use agent_common::limits::{ARGV_BYTES, EXEC_NAME_BYTES, MARKER_BYTES, PATH_BYTES};
use agent_common::records::{ExecRecord, StdioIdentity, exec_flag};
use zerocopy::IntoBytes;

use super::decode::{DecodeError, actor, file, fixed, key};
use super::sections::{Tail, plain, reversed_path, strings};
use crate::model::act::Exec;
use crate::model::bytes::RawBytes;
use crate::model::process::{ExecImage, Marker, Stdio, StdioKind};

/// The seven sections of the tail, in their order.
struct Sections<'a> {
    argv: &'a [u8],
    cwd: &'a [u8],
    exe: &'a [u8],
    cgroup: &'a [u8],
    filename: &'a [u8],
    interpreter: &'a [u8],
    markers: &'a [u8],
}

fn split<'a>(record: &ExecRecord, tail: &'a [u8]) -> Result<Sections<'a>, DecodeError> {
    let mut tail = Tail::new(tail);
    Ok(Sections {
        argv: tail.take("argv", record.argv_length, ARGV_BYTES)?,
        cwd: tail.take("working directory", record.cwd_length, PATH_BYTES)?,
        exe: tail.take("executable", record.exe_length, PATH_BYTES)?,
        cgroup: tail.take("cgroup", record.cgroup_length, PATH_BYTES)?,
        filename: tail.take("filename", record.filename_length, EXEC_NAME_BYTES)?,
        interpreter: tail.take("interpreter", record.interp_length, EXEC_NAME_BYTES)?,
        markers: tail.take("markers", record.markers_length, MARKER_BYTES)?,
    })
}

fn arguments(record: &ExecRecord, section: &[u8]) -> Result<Vec<RawBytes>, DecodeError> {
    let cut = record.flags & exec_flag::ARGV_TRUNCATED != 0;
    Ok(strings("argv", section, cut)?.map(RawBytes::from).collect())
}

pub(super) fn decode(bytes: &[u8]) -> Result<Exec, DecodeError> {
    let (record, tail) = fixed::<ExecRecord>("exec", bytes)?;
    let sections = split(&record, tail)?;
    let has = |flag: u32| record.flags & flag != 0;
    let image = ExecImage {
        exe: reversed_path("executable", sections.exe, has(exec_flag::EXE_TRUNCATED))?,
        exe_file: file(&record.exe),
        filename: plain("filename", sections.filename)?.into(),
        interpreter: plain("interpreter", sections.interpreter)?.into(),
        script: has(exec_flag::SCRIPT),
        argv: arguments(&record, sections.argv)?,
        argument_count: record.argc,
        argv_truncated: has(exec_flag::ARGV_TRUNCATED) || has(exec_flag::ARGV_UNREADABLE),
        cwd: reversed_path("working directory", sections.cwd, has(exec_flag::CWD_TRUNCATED))?,
        markers: strings("markers", sections.markers, false)?.map(marker).collect(),
        markers_truncated: has(exec_flag::ENVIRONMENT_TRUNCATED),
        preload: has(exec_flag::PRELOAD),
        stdio: record.stdio.map(|stream| stdio(&stream)),
        capabilities_permitted: record.capabilities_permitted,
    };
    Ok(Exec {
        actor: actor(&record.actor),
        parent: key(record.parent_tgid, record.parent_start_boot_ns),
        namespaced_pid: record.namespaced_pid,
        image,
        cgroup_path: reversed_path("cgroup", sections.cgroup, has(exec_flag::CGROUP_TRUNCATED))?,
    })
}

fn marker(text: &[u8]) -> Marker {
    let mut halves = text.splitn(2, |&byte| byte == b'=');
    Marker { name: halves.next().unwrap_or_default().into(), value: halves.next().map(RawBytes::from) }
}

fn stdio(stream: &StdioIdentity) -> Stdio {
    let kind = match stream.mode & libc::S_IFMT {
        libc::S_IFIFO => StdioKind::Pipe,
        libc::S_IFSOCK => StdioKind::Socket,
        libc::S_IFCHR => StdioKind::CharacterDevice,
        libc::S_IFREG => StdioKind::File,
        // An anonymous inode (eventfd, io_uring) has no type but a number.
        0 if stream.mode == 0 && stream.key.inode == 0 && stream.key.device == 0 => StdioKind::Closed,
        _ => StdioKind::Other,
    };
    Stdio { kind, device: stream.key.device, inode: stream.key.inode }
}

/// The same record with `rewrite(argv)` for its argv. Arguments that no longer fit are cut, and marked so.
pub(super) fn with_argv(
    bytes: &[u8],
    rewrite: &dyn Fn(&[RawBytes]) -> Vec<RawBytes>,
) -> Result<Vec<u8>, DecodeError> {
    let (mut record, tail) = fixed::<ExecRecord>("exec", bytes)?;
    let Sections { argv, cwd, exe, cgroup, filename, interpreter, markers } = split(&record, tail)?;
    let mut section = Vec::with_capacity(argv.len());
    for argument in rewrite(&arguments(&record, argv)?) {
        section.extend_from_slice(argument.as_bytes());
        section.push(0);
    }
    if section.len() > ARGV_BYTES {
        section.truncate(ARGV_BYTES);
        record.flags |= exec_flag::ARGV_TRUNCATED;
    }
    let rest = [cwd, exe, cgroup, filename, interpreter, markers];
    let length = size_of::<ExecRecord>() + section.len() + rest.iter().map(|part| part.len()).sum::<usize>();
    // Both fit: ARGV_BYTES is below 65,536, and so is the sum of all limits.
    record.argv_length = section.len() as u16;
    record.header.length = length as u32;
    let mut out = Vec::with_capacity(length);
    out.extend_from_slice(record.as_bytes());
    out.extend_from_slice(&section);
    for part in rest {
        out.extend_from_slice(part);
    }
    Ok(out)
}

const _: () = assert!(ARGV_BYTES <= u16::MAX as usize);
