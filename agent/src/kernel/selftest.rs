//! Proof that a hook is called, and that the offsets are right: the agent does a known thing and compares what the
//! kernel programs said of it with what `/proc/self` says.
//!
//! Nothing leaves the host and no file is written: connections to a listener of our own, a datagram to a socket of our
//! own, an attempt on a multicast address that the kernel refuses before it looks for a route, an open of our own
//! executable, which is also sent to ourselves and left open for a child, a change of its mode to what it is, an open of the
//! first process's environment, a read of a key of our own, runs of our executable that print its version, and a cgroup below
//! our own, which is removed at once.

mod descriptor;
mod unix;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener, TcpStream, UdpSocket};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use agent_common::keys::{RuleName, rule_name};
use agent_common::limits::RULE_NAME_BYTES;
use agent_common::records::{
    Actor, AnswerRecord, CgroupRecord, ChangeRecord, ConnectRecord, ExecRecord, ExitRecord, FileRecord,
    ForkRecord, Header, HelloRecord, KeyRecord, ListenEndRecord, ListenRecord, MemoryRecord, OutcomeRecord,
    RawSocketRecord, RefusedRecord, TrafficRecord, change, kind, memory, outcome,
};
use zerocopy::{FromBytes, IntoBytes};

use crate::model::bytes::RawBytes;
use crate::model::process::Hierarchy;
use crate::process::inventory::cgroup_path;

pub(super) use descriptor::{connection_held, credential_held, credential_inherited, credential_received};
pub(super) use unix::{credential_socket, credential_socket_held};

/// Inode number of the first cgroup namespace, fixed in the kernel's `include/linux/proc_ns.h`.
const INITIAL_CGROUP_NAMESPACE: u32 = 0xefff_fffb;

/// What `/proc/self` says of the running thread.
#[derive(Debug)]
pub(super) struct Own {
    /// Process id.
    pub(super) pid: u32,
    start_ticks: u64,
    ticks_per_second: u64,
    ids: [u32; 4],
    login_uid: Option<u32>,
    session_id: Option<u32>,
    namespaces: [Option<u32>; 4],
    capabilities: u64,
    cgroup_id: Option<u64>,
    /// Directory of its cgroup, and the path of that below the hierarchy's root.
    cgroup: Option<(PathBuf, RawBytes)>,
}

impl Own {
    /// Reads `/proc/self`, with the cgroup in this hierarchy.
    pub(super) fn read(hierarchy: &Hierarchy) -> io::Result<Self> {
        let process = procfs::process::Process::myself().map_err(io::Error::other)?;
        let stat = process.stat().map_err(io::Error::other)?;
        let status = process.status().map_err(io::Error::other)?;
        let number = |path: &str| fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok());
        let namespace = |name: &str| {
            fs::metadata(format!("/proc/self/ns/{name}"))
                .ok()
                .and_then(|metadata| u32::try_from(metadata.ino()).ok())
        };
        // In a cgroup namespace of its own (a pod's, say) the path is not one from the root of the mount.
        let cgroup = fs::read("/proc/self/cgroup")
            .ok()
            .filter(|_| namespace("cgroup") == Some(INITIAL_CGROUP_NAMESPACE))
            .and_then(|lines| cgroup_path(&lines, hierarchy.number))
            .and_then(|path| {
                let below = OsStr::from_bytes(path.as_bytes().strip_prefix(b"/")?);
                Some((hierarchy.root.join(below), path))
            });
        let metadata = cgroup.as_ref().and_then(|(directory, _)| fs::metadata(directory).ok());
        let cgroup_id = metadata.map(|metadata| metadata.ino());
        Ok(Self {
            pid: stat.pid.cast_unsigned(),
            start_ticks: stat.starttime,
            ticks_per_second: procfs::ticks_per_second(),
            ids: [status.ruid, status.rgid, status.euid, status.egid],
            login_uid: number("/proc/self/loginuid"),
            session_id: number("/proc/self/sessionid"),
            namespaces: [
                namespace("mnt"),
                namespace("net"),
                namespace("pid_for_children"),
                namespace("user"),
            ],
            capabilities: status.capeff,
            cgroup_id,
            cgroup,
        })
    }

    /// Compares what a record says of this process with what is so; names the first field that is not.
    fn check(&self, actor: &Actor) -> Result<(), String> {
        let ticks = u64::try_from(
            u128::from(actor.start_boot_ns) * u128::from(self.ticks_per_second) / 1_000_000_000,
        )
        .unwrap_or(u64::MAX);
        let same = |name: &str, said: u64, is: u64| {
            if said == is {
                Ok(())
            } else {
                Err(format!("its own {name} is {is}, the kernel programs said {said}"))
            }
        };
        same("start time in ticks", ticks, self.start_ticks)?;
        let said = [actor.uid, actor.gid, actor.euid, actor.egid];
        for (name, (said, is)) in ["uid", "gid", "euid", "egid"].iter().zip(said.iter().zip(&self.ids)) {
            same(name, u64::from(*said), u64::from(*is))?;
        }
        let optional = [
            ("login uid", actor.login_uid, self.login_uid),
            ("session id", actor.session_id, self.session_id),
            ("mount namespace", actor.mount_namespace, self.namespaces[0]),
            ("network namespace", actor.network_namespace, self.namespaces[1]),
            ("pid namespace", actor.pid_namespace, self.namespaces[2]),
            ("user namespace", actor.user_namespace, self.namespaces[3]),
        ];
        for (name, said, is) in optional {
            if let Some(is) = is {
                same(name, u64::from(said), u64::from(is))?;
            }
        }
        if let Some(is) = self.cgroup_id {
            same("cgroup id", actor.cgroup_id, is)?;
        }
        same("effective capabilities", actor.capabilities, self.capabilities)
    }

    fn is(&self, actor: &Actor) -> bool {
        actor.tgid == self.pid
    }
}

