//! Ring records made by hand: what the kernel side would have written, for tests of all that reads them.

use std::net::{IpAddr, SocketAddr};

use agent_common::keys::InodeKey;
use agent_common::limits::{COMM_BYTES, KEY_TYPE_BYTES};
use agent_common::records::{
    Actor, AnswerRecord, CgroupRecord, ConnectRecord, ExecRecord, ExitRecord, FileIdentity, FileRecord,
    ForkRecord, Header, HelloRecord, KeyRecord, ListenEndRecord, ListenRecord, MemoryRecord, OutcomeRecord,
    RawSocketRecord, StdioIdentity, TrafficRecord, acquired, exec_flag, file_flag, hook, kind, outcome,
};
use agent_common::rings::Ring;
use zerocopy::{FromZeros, IntoBytes};

/// The network of all that connect, by its cookie.
pub const NETWORK_COOKIE: u64 = 1;

/// A stream of records, numbered per CPU and timed as a kernel would.
#[derive(Clone, Debug)]
pub struct Stream {
    /// CPU that writes the next record.
    pub cpu: u32,
    /// Boot time of the next record, ns. Each record moves it on by 1 µs.
    pub time_boot_ns: u64,
    next: Vec<u64>,
}

/// What an exec record says beside its actor; lists are as userspace will see them.
#[derive(Clone, Debug, Default)]
pub struct ExecSpec<'a> {
    /// Arguments.
    pub argv: &'a [&'a [u8]],
    /// Executable's path, from `/`.
    pub exe: &'a str,
    /// Working directory, from `/`.
    pub cwd: &'a str,
    /// Path of the cgroup, from `/`.
    pub cgroup: &'a str,
    /// Path given to exec; `exe` where empty.
    pub filename: &'a str,
    /// Interpreter; `exe` where empty.
    pub interpreter: &'a str,
    /// `NAME` or `NAME=VALUE`.
    pub markers: &'a [&'a str],
    /// [`exec_flag`] beside those that follow from the rest.
    pub flags: u32,
    /// Standard input, output, error: (device, inode, mode).
    pub stdio: [(u32, u64, u32); 3],
    /// Parent's pid and start.
    pub parent: (u32, u64),
}

impl Stream {
    /// A stream on CPU 0 that begins at `time_boot_ns`.
    pub const fn new(time_boot_ns: u64) -> Self {
        Self { cpu: 0, time_boot_ns, next: Vec::new() }
    }

    /// Takes a number without a record: a loss.
    pub fn lose(&mut self) {
        self.number();
    }

    /// The numbers that each CPU would give next.
    pub fn next_numbers(&self) -> &[u64] {
        &self.next
    }

    fn number(&mut self) -> u64 {
        let cpu = self.cpu as usize;
        if self.next.len() <= cpu {
            self.next.resize(cpu + 1, 0);
        }
        self.next.get_mut(cpu).map_or(0, |next| {
            *next += 1;
            *next - 1
        })
    }

    fn header(&mut self, kind: u16, hook: u16, length: usize) -> Header {
        let sequence = self.number();
        self.time_boot_ns += 1_000;
        let time_boot_ns = self.time_boot_ns;
        Header {
            length: length as u32,
            kind,
            hook,
            sequence,
            time_boot_ns,
            cpu: self.cpu,
            ring: Ring::Process as u32,
        }
    }

    /// `actor` makes `child` (pid, start).
    pub fn fork(&mut self, actor: &Actor, child: (u32, u64)) -> Vec<u8> {
        let header = self.header(kind::FORK, hook::SCHED_PROCESS_FORK, size_of::<ForkRecord>());
        let record = ForkRecord {
            header,
            actor: *actor,
            child_start_boot_ns: child.1,
            parent_start_boot_ns: actor.start_boot_ns,
            child_tgid: child.0,
            parent_tgid: actor.tgid,
            child_namespaced_pid: child.0,
            tag: 0,
        };
        record.as_bytes().to_vec()
    }

