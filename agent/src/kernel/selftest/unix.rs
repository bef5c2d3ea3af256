//! Connections to unix sockets.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{UnixListener, UnixStream};

use agent_common::records::{FileRecord, acquired, kind};

use super::{Own, Records, failed, no_record};

/// Connects to a socket of its own, of the abstract namespace: every such connect is told to userspace.
pub(in super::super) fn credential_socket(own: &Own, records: &mut Records<'_>) -> Result<(), String> {
    let connected = connect_to_itself(own).map_err(failed("connect to its own unix socket"))?;
    connected.check(own, records, acquired::OPENED, "a connect to a unix socket")
}

/// Is connected to a socket of its own; `walk` has the kernel look at the descriptors of all processes.
pub(in super::super) fn credential_socket_held(
    own: &Own,
    records: &mut Records<'_>,
    walk: &mut dyn FnMut() -> io::Result<()>,
) -> Result<(), String> {
    let connected = connect_to_itself(own).map_err(failed("connect to its own unix socket"))?;
    walk().map_err(failed("walk over the descriptors"))?;
    connected.check(own, records, acquired::HELD, "a connection to a unix socket that is open")
}

/// Both ends of a connection by a name of the abstract namespace.
struct ConnectedToItself {
    _ends: (UnixListener, UnixStream),
    name_length: usize,
}

fn connect_to_itself(own: &Own) -> io::Result<ConnectedToItself> {
    let name = format!("telltale-self-test-{}", own.pid);
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name)?;
    let listener = UnixListener::bind_addr(&address)?;
    let stream = UnixStream::connect_addr(&address)?;
    Ok(ConnectedToItself { _ends: (listener, stream), name_length: 1 + name.len() })
}

impl ConnectedToItself {
    fn check(self, own: &Own, records: &mut Records<'_>, how: u16, what: &str) -> Result<(), String> {
        let is_it = |told: &FileRecord| {
            own.is(&told.actor) && told.how == how && usize::from(told.path_length) == self.name_length
        };
        let told = records.find::<FileRecord>(kind::UNIX_CONNECT, is_it).ok_or_else(|| no_record(what))?;
        own.check(&told.actor)
    }
}