/// Records since the test began; `pump` brings in what the ring holds.
pub(super) struct Records<'a> {
    /// All records read so far.
    pub(super) seen: &'a mut Vec<Vec<u8>>,
    /// Reads the ring into `seen`.
    pub(super) pump: &'a mut dyn FnMut(&mut Vec<Vec<u8>>),
    /// Where this test's records begin.
    pub(super) from: usize,
}

impl Records<'_> {
    /// The first record of the kind that `wanted` accepts. A record is in the ring before the act that it tells of
    /// returns; another CPU may still be writing the one before, so the ring is asked a bounded number of times.
    fn find<T: FromBytes + zerocopy::KnownLayout + zerocopy::Immutable>(
        &mut self,
        kind: u16,
        wanted: impl Fn(&T) -> bool,
    ) -> Option<T> {
        const TRIES: usize = 1_000;
        for _ in 0..TRIES {
            (self.pump)(self.seen);
            let found = self.among::<T>(kind, &wanted);
            if found.is_some() {
                return found;
            }
            std::thread::yield_now();
        }
        None
    }

    /// What follows a record that was found.
    fn tail_of<T: IntoBytes + zerocopy::Immutable>(&self, record: &T) -> Option<&[u8]> {
        self.seen.iter().find_map(|bytes| bytes.strip_prefix(record.as_bytes()))
    }

    /// Whether such a record is among those that were read.
    fn holds<T: FromBytes + zerocopy::KnownLayout + zerocopy::Immutable>(
        &self,
        kind: u16,
        wanted: impl Fn(&T) -> bool,
    ) -> bool {
        self.among(kind, &wanted).is_some()
    }

    fn among<T: FromBytes + zerocopy::KnownLayout + zerocopy::Immutable>(
        &self,
        kind: u16,
        wanted: &impl Fn(&T) -> bool,
    ) -> Option<T> {
        self.seen.iter().skip(self.from).find_map(|bytes| {
            let (header, _) = Header::read_from_prefix(bytes).ok()?;
            if header.kind != kind {
                return None;
            }
            T::read_from_prefix(bytes).ok().map(|(record, _)| record).filter(|record| wanted(record))
        })
    }
}

fn no_record(act: &str) -> String {
    format!("attached, but not called: {act} was not reported")
}

fn failed(act: &str) -> impl Fn(io::Error) -> String {
    move |error| format!("the self-test could not {act}: {error}")
}