    /// `actor` runs a new program.
    pub fn exec(&mut self, actor: &Actor, spec: &ExecSpec<'_>) -> Vec<u8> {
        let or_exe = |text: &str| if text.is_empty() { spec.exe.to_owned() } else { text.to_owned() };
        let (filename, interpreter) = (or_exe(spec.filename), or_exe(spec.interpreter));
        let sections: [Vec<u8>; 7] = [
            terminated(spec.argv.iter().copied()),
            reversed(spec.cwd),
            reversed(spec.exe),
            reversed(spec.cgroup),
            terminated([filename.as_bytes()]),
            terminated([interpreter.as_bytes()]),
            terminated(spec.markers.iter().map(|marker| marker.as_bytes())),
        ];
        let length = size_of::<ExecRecord>() + sections.iter().map(Vec::len).sum::<usize>();
        let header = self.header(kind::EXEC, hook::SCHED_PROCESS_EXEC, length);
        let [argv, cwd, exe, cgroup, filename_section, interp, markers] =
            sections.each_ref().map(|section| section.len() as u16);
        let record = ExecRecord {
            header,
            actor: *actor,
            exe: file_identity(8 << 20 | 1, 77),
            parent_start_boot_ns: spec.parent.1,
            capabilities_permitted: 0,
            stdio: spec.stdio.map(|(device, inode, mode)| StdioIdentity {
                key: InodeKey { inode, device, reserved: 0 },
                mode,
                reserved: 0,
            }),
            parent_tgid: spec.parent.0,
            namespaced_pid: actor.tgid,
            argc: spec.argv.len() as u32,
            flags: spec.flags | if filename == interpreter { 0 } else { exec_flag::SCRIPT },
            argv_length: argv,
            cwd_length: cwd,
            exe_length: exe,
            cgroup_length: cgroup,
            filename_length: filename_section,
            interp_length: interp,
            markers_length: markers,
            reserved: 0,
        };
        let mut bytes = record.as_bytes().to_vec();
        bytes.extend(sections.concat());
        bytes
    }

    /// `actor` ends.
    pub fn exit(&mut self, actor: &Actor, wait_status: u32) -> Vec<u8> {
        let header = self.header(kind::EXIT, hook::SCHED_PROCESS_EXIT, size_of::<ExitRecord>());
        ExitRecord { header, actor: *actor, wait_status, reserved: 0 }.as_bytes().to_vec()
    }

    /// `actor` asks for a TCP connection.
    pub fn connect(&mut self, actor: &Actor, cookie: u64, remote: SocketAddr) -> Vec<u8> {
        let hook = if remote.is_ipv4() { hook::CGROUP_CONNECT4 } else { hook::CGROUP_CONNECT6 };
        self.peer_record(kind::CONNECT, hook, actor, cookie, remote, libc::IPPROTO_TCP, libc::SOCK_STREAM)
    }

