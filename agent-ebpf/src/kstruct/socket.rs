//! Sockets.

use aya_ebpf::helpers::generated::bpf_skc_to_tcp_sock;

use super::{Access, Dentry, Mount, OFFSETS, Probed, Sock, TcpSock, Typed, UnixSock, resolved};

impl<A: Access> Sock<A> {
    getters! {
        /// Socket cookie; 0 where none was asked for yet.
        cookie: sock_cookie -> u64;
        /// Address family.
        family: sock_family -> u16;
        /// Transport protocol.
        protocol: sock_protocol -> u16;
        /// Peer port, network order.
        remote_port_be: sock_dport -> u16;
        /// Local port, host order.
        local_port: sock_local_port -> u16;
        /// Peer IPv4 address, network order.
        remote_v4_be: sock_daddr -> u32;
        /// Local IPv4 address, network order.
        local_v4_be: sock_saddr -> u32;
        /// Pending error.
        error: sock_error -> u32;
        /// `TCP_*` of a TCP socket.
        state: sock_state -> u8;
        /// A bit for each `SOCK_*`.
        flags: sock_flags -> u64;
        /// How many connections may wait to be accepted: of a listener, and of what it accepted.
        waiting_limit: sock_max_ack_backlog -> u32;
        /// Index of the interface that it is bound to; 0: to none.
        bound_device: sock_bound_device -> u32;
    }

    /// Peer IPv6 address as four words in memory order.
    #[inline(always)]
    pub fn remote_v6_be(self) -> Option<[u32; 4]> {
        self.words(offset!(sock_v6_daddr)?)
    }

    /// Local IPv6 address as four words in memory order.
    #[inline(always)]
    pub fn local_v6_be(self) -> Option<[u32; 4]> {
        self.words(offset!(sock_v6_saddr)?)
    }

    /// Cookie of its network namespace.
    #[inline(always)]
    pub fn network_cookie(self) -> Option<u64> {
        // SAFETY: each is loaded from a pointer of kind `A`.
        unsafe {
            let namespace: u64 = A::load(self.0, offset!(sock_net)?)?;
            A::load(namespace, offset!(net_cookie)?)
        }
    }

    #[inline(always)]
    fn words(self, at: usize) -> Option<[u32; 4]> {
        // SAFETY: the pointer is of kind `A`; four words follow each other.
        unsafe {
            Some([
                A::load(self.0, at)?,
                A::load(self.0, at + 4)?,
                A::load(self.0, at + 8)?,
                A::load(self.0, at + 12)?,
            ])
        }
    }
}

impl Sock<Typed> {
    /// The whole of a TCP socket; `None` for any other (an MPTCP socket, what is left of one in TIME_WAIT).
    #[inline(always)]
    pub fn as_tcp(self) -> Option<TcpSock<Typed>> {
        // SAFETY: the helper takes every socket, and gives null for one that is not of TCP.
        let tcp = unsafe { bpf_skc_to_tcp_sock(self.0 as *mut _) };
        if tcp.is_null() { None } else { Some(TcpSock::from_raw(tcp as u64)) }
    }
}

impl<A: Access> Sock<A> {
    /// The whole of a unix socket, which the caller knows that it is: probed, for it is larger than its typed part.
    #[inline(always)]
    pub fn as_unix(self) -> UnixSock<Probed> {
        UnixSock::from_raw(self.0)
    }
}

/// Inode number of the network namespace of a socket that a hook of packets gives. Such a pointer has no type whose
/// fields could be read, and no offset may be added to it: it is made a number by way of memory, for which `through` is
/// lent. What it holds afterwards must not be told.
///
/// # Safety
/// `through` must be in a map or in the ring.
#[inline(always)]
pub unsafe fn network_namespace(sock: *const core::ffi::c_void, through: *mut u64) -> Option<u32> {
    // SAFETY: as the caller promises; the rest is probed.
    unsafe {
        through.write_volatile(sock as u64);
        let sock = through.read_volatile();
        let namespace: u64 = Probed::load(sock, offset!(sock_net)?)?;
        Probed::load(namespace, offset!(net_ns_inum)?)
    }
}

/// The `struct sock` of a `struct socket` that the verifier knows.
#[inline(always)]
pub fn sock_of(socket: u64) -> Option<Sock<Typed>> {
    // SAFETY: the argument of a BTF program is typed.
    unsafe { Typed::load(socket, offset!(socket_sock)?).map(Sock::from_raw) }
}

impl UnixSock<Probed> {
    /// Mount and dentry that it is bound to; `None` where its name is no file.
    #[inline(always)]
    pub fn place(self) -> Option<(Mount<Probed>, Dentry<Probed>)> {
        let base = offset!(unix_path)?;
        // SAFETY: probed.
        let (mount, dentry): (u64, u64) = unsafe {
            (
                Probed::load(self.0, base + offset!(path_mnt)?)?,
                Probed::load(self.0, base + offset!(path_dentry)?)?,
            )
        };
        if dentry == 0 { None } else { Some((Mount::from_raw(mount), Dentry::from_raw(dentry))) }
    }

    /// Its name as it was bound, and how long that is; `None` where it has none.
    #[inline(always)]
    pub fn name(self) -> Option<(u64, u32)> {
        /// Bytes of the family before the name.
        const FAMILY: u32 = 2;
        // SAFETY: probed.
        unsafe {
            let address: u64 = Probed::load(self.0, offset!(unix_address)?)?;
            if address == 0 {
                return None;
            }
            let length: u32 = Probed::load(address, offset!(unix_address_length)?)?;
            if length <= FAMILY {
                return None;
            }
            Some((address + offset!(unix_address_name)? as u64 + u64::from(FAMILY), length - FAMILY))
        }
    }

    /// Whom it is connected to.
    #[inline(always)]
    pub fn peer(self) -> Option<Self> {
        // SAFETY: probed.
        let peer: u64 = unsafe { Probed::load(self.0, offset!(unix_peer)?)? };
        if peer == 0 { None } else { Some(Self::from_raw(peer)) }
    }
}

impl<A: Access> TcpSock<A> {
    getters! {
        /// Payload sent, each time that it is.
        bytes_sent: tcp_bytes_sent -> u64;
        /// Payload sent again.
        bytes_retransmitted: tcp_bytes_retransmitted -> u64;
        /// Payload received in order, and one for a FIN.
        bytes_received: tcp_bytes_received -> u64;
        /// Whether it is a subflow of an MPTCP connection.
        is_mptcp: tcp_is_mptcp -> u8;
    }
}