/// Runs our own executable to its end; its pid.
fn run_itself(stdin: Stdio) -> Result<u32, String> {
    let mut child = Command::new("/proc/self/exe")
        .arg("--version")
        .stdin(stdin)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed("run /proc/self/exe --version"))?;
    let pid = child.id();
    child.wait().map_err(failed("wait for its child"))?;
    Ok(pid)
}

/// Runs a child: its fork, exec and exit must be told.
pub(super) fn process_life(own: &Own, records: &mut Records<'_>) -> Result<(), String> {
    let pid = run_itself(Stdio::null())?;
    let fork = records
        .find::<ForkRecord>(kind::FORK, |fork| fork.child_tgid == pid && own.is(&fork.actor))
        .ok_or_else(|| no_record("a fork"))?;
    own.check(&fork.actor)?;
    let exec = records
        .find::<ExecRecord>(kind::EXEC, |exec| exec.actor.tgid == pid)
        .ok_or_else(|| no_record("an exec"))?;
    if exec.parent_tgid != own.pid || exec.argc != 2 || exec.argv_length == 0 || exec.exe_length == 0 {
        return Err(format!(
            "the exec record is wrong: parent {}, {} arguments of {} bytes, executable of {} bytes",
            exec.parent_tgid, exec.argc, exec.argv_length, exec.exe_length
        ));
    }
    if exec.actor.start_boot_ns != fork.child_start_boot_ns {
        return Err("fork and exec of one process disagree on its start".to_owned());
    }
    records
        .find::<ExitRecord>(kind::EXIT, |exit| exit.actor.tgid == pid)
        .map(|_| ())
        .ok_or_else(|| no_record("an exit"))
}

/// Makes a cgroup below its own, and removes it. Where that cannot be (a unit that may not write there, a cgroup namespace),
/// there is nothing to try this on; that the program is attached must do.
pub(super) fn cgroup_made(own: &Own, records: &mut Records<'_>) -> Result<(), String> {
    let Some((directory, path)) = &own.cgroup else { return Ok(()) };
    let name = format!("telltale-self-test-{}", own.pid);
    let made = directory.join(&name);
    if fs::create_dir(&made).is_err() {
        return Ok(());
    }
    let id = fs::metadata(&made).map(|metadata| metadata.ino());
    fs::remove_dir(&made).map_err(failed("remove the cgroup that it has made"))?;
    let id = id.map_err(failed("stat the cgroup that it has made"))?;
    let parent = path.as_bytes().strip_suffix(b"/").unwrap_or(path.as_bytes());
    let expected = [parent, b"/", name.as_bytes()].concat();
    let told = records
        .find::<CgroupRecord>(kind::CGROUP_MADE, |told| told.id == id)
        .ok_or_else(|| no_record("a cgroup that it has made"))?;
    let said = records.tail_of(&told).unwrap_or_default();
    if said.get(..usize::from(told.path_length)) == Some(&*expected) {
        return Ok(());
    }
    Err(format!("a cgroup {} was reported as {}", expected.escape_ascii(), said.escape_ascii()))
}

fn connected(own: &Own, records: &mut Records<'_>) -> Result<ConnectRecord, String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed("listen on loopback"))?;
    let address = listener.local_addr().map_err(failed("listen on loopback"))?;
    let _stream = TcpStream::connect(address).map_err(failed("connect to its own listener"))?;
    records
        .find::<ConnectRecord>(kind::CONNECT, |attempt| {
            own.is(&attempt.actor) && attempt.port == address.port()
        })
        .ok_or_else(|| no_record("a connect"))
}

/// Connects to a listener of its own.
pub(super) fn connect(own: &Own, records: &mut Records<'_>) -> Result<(), String> {
    let attempt = connected(own, records)?;
    own.check(&attempt.actor)
}

/// As [`connect`], and the outcome must be told.
pub(super) fn connect_outcome(own: &Own, records: &mut Records<'_>) -> Result<(), String> {
    let attempt = connected(own, records)?;
    let ended = records
        .find::<OutcomeRecord>(kind::OUTCOME, |ended| ended.cookie == attempt.cookie)
        .ok_or_else(|| no_record("the outcome of a connect"))?;
    if ended.outcome != outcome::ESTABLISHED || ended.remote_port != attempt.port {
        return Err(format!(
            "the outcome record is wrong: outcome {}, remote port {} instead of {}",
            ended.outcome, ended.remote_port, attempt.port
        ));
    }
    Ok(())
}