    /// `actor` sends the first datagram of a socket to a peer.
    pub fn datagram(&mut self, actor: &Actor, cookie: u64, remote: SocketAddr) -> Vec<u8> {
        let hook = if remote.is_ipv4() { hook::CGROUP_SENDMSG4 } else { hook::CGROUP_SENDMSG6 };
        self.peer_record(kind::DATAGRAM, hook, actor, cookie, remote, libc::IPPROTO_UDP, libc::SOCK_DGRAM)
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one record, each of another type")]
    fn peer_record(
        &mut self,
        kind: u16,
        hook: u16,
        actor: &Actor,
        cookie: u64,
        remote: SocketAddr,
        protocol: i32,
        socket_type: i32,
    ) -> Vec<u8> {
        let header = self.header(kind, hook, size_of::<ConnectRecord>());
        let (family, address_be) = address(remote.ip());
        let record = ConnectRecord {
            header,
            actor: *actor,
            cookie,
            address_be,
            port: remote.port(),
            family,
            protocol: protocol as u16,
            socket_type: socket_type as u16,
            network_cookie: NETWORK_COOKIE,
        };
        record.as_bytes().to_vec()
    }

    /// A TCP attempt ended: one of [`outcome`], with its errno.
    pub fn outcome(&mut self, cookie: u64, outcome: u16, errno: u32, remote: SocketAddr) -> Vec<u8> {
        self.outcome_record(cookie, outcome, errno, remote).as_bytes().to_vec()
    }

    fn outcome_record(&mut self, cookie: u64, outcome: u16, errno: u32, remote: SocketAddr) -> OutcomeRecord {
        let header = self.header(kind::OUTCOME, hook::INET_SOCK_SET_STATE, size_of::<OutcomeRecord>());
        let (family, remote_address_be) = address(remote.ip());
        let local_address_be =
            if remote.is_ipv4() { [127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] } else { [0; 16] };
        OutcomeRecord {
            header,
            cookie,
            remote_address_be,
            local_address_be,
            remote_port: remote.port(),
            local_port: 40_000,
            family,
            outcome,
            errno,
            protocol: libc::IPPROTO_TCP as u32,
            actor: actor(0, 0),
            asked_boot_ns: 0,
            network_cookie: 0,
            asked_address_be: [0; 16],
            asked_port: 0,
            asked_family: 0,
            reserved: 0,
        }
    }

    /// An attempt of `actor` was established, which says what was attempted.
    pub fn outcome_of(&mut self, cookie: u64, actor: &Actor) -> Vec<u8> {
        let remote = SocketAddr::from(([127, 0, 0, 1], 443));
        let mut record = self.outcome_record(cookie, outcome::ESTABLISHED, 0, remote);
        let (family, address_be) = address(remote.ip());
        record.actor = *actor;
        record.asked_boot_ns = record.header.time_boot_ns.saturating_sub(1_000_000);
        record.network_cookie = NETWORK_COOKIE;
        (record.asked_family, record.asked_address_be, record.asked_port) =
            (family, address_be, remote.port());
        record.as_bytes().to_vec()
    }

    /// A TCP attempt of this stream was established.
    pub fn established(&mut self, cookie: u64, remote: SocketAddr) -> Vec<u8> {
        self.outcome(cookie, outcome::ESTABLISHED, 0, remote)
    }

    /// A connection of `actor`, asked for and established 2 and 1 ms ago, has carried `sent` and `received` bytes; it
    /// ends with `errno`, or (`None`) lasts.
    pub fn traffic(
        &mut self,
        actor: &Actor,
        cookie: u64,
        remote: SocketAddr,
        (sent, received): (u64, u64),
        errno: Option<u32>,
    ) -> Vec<u8> {
        let (kind, hook) = match errno {
            Some(_) => (kind::CONNECTION_END, hook::INET_SOCK_SET_STATE),
            None => (kind::CONNECTION_UPDATE, hook::SOCKET_ITERATOR),
        };
        let header = self.header(kind, hook, size_of::<TrafficRecord>());
        let (family, address_be) = address(remote.ip());
        let record = TrafficRecord {
            header,
            actor: *actor,
            cookie,
            asked_boot_ns: header.time_boot_ns.saturating_sub(2_000_000),
            established_boot_ns: header.time_boot_ns.saturating_sub(1_000_000),
            bytes_sent: sent,
            bytes_received: received,
            address_be,
            port: remote.port(),
            family,
            protocol: libc::IPPROTO_TCP as u16,
            reserved: 0,
            errno: errno.unwrap_or(0),
            reserved_too: 0,
        };
        record.as_bytes().to_vec()
    }

    /// A DNS server answers to a socket by which `actor` asked.
    pub fn dns_answer(&mut self, actor: &Actor, server: IpAddr, message: &[u8]) -> Vec<u8> {
        let header =
            self.header(kind::DNS_ANSWER, hook::CGROUP_INGRESS, size_of::<AnswerRecord>() + message.len());
        let (family, server_be) = address(server);
        let record = AnswerRecord {
            header,
            asker: *actor,
            cookie: 1,
            server_be,
            family,
            length: message.len() as u16,
            network_namespace: actor.network_namespace,
            network_cookie: NETWORK_COOKIE,
        };
        [record.as_bytes(), message].concat()
    }

    /// A connection sends what may be a piece of a ClientHello.
    pub fn hello_piece(&mut self, cookie: u64, offset: u32, piece: &[u8]) -> Vec<u8> {
        let header =
            self.header(kind::CLIENT_HELLO, hook::CGROUP_EGRESS, size_of::<HelloRecord>() + piece.len());
        let record = HelloRecord { header, cookie, offset, length: piece.len() as u16, reserved: 0 };
        [record.as_bytes(), piece].concat()
    }

    /// `actor` makes a socket of a family, type and protocol.
    pub fn raw_socket(&mut self, actor: &Actor, (family, socket_type, protocol): (u16, u16, u16)) -> Vec<u8> {
        let hook = hook::FENTRY_SOCKET_POST_CREATE;
        let header = self.header(kind::RAW_SOCKET, hook, size_of::<RawSocketRecord>());
        let record = RawSocketRecord { header, actor: *actor, family, socket_type, protocol, reserved: 0 };
        record.as_bytes().to_vec()
    }

    /// `actor` reaches into the memory of `target`, in one of the ways of `agent_common::records::memory`.
    pub fn memory(&mut self, actor: &Actor, target: &Actor, way: u32, errno: u32) -> Vec<u8> {
        let hook = hook::FEXIT_PTRACE_MAY_ACCESS;
        let header = self.header(kind::MEMORY, hook, size_of::<MemoryRecord>());
        MemoryRecord { header, actor: *actor, target: *target, way, errno }.as_bytes().to_vec()
    }

    /// `actor` listens, or (`held`) has done so since before the start.
    pub fn listen(&mut self, actor: &Actor, cookie: u64, bound: SocketAddr, held: bool) -> Vec<u8> {
        let hook = if held { hook::FILE_ITERATOR } else { hook::INET_SOCK_SET_STATE };
        let header = self.header(kind::LISTEN, hook, size_of::<ListenRecord>());
        let (family, address_be) = address(bound.ip());
        let record = ListenRecord {
            header,
            actor: *actor,
            cookie,
            network_cookie: NETWORK_COOKIE,
            address_be,
            bound_device: 0,
            port: bound.port(),
            family,
        };
        record.as_bytes().to_vec()
    }

    /// A listener was closed.
    pub fn listen_end(&mut self, cookie: u64) -> Vec<u8> {
        let header = self.header(kind::LISTEN_END, hook::INET_SOCK_SET_STATE, size_of::<ListenEndRecord>());
        ListenEndRecord { header, cookie }.as_bytes().to_vec()
    }

    /// A cgroup was made.
    pub fn cgroup_made(&mut self, id: u64, path: &[u8]) -> Vec<u8> {
        let length = size_of::<CgroupRecord>() + path.len();
        let header = self.header(kind::CGROUP_MADE, hook::CGROUP_MKDIR, length);
        let record = CgroupRecord { header, id, path_length: path.len() as u16, reserved: [0; 3] };
        [record.as_bytes(), path].concat()
    }

    /// `actor` reads the key of a type and description.
    pub fn key(&mut self, actor: &Actor, serial: u32, name: (&[u8], &[u8]), errno: u32) -> Vec<u8> {
        let (kind_name, description) = name;
        let length = size_of::<KeyRecord>() + KEY_TYPE_BYTES + description.len();
        let record = KeyRecord {
            header: self.header(kind::KEY, hook::FEXIT_KEY_READ, length),
            actor: *actor,
            serial,
            owner: actor.uid,
            errno,
            flags: 0,
            type_length: kind_name.len() as u16,
            description_length: description.len() as u16,
            reserved: 0,
        };
        let mut room = kind_name.to_vec();
        room.resize(KEY_TYPE_BYTES, 0xff);
        [record.as_bytes(), &room, description].concat()
    }

    /// `actor` connects to the unix socket bound at `path`, or, where that begins with a NUL, to one of the abstract
    /// namespace.
    pub fn unix_connect(&mut self, actor: &Actor, path: &str) -> Vec<u8> {
        let (name, flags) = if path.starts_with('\0') {
            (path.as_bytes().to_vec(), file_flag::BY_NAME | file_flag::ABSTRACT)
        } else {
            (reversed(path), file_flag::BY_NAME | file_flag::PATH_REVERSED)
        };
        let hook = hook::FENTRY_UNIX_STREAM_CONNECT;
        let mut bytes = self.file_open_as(hook, actor, &name, flags, file_identity(29, 41));
        if let Some(place) =
            bytes.get_mut(std::mem::offset_of!(Header, kind)..).and_then(|rest| rest.get_mut(..2))
        {
            place.copy_from_slice(&kind::UNIX_CONNECT.to_ne_bytes());
        }
        bytes
    }

    /// `actor` opens the file at `path` for reading; the path as a walk gives it.
    pub fn file_open(&mut self, actor: &Actor, path: &str, device: u32, inode: u64) -> Vec<u8> {
        let flags = file_flag::PATH_REVERSED | file_flag::BY_NAME;
        self.file_open_as(hook::SYS_EXIT, actor, &reversed(path), flags, file_identity(device, inode))
    }

    /// `actor` opens a file for reading, with path bytes, [`file_flag`]s and hook as given.
    pub fn file_open_as(
        &mut self,
        hook: u16,
        actor: &Actor,
        path: &[u8],
        flags: u32,
        file: FileIdentity,
    ) -> Vec<u8> {
        let header = self.header(kind::FILE_OPEN, hook, size_of::<FileRecord>() + path.len());
        let record = FileRecord {
            header,
            actor: *actor,
            file,
            open_flags: 0,
            access_mode: 1,
            flags,
            path_length: path.len() as u16,
            how: acquired::OPENED,
        };
        let mut bytes = record.as_bytes().to_vec();
        bytes.extend_from_slice(path);
        bytes
    }
}

/// A process of uid 1000 without a login, by pid and start.
pub fn actor(tgid: u32, start_boot_ns: u64) -> Actor {
    let mut comm = [0; COMM_BYTES];
    if let Some(room) = comm.get_mut(..4) {
        room.copy_from_slice(b"test");
    }
    Actor {
        start_boot_ns,
        tgid,
        tid: tgid,
        uid: 1000,
        gid: 1000,
        euid: 1000,
        egid: 1000,
        login_uid: u32::MAX,
        session_id: u32::MAX,
        comm,
        ..Actor::new_zeroed()
    }
}

/// An ordinary file with one link.
pub const fn file_identity(device: u32, inode: u64) -> FileIdentity {
    FileIdentity {
        key: InodeKey { inode, device, reserved: 0 },
        ctime_seconds: 1_700_000_000,
        ctime_nanoseconds: 5,
        links: 1,
        mode: libc::S_IFREG | 0o600,
        reserved: 0,
    }
}

/// A path from `/` as the kernel's walk writes it.
pub fn reversed(path: &str) -> Vec<u8> {
    terminated(path.split('/').filter(|component| !component.is_empty()).rev().map(str::as_bytes))
}

fn terminated<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend_from_slice(part);
        bytes.push(0);
    }
    bytes
}

fn address(ip: IpAddr) -> (u16, [u8; 16]) {
    match ip {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            (libc::AF_INET as u16, [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
        }
        IpAddr::V6(v6) => (libc::AF_INET6 as u16, v6.octets()),
    }
}