/// Listens, and ends that: both must be told.
pub(super) fn listener(own: &Own, records: &mut Records<'_>) -> Result<(), String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed("listen on loopback"))?;
    let port = listener.local_addr().map_err(failed("listen on loopback"))?.port();
    let told = records
        .find::<ListenRecord>(kind::LISTEN, |told| own.is(&told.actor) && told.port == port)
        .ok_or_else(|| no_record("a listener"))?;
    own.check(&told.actor)?;
    let said = (i32::from(told.family), told.address_be.first_chunk(), told.bound_device);
    if said != (libc::AF_INET, Some(&Ipv4Addr::LOCALHOST.octets()), 0) {
        return Err(format!("a listener of 127.0.0.1 was reported as {said:?}"));
    }
    drop(listener);
    records
        .find::<ListenEndRecord>(kind::LISTEN_END, |ended| ended.cookie == told.cookie)
        .map(|_| ())
        .ok_or_else(|| no_record("the end of a listener"))
}

const SAID: &[u8] = b"telltale";
const ANSWERED: &[u8] = b"yes";

/// A connection to a listener of its own, over which both sides have sent something; its port.
fn conversation() -> io::Result<(TcpStream, TcpStream, u16)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let mut asking = TcpStream::connect(address)?;
    let (mut answering, _) = listener.accept()?;
    asking.write_all(SAID)?;
    answering.read_exact(&mut [0; SAID.len()])?;
    answering.write_all(ANSWERED)?;
    asking.read_exact(&mut [0; ANSWERED.len()])?;
    Ok((asking, answering, address.port()))
}

fn traffic(own: &Own, records: &mut Records<'_>, kind: u16, port: u16, what: &str) -> Result<(), String> {
    let told = records
        .find::<TrafficRecord>(kind, |told| own.is(&told.actor) && told.port == port)
        .ok_or_else(|| no_record(what))?;
    own.check(&told.actor)?;
    let (said, is) = ((told.bytes_sent, told.bytes_received), (SAID.len() as u64, ANSWERED.len() as u64));
    if said == is {
        Ok(())
    } else {
        Err(format!("it sent and received {is:?} bytes, the kernel programs said {said:?}"))
    }
}

/// A connection that ends must be told, with what it carried.
pub(super) fn connection_end(own: &Own, records: &mut Records<'_>) -> Result<(), String> {
    let (asking, answering, port) = conversation().map_err(failed("talk to itself"))?;
    drop(asking);
    drop(answering);
    traffic(own, records, kind::CONNECTION_END, port, "the end of a connection")
}

/// A connection that lasts must be told by a walk, with what it has carried.
pub(super) fn connection_update(
    own: &Own,
    records: &mut Records<'_>,
    walk: &mut dyn FnMut() -> io::Result<()>,
) -> Result<(), String> {
    let (_asking, _answering, port) = conversation().map_err(failed("talk to itself"))?;
    walk().map_err(failed("walk over its connections"))?;
    traffic(own, records, kind::CONNECTION_UPDATE, port, "a connection that lasts")
}

/// A raw socket that takes and sends nothing. Without the privilege for one there is nothing to try this on; that the
/// programs are attached must do.
pub(super) fn raw_socket(own: &Own, records: &mut Records<'_>) -> Result<(), String> {
    const PROTOCOL: u8 = libc::IPPROTO_RAW as u8;
    let made = rustix::net::socket(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::RAW,
        std::num::NonZeroU32::new(PROTOCOL.into()).map(rustix::net::Protocol::from_raw),
    );
    if made.is_err() {
        return Ok(());
    }
    let told = records
        .find::<RawSocketRecord>(kind::RAW_SOCKET, |told| own.is(&told.actor))
        .ok_or_else(|| no_record("a raw socket"))?;
    own.check(&told.actor)?;
    let said = (i32::from(told.family), i32::from(told.socket_type), told.protocol);
    if said == (libc::AF_INET, libc::SOCK_RAW, PROTOCOL.into()) {
        Ok(())
    } else {
        Err(format!("a raw IPv4 socket was reported as {said:?}"))
    }
}

/// An attempt that the kernel refuses before it looks for a route.
pub(super) fn connect_refused_early(own: &Own, records: &mut Records<'_>) -> Result<(), String> {
    const NODE_LOCAL_MULTICAST: Ipv6Addr = Ipv6Addr::new(0xff01, 0, 0, 0, 0, 0, 0, 1);
    const PORT: u16 = 9;
    let target = SocketAddr::V6(SocketAddrV6::new(NODE_LOCAL_MULTICAST, PORT, 0, 0));
    match TcpStream::connect(target).err().and_then(|error| error.raw_os_error()) {
        Some(libc::ENETUNREACH) => {}
        // Without IPv6 there is nothing to try this on; that the programs are attached must do.
        _ => return Ok(()),
    }
    let Some(attempt) = records
        .find::<ConnectRecord>(kind::CONNECT, |attempt| own.is(&attempt.actor) && attempt.port == PORT)
    else {
        return Ok(());
    };
    let ended = records
        .find::<OutcomeRecord>(kind::OUTCOME, |ended| ended.cookie == attempt.cookie)
        .ok_or_else(|| no_record("the refusal of a connect"))?;
    if ended.errno.cast_signed() == libc::ENETUNREACH {
        Ok(())
    } else {
        Err(format!("errno {} was reported instead of ENETUNREACH", ended.errno))
    }
}

/// A datagram from an unconnected socket and one from a connected one.
pub(super) fn datagram(own: &Own, records: &mut Records<'_>) -> Result<(), String> {
    let receiver =
        UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed("bind a UDP socket on loopback"))?;
    let address = receiver.local_addr().map_err(failed("bind a UDP socket on loopback"))?;
    for connect_first in [false, true] {
        let sender =
            UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed("bind a UDP socket on loopback"))?;
        let sent = if connect_first {
            sender.connect(address).and_then(|()| sender.send(b"telltale"))
        } else {
            sender.send_to(b"telltale", address)
        };
        sent.map_err(failed("send itself a datagram"))?;
        let before = records.from;
        let found = records
            .find::<ConnectRecord>(kind::DATAGRAM, |sent| own.is(&sent.actor) && sent.port == address.port())
            .ok_or_else(|| {
                no_record(if connect_first { "a datagram of a connected socket" } else { "a datagram" })
            })?;
        own.check(&found.actor)?;
        records.from = records.seen.len().max(before);
    }
    Ok(())
}

/// Asks itself something at port 53, on an address of loopback where nobody else listens, and answers. Without the
/// privilege for such a port there is nothing to try this on; that the programs are attached must do.
pub(super) fn dns_answer(own: &Own, records: &mut Records<'_>) -> Result<(), String> {
    const HERE: Ipv4Addr = Ipv4Addr::new(127, 84, 69, 76);
    /// Where a firewall is in the way, there is nothing to try this on either.
    const PATIENCE: Duration = Duration::from_secs(1);
    let Ok(server) = UdpSocket::bind((HERE, 53)) else { return Ok(()) };
    server.set_read_timeout(Some(PATIENCE)).map_err(failed("set a time-out"))?;
    for connect_first in [false, true] {
        let talk = || -> io::Result<()> {
            let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            client.set_read_timeout(Some(PATIENCE))?;
            if connect_first {
                client.connect((HERE, 53))?;
                client.send(SAID)?;
            } else {
                client.send_to(SAID, (HERE, 53))?;
            }
            let (_, from) = server.recv_from(&mut [0; SAID.len()])?;
            server.send_to(ANSWERED, from)?;
            client.recv(&mut [0; ANSWERED.len()])?;
            Ok(())
        };
        match talk() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            talked => talked.map_err(failed("answer itself at port 53"))?,
        }
        let told = records
            .find::<AnswerRecord>(kind::DNS_ANSWER, |told| own.is(&told.asker))
            .ok_or_else(|| no_record("an answer of a DNS server"))?;
        own.check(&told.asker)?;
        let server = told.server_be.first_chunk::<4>().map(|octets| Ipv4Addr::from(*octets));
        let network = own.namespaces[1].unwrap_or(told.network_namespace);
        if usize::from(told.length) != ANSWERED.len()
            || server != Some(HERE)
            || told.network_namespace != network
        {
            return Err(format!(
                "an answer of {HERE} in the network {network} was reported as {} bytes of {server:?} in {}",
                told.length, told.network_namespace
            ));
        }
        records.from = records.seen.len();
    }
    Ok(())
}

/// Begins a TLS connection to itself, in two pieces.
pub(super) fn client_hello(records: &mut Records<'_>) -> Result<(), String> {
    /// A handshake record that holds the beginning of a ClientHello.
    const HELLO: [u8; 12] = [22, 3, 1, 0, 7, 1, 0, 0, 3, 1, 2, 3];
    const FIRST: usize = 10;
    let talk = || -> io::Result<()> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let mut asking = TcpStream::connect(listener.local_addr()?)?;
        let (mut answering, _) = listener.accept()?;
        let (first, second) = HELLO.split_at(FIRST);
        asking.write_all(first)?;
        answering.read_exact(&mut [0; FIRST])?;
        asking.write_all(second)?;
        answering.read_exact(&mut [0; HELLO.len() - FIRST])
    };
    talk().map_err(failed("begin a TLS connection with itself"))?;
    for (offset, length) in [(0, FIRST), (FIRST, HELLO.len() - FIRST)] {
        records
            .find::<HelloRecord>(kind::CLIENT_HELLO, |piece| {
                piece.offset as usize == offset && usize::from(piece.length) == length
            })
            .ok_or_else(|| no_record("a piece of a ClientHello"))?;
    }
    Ok(())
}

/// The rule by which [`credential_open`] is noticed: the name of our own executable.
pub(super) fn own_executable() -> io::Result<(PathBuf, RuleName, u32)> {
    let path = std::env::current_exe()?;
    let name = path.file_name().map(|name| name.as_bytes().to_vec()).unwrap_or_default();
    let mut key = [0; RULE_NAME_BYTES];
    match key.get_mut(..name.len()) {
        Some(room) if name.len() < RULE_NAME_BYTES => room.copy_from_slice(&name),
        _ => return Err(io::Error::other("the name of the executable is longer than 63 bytes")),
    }
    Ok((path, RuleName(key), rule_name::FILE))
}

/// A file that its mode lets nobody read, in a directory that every kernel with a device model has.
const UNREADABLE_DIRECTORY: &str = "/sys/bus/cpu";
const UNREADABLE: &[u8] = b"drivers_probe";

/// The rule by which [`credential_refused`] is noticed.
pub(super) fn unreadable() -> (RuleName, u32) {
    let mut key = [0; RULE_NAME_BYTES];
    for (place, byte) in key.iter_mut().zip(UNREADABLE) {
        *place = *byte;
    }
    (RuleName(key), rule_name::FILE)
}

/// Opens a file that nobody may read, without the privilege to do it all the same, which this thread lays down for that
/// time. Where that cannot be, there is nothing to try this on; that the programs are attached must do.
pub(super) fn credential_refused(own: &Own, records: &mut Records<'_>) -> Result<(), String> {
    use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
    let overriding = CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH;
    let before = capabilities(None).map_err(io::Error::from).map_err(failed("read its capabilities"))?;
    let mut less = before;
    less.effective &= !overriding;
    set_capabilities(None, less).map_err(io::Error::from).map_err(failed("lay down capabilities"))?;
    let path = std::path::Path::new(UNREADABLE_DIRECTORY).join(std::ffi::OsStr::from_bytes(UNREADABLE));
    let opened = File::open(&path);
    set_capabilities(None, before)
        .map_err(io::Error::from)
        .map_err(failed("take up its capabilities again"))?;
    if opened.err().and_then(|error| error.raw_os_error()) != Some(libc::EACCES) {
        return Ok(());
    }
    let told = records
        .find::<RefusedRecord>(kind::OPEN_REFUSED, |told| own.is(&told.actor))
        .ok_or_else(|| no_record("a refused open"))?;
    let mut actor = told.actor;
    // These are those of the moment.
    actor.capabilities |= before.effective.bits() & overriding.bits();
    own.check(&actor)?;
    if told.errno.cast_signed() != libc::EACCES || told.path_length == 0 {
        return Err(format!("errno {} and a path of {} bytes were reported", told.errno, told.path_length));
    }
    Ok(())
}

/// Sets the mode of our own executable, whose name is a rule for the time of the test, to what it is: by its descriptor,
/// which every rung sees. On a file system that may not be written to there is nothing to try this on.
pub(super) fn credential_change(own: &Own, records: &mut Records<'_>) -> Result<(), String> {
    let path = std::env::current_exe().map_err(failed("find its own executable"))?;
    let file = File::open(&path).map_err(failed("open its own executable"))?;
    let metadata = file.metadata().map_err(failed("stat its own executable"))?;
    if file.set_permissions(metadata.permissions()).is_err() {
        return Ok(());
    }
    let told = records
        .find::<ChangeRecord>(kind::CHANGE, |told| own.is(&told.actor))
        .ok_or_else(|| no_record("a change of mode"))?;
    own.check(&told.actor)?;
    if told.change != change::CHMOD || told.file.key.inode != metadata.ino() || told.path_length == 0 {
        return Err(format!(
            "a change of mode was reported as {} of inode {}",
            told.change, told.file.key.inode
        ));
    }
    Ok(())
}

/// Reads a key of its own, which is gone with this thread's keyring. Where there are no keys there is nothing to try this
/// on; that the programs are attached must do.
pub(super) fn key_access(own: &Own, records: &mut Records<'_>) -> Result<(), String> {
    const KEYCTL_READ: libc::c_long = 11;
    let held = [0_u8; 4];
    let mut read = [0_u8; 4];
    // SAFETY: the texts and the payload live through the call.
    let serial = unsafe {
        libc::syscall(
            libc::SYS_add_key,
            c"user".as_ptr(),
            c"telltale-self-test".as_ptr(),
            held.as_ptr(),
            held.len(),
            libc::KEY_SPEC_THREAD_KEYRING,
        )
    };
    if serial < 0 {
        return Ok(());
    }
    // SAFETY: the buffer lives through the call.
    if unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_READ, serial, read.as_mut_ptr(), read.len()) } < 0 {
        return Ok(());
    }
    let told = records
        .find::<KeyRecord>(kind::KEY, |told| own.is(&told.actor) && i64::from(told.serial) == serial)
        .ok_or_else(|| no_record("a read of a key"))?;
    own.check(&told.actor)?;
    if told.errno == 0 {
        Ok(())
    } else {
        Err(format!("a read of a key was reported with errno {}", told.errno))
    }
}

/// Opens the environment of the first process, of which it reads nothing. Where that is forbidden, or the first process is
/// this one, there is nothing to try this on; that the programs are attached must do.
pub(super) fn memory_access(own: &Own, records: &mut Records<'_>) -> Result<(), String> {
    const FIRST: u32 = 1;
    if own.pid == FIRST || File::open(format!("/proc/{FIRST}/environ")).is_err() {
        return Ok(());
    }
    let told = records
        .find::<MemoryRecord>(kind::MEMORY, |told| own.is(&told.actor))
        .ok_or_else(|| no_record("an open of another's environment"))?;
    own.check(&told.actor)?;
    if (told.target.tgid, told.way, told.errno) == (FIRST, memory::PROC_ENVIRON, 0) {
        Ok(())
    } else {
        Err(format!(
            "an open of the environment of process {FIRST} was reported as way {} to process {}, errno {}",
            told.way, told.target.tgid, told.errno
        ))
    }
}

/// Opens our own executable, whose name is a rule for the time of the test.
pub(super) fn credential_open(own: &Own, records: &mut Records<'_>) -> Result<(), String> {
    let path = std::env::current_exe().map_err(failed("find its own executable"))?;
    let file = File::open(&path).map_err(failed("open its own executable"))?;
    let inode = file.metadata().map_err(failed("stat its own executable"))?.ino();
    let opened = records
        .find::<FileRecord>(kind::FILE_OPEN, |opened| own.is(&opened.actor))
        .ok_or_else(|| no_record("an open"))?;
    own.check(&opened.actor)?;
    if opened.file.key.inode != inode {
        return Err(format!("inode {} was reported instead of {inode}", opened.file.key.inode));
    }
    if opened.path_length == 0 {
        return Err("the path of an open was reported empty".to_owned());
    }
    Ok(())
}
