//! The ladder as data: which programs serve which capability, best first, and what each rung cannot see.
//!
//! This one table is what the loader climbs, what `doctor` prints, what the start event carries and what the tests and
//! docs are checked against.

use std::fmt;

use super::offsets::Capability as Offsets;

/// A kind of host, by what its kernel can attach to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rung {
    /// Trampolines, and `bpf` among the LSMs.
    Lsm,
    /// Trampolines alone.
    Fentry,
    /// Neither: BTF tracepoints and cgroup hooks.
    Tracepoint,
}

impl Rung {
    /// All, best first.
    pub const ALL: [Self; 3] = [Self::Lsm, Self::Fentry, Self::Tracepoint];

    /// Stable name: the value of `--rung`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lsm => "lsm",
            Self::Fentry => "fentry",
            Self::Tracepoint => "tracepoint",
        }
    }

    /// The rung of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rung| rung.name() == name)
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a program is attached, and to what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attach {
    /// A BTF tracepoint.
    BtfTracepoint(&'static str),
    /// An LSM hook.
    Lsm(&'static str),
    /// The entry of a kernel function.
    FunctionEntry(&'static str),
    /// The exit of a kernel function.
    FunctionExit(&'static str),
    /// An address hook of the root cgroup.
    CgroupAddress(&'static str),
    /// Outgoing packets of the root cgroup.
    CgroupEgress,
    /// Incoming packets of the root cgroup.
    CgroupIngress,
    /// A walk over the sockets that have storage in a map.
    SocketIterator,
    /// A walk over the descriptors of all processes.
    FileIterator,
    /// A socket hook of the root cgroup.
    CgroupSocket(&'static str),
}

impl fmt::Display for Attach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BtfTracepoint(name) => write!(f, "tp_btf/{name}"),
            Self::Lsm(name) => write!(f, "lsm/{name}"),
            Self::FunctionEntry(name) => write!(f, "fentry/{name}"),
            Self::FunctionExit(name) => write!(f, "fexit/{name}"),
            Self::CgroupAddress(name) | Self::CgroupSocket(name) => write!(f, "cgroup/{name}"),
            Self::CgroupEgress => f.write_str("cgroup_skb/egress"),
            Self::CgroupIngress => f.write_str("cgroup_skb/ingress"),
            Self::SocketIterator => f.write_str("iter/bpf_sk_storage_map"),
            Self::FileIterator => f.write_str("iter/task_file"),
        }
    }
}

/// A program of the object.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// Its name in the object.
    pub name: &'static str,
    /// Where it is attached.
    pub attach: Attach,
}

/// A set of programs that together serve a capability.
#[derive(Clone, Copy, Debug)]
pub struct Serving {
    /// Hosts that have what it needs; a forced rung takes only servings that name it.
    pub rungs: &'static [Rung],
    /// All must load.
    pub programs: &'static [Program],
    /// Offsets without which they would read nothing.
    pub offsets: &'static [Offsets],
    /// What it cannot see, one sentence each; empty where nothing is known.
    pub gaps: &'static [&'static str],
}

/// Something that the agent can see.
#[derive(Clone, Copy, Debug)]
pub struct Capability {
    /// Stable name.
    pub name: &'static str,
    /// What is seen.
    pub sees: &'static str,
    /// Whether the agent is useless without it.
    pub essential: bool,
    /// Best first.
    pub servings: &'static [Serving],
}

const EVERY: &[Rung] = &Rung::ALL;

const fn tracepoint(name: &'static str, target: &'static str) -> Program {
    Program { name, attach: Attach::BtfTracepoint(target) }
}

const fn cgroup(name: &'static str) -> Program {
    Program { name, attach: Attach::CgroupAddress(name) }
}

const fn entry(name: &'static str, target: &'static str) -> Program {
    Program { name, attach: Attach::FunctionEntry(target) }
}

const fn exit(name: &'static str, target: &'static str) -> Program {
    Program { name, attach: Attach::FunctionExit(target) }
}

const fn lsm(name: &'static str) -> Program {
    Program { name, attach: Attach::Lsm(name) }
}

/// A program, and its twin at the same hook: where the kernel does not run the one, because an interrupt found it under way,
/// it runs the other.
pub const TWINS: [(&str, &str); 1] = [("set_state", "set_state_twin")];

/// What sees TCP connections change.
const CONNECTION_STATES: [Program; 2] =
    [tracepoint(TWINS[0].0, "inet_sock_set_state"), tracepoint(TWINS[0].1, "inet_sock_set_state")];

/// Everything that the agent can see, and how.
pub const LADDER: &[Capability] = &[
    Capability {
        name: "process_life",
        sees: "fork, exec and exit of every process",
        essential: true,
        servings: &[Serving {
            rungs: EVERY,
            programs: &[
                tracepoint("process_fork", "sched_process_fork"),
                tracepoint("process_exec", "sched_process_exec"),
                tracepoint("process_exit", "sched_process_exit"),
            ],
            offsets: &[Offsets::Process, Offsets::Exec],
            gaps: &[],
        }],
    },
    Capability {
        name: "cgroup_made",
        sees: "cgroups that are made, with their names: of a process that is moved into one, its unit or container",
        essential: false,
        servings: &[Serving {
            rungs: EVERY,
            programs: &[tracepoint("cgroup_made", "cgroup_mkdir")],
            offsets: &[Offsets::Process, Offsets::Cgroup],
            gaps: &[],
        }],
    },
    // Before those that see connections from their beginning on: the self-test makes one that they do not know.
    Capability {
        name: "connection_held",
        sees: "TCP connections that are open when the agent starts, UDP sockets that are connected and sockets that \
               listen then",
        essential: false,
        servings: &[Serving {
            rungs: EVERY,
            programs: &[Program { name: "held_socket", attach: Attach::FileIterator }],
            offsets: &[
                Offsets::Connection,
                Offsets::Outcome,
                Offsets::Traffic,
                Offsets::HeldSocket,
                Offsets::Names,
                Offsets::Listener,
            ],
            gaps: &[
                "MPTCP connections that were made before the start are not seen",
                "of a connection made before the start, who has it is taken for who made it",
                "connections that an io_uring or a message under way alone holds at the start are not seen",
                "of what was connected before the start, an accepted connection is known by its socket's backlog: one \
                 accepted with a backlog of 0 is taken for made, one made by a socket that had listened before is not \
                 seen",
            ],
        }],
    },
    Capability {
        name: "connect",
        sees: "TCP connection attempts, IPv4 and IPv6, io_uring too",
        essential: true,
        servings: &[Serving {
            rungs: EVERY,
            programs: &[cgroup("connect4"), cgroup("connect6")],
            offsets: &[Offsets::Connection],
            gaps: &[],
        }],
    },
    Capability {
        name: "connect_outcome",
        sees: "how a TCP attempt ended",
        essential: false,
        servings: &[Serving {
            rungs: EVERY,
            programs: &CONNECTION_STATES,
            offsets: &[Offsets::Outcome],
            gaps: &[],
        }],
    },
    Capability {
        name: "datagram",
        sees: "the first datagram of a UDP socket to each peer",
        essential: false,
        servings: &[Serving {
            rungs: EVERY,
            programs: &[
                cgroup("sendmsg4"),
                cgroup("sendmsg6"),
                Program { name: "egress", attach: Attach::CgroupEgress },
            ],
            offsets: &[Offsets::Connection],
            gaps: &[
                "a connected socket used by another process than the one that connected it is told as the latter's",
            ],
        }],
    },
    Capability {
        name: "connect_refused_early",
        sees: "TCP attempts that fail before a packet is sent",
        essential: false,
        servings: &[
            Serving {
                rungs: &[Rung::Lsm, Rung::Fentry],
                programs: &[
                    Program { name: "tcp_v4_connect_exit", attach: Attach::FunctionExit("tcp_v4_connect") },
                    Program { name: "tcp_v6_connect_exit", attach: Attach::FunctionExit("tcp_v6_connect") },
                ],
                offsets: &[Offsets::Outcome],
                gaps: &["an attempt that another cgroup program refuses ends as unknown"],
            },
            Serving {
                rungs: &[Rung::Tracepoint],
                programs: &[tracepoint("sys_exit", "sys_exit")],
                offsets: &[Offsets::Outcome, Offsets::FileOpenAtExit],
                gaps: &["an attempt made through io_uring that has no route ends as unknown"],
            },
        ],
    },
    Capability {
        name: "credential_open",
        sees: "opens of catalogued credentials, by inode and by path",
        essential: false,
        servings: &[
            Serving {
                rungs: &[Rung::Lsm],
                programs: &[
                    lsm("file_open"),
                    lsm("inode_rename"),
                    lsm("inode_link"),
                    lsm("sb_mount"),
                    lsm("move_mount"),
                ],
                offsets: &[Offsets::FileOpen],
                gaps: &[],
            },
            Serving {
                rungs: &[Rung::Fentry],
                programs: &[Program {
                    name: "security_file_open",
                    attach: Attach::FunctionEntry("security_file_open"),
                }],
                offsets: &[Offsets::FileOpen],
                gaps: &["every open is judged anew: inode storage is for LSM programs alone"],
            },
            Serving {
                rungs: &[Rung::Tracepoint],
                programs: &[tracepoint("sys_exit", "sys_exit")],
                offsets: &[Offsets::FileOpen, Offsets::FileOpenAtExit],
                gaps: &[
                    "opens through io_uring are not seen",
                    "opens by 32-bit programs are not seen",
                    "that an open truncated the file is not seen",
                    "a descriptor closed or replaced by another thread before the call returns is not seen",
                ],
            },
        ],
    },
    Capability {
        name: "connection_end",
        sees: "when TCP connections end, and what they carried",
        essential: false,
        servings: &[Serving {
            rungs: EVERY,
            programs: &CONNECTION_STATES,
            offsets: &[Offsets::Outcome, Offsets::Traffic],
            gaps: &["of an MPTCP connection, what other subflows than the first carry"],
        }],
    },
    Capability {
        name: "listener",
        sees: "who listens for TCP connections on this host, from the start on: the process at the other end",
        essential: false,
        servings: &[Serving {
            rungs: EVERY,
            programs: &[tracepoint("set_state", "inet_sock_set_state")],
            offsets: &[Offsets::Connection, Offsets::Outcome, Offsets::Names, Offsets::Listener],
            gaps: &[
                "of a listener that is handed on (by a descriptor sent, or a program started with it), to whom is not \
                 seen",
                "who listens on a socket that was never bound is not seen, nor the kernel's own listeners of before the \
                 start",
            ],
        }],
    },
    Capability {
        name: "connection_update",
        sees: "what long TCP connections have carried so far",
        essential: false,
        servings: &[Serving {
            rungs: EVERY,
            programs: &[Program { name: "traffic_update", attach: Attach::SocketIterator }],
            offsets: &[Offsets::Traffic],
            gaps: &["of an MPTCP connection, what other subflows than the first carry"],
        }],
    },
    Capability {
        name: "raw_socket",
        sees: "sockets whose destinations no hook sees (raw, packet, vsock, SCTP), TUN and TAP, when they are made",
        essential: false,
        servings: &[
            Serving {
                rungs: &[Rung::Lsm, Rung::Fentry],
                programs: &[
                    entry("socket_created", "security_socket_post_create"),
                    entry("tun_attached", "security_tun_dev_attach"),
                ],
                offsets: &[Offsets::Connection],
                gaps: &[],
            },
            Serving {
                rungs: &[Rung::Tracepoint],
                programs: &[
                    Program { name: "sock_create", attach: Attach::CgroupSocket("sock_create") },
                    tracepoint("sys_exit", "sys_exit"),
                ],
                offsets: &[Offsets::Connection, Offsets::SocketAtExit],
                gaps: &[
                    "sockets of other families than IP, and TUN, are not seen where io_uring or a 32-bit program makes \
                     them",
                ],
            },
        ],
    },
    Capability {
        name: "credential_socket",
        sees: "connects and datagrams to unix sockets that are credential sources",
        essential: false,
        servings: &[
            Serving {
                rungs: &[Rung::Lsm, Rung::Fentry],
                programs: &[
                    entry("unix_connect", "security_unix_stream_connect"),
                    entry("unix_send", "security_unix_may_send"),
                ],
                offsets: &[Offsets::FileOpen, Offsets::UnixPeer],
                gaps: &[],
            },
            Serving {
                rungs: &[Rung::Tracepoint],
                programs: &[tracepoint("sys_exit", "sys_exit")],
                offsets: &[Offsets::FileOpen, Offsets::FileOpenAtExit, Offsets::UnixPeer],
                gaps: &[
                    "connects to credential sockets by io_uring or by 32-bit programs are not seen",
                    "datagrams to a credential socket by a socket that is not connected are not seen",
                ],
            },
        ],
    },
    Capability {
        name: "credential_refused",
        sees: "opens of catalogued credentials that were refused",
        essential: false,
        servings: &[
            Serving {
                rungs: &[Rung::Lsm, Rung::Fentry],
                programs: &[Program {
                    name: "open_refused",
                    attach: Attach::FunctionExit("capable_wrt_inode_uidgid"),
                }],
                offsets: &[Offsets::FileOpen, Offsets::NameLookup],
                gaps: &[
                    "opens refused by another security module, by a file's attributes (immutable), or by a file system \
                     that judges by itself (NFS, FUSE) are not seen",
                    "an open refused at a directory above the credential is not seen where it may create the file, or \
                     is made through io_uring or by a 32-bit program",
                ],
            },
            Serving {
                rungs: &[Rung::Tracepoint],
                programs: &[tracepoint("sys_exit", "sys_exit")],
                offsets: &[Offsets::FileOpen, Offsets::FileOpenAtExit, Offsets::NameLookup],
                gaps: &[
                    "of a refused open the path is as the caller claims it, links are not followed",
                    "refused opens through io_uring or by 32-bit programs are not seen",
                ],
            },
        ],
    },
    Capability {
        name: "dns_answer",
        sees: "answers of DNS servers over UDP, to whoever asked them: names of destinations",
        essential: false,
        servings: &[Serving {
            rungs: EVERY,
            programs: &[
                Program { name: "ingress", attach: Attach::CgroupIngress },
                cgroup("sendmsg4"),
                cgroup("sendmsg6"),
                cgroup("connect4"),
                cgroup("connect6"),
            ],
            offsets: &[Offsets::Connection, Offsets::Names],
            gaps: &[
                "names that are asked for over TCP, TLS or HTTPS are not seen",
                "names that a program on the host answers from memory, or by other means than DNS (nscd, nss-resolve, \
                 /etc/hosts), are known only as far as DNS on the same network told of them",
                "answers behind IPv4 options or IPv6 extension headers are not seen",
                "an answer that is forged on the network in the name of a configured server is taken for its own",
            ],
        }],
    },
    Capability {
        name: "client_hello",
        sees: "server names that TLS connections ask for",
        essential: false,
        servings: &[Serving {
            rungs: EVERY,
            programs: &[
                Program { name: "egress", attach: Attach::CgroupEgress },
                cgroup("connect4"),
                cgroup("connect6"),
            ],
            offsets: &[Offsets::Connection],
            gaps: &[
                "server names of QUIC, of connections that begin with something else than TLS (STARTTLS, a proxy), and \
                 encrypted ones are not seen",
                "server names behind IPv4 options or IPv6 extension headers are not seen",
            ],
        }],
    },
    Capability {
        name: "credential_change",
        sees: "renames, links, removals, and changes of mode, owner and length of catalogued credentials",
        essential: false,
        servings: &[
            Serving {
                rungs: &[Rung::Lsm, Rung::Fentry],
                programs: &[
                    exit("path_rename", "security_path_rename"),
                    exit("renamed", "vfs_rename"),
                    exit("path_link", "security_path_link"),
                    exit("linked", "vfs_link"),
                    exit("path_unlink", "security_path_unlink"),
                    exit("unlinked", "vfs_unlink"),
                    exit("mode_set", "chmod_common"),
                    exit("owner_set", "chown_common"),
                    exit("length_set", "vfs_truncate"),
                ],
                offsets: &[Offsets::FileOpen, Offsets::Rename],
                gaps: &[
                    "where a directory above it is renamed, a credential that was made since the start is known by its \
                     new path alone",
                    "refused changes of a credential are not seen where a directory above it refuses, nor links that \
                     fs.protected_hardlinks refuses",
                ],
            },
            Serving {
                rungs: &[Rung::Tracepoint],
                programs: &[tracepoint("sys_exit", "sys_exit")],
                offsets: &[Offsets::FileOpen, Offsets::FileOpenAtExit],
                gaps: &[
                    "renames, links and removals of credentials, and what is changed of them by path, are not seen",
                    "refused changes of credentials, and those by 32-bit programs, are not seen",
                ],
            },
        ],
    },
    Capability {
        name: "credential_received",
        sees: "descriptors of catalogued credentials that are received, or taken from another process",
        essential: false,
        servings: &[
            Serving {
                rungs: &[Rung::Lsm, Rung::Fentry],
                programs: &[exit("file_received", "security_file_receive")],
                offsets: &[Offsets::FileOpen, Offsets::FileOpenAtExit],
                gaps: &["files that one io_uring hands to another are not seen"],
            },
            Serving {
                rungs: &[Rung::Tracepoint],
                programs: &[tracepoint("sys_exit", "sys_exit")],
                offsets: &[Offsets::FileOpen, Offsets::FileOpenAtExit],
                gaps: &[
                    "descriptors that are received through io_uring or by 32-bit programs, or installed by a supervisor \
                     (seccomp), are not seen",
                    "descriptors in a message that another thread overwrites before the call returns are not seen, nor \
                     the last ones where a call receives hundreds of messages",
                ],
            },
        ],
    },
    Capability {
        name: "credential_inherited",
        sees: "descriptors of catalogued credentials that stay open when a process becomes another program",
        essential: false,
        servings: &[Serving {
            rungs: EVERY,
            programs: &[tracepoint("exec_inherits", "sched_process_exec")],
            offsets: &[Offsets::FileOpen, Offsets::FileOpenAtExit],
            gaps: &[
                "of a process with more than 8,000 descriptors, those that are inherited in the highest places",
            ],
        }],
    },
    Capability {
        name: "credential_held",
        sees: "descriptors of catalogued credentials that are open when the agent starts",
        essential: false,
        servings: &[Serving {
            rungs: EVERY,
            programs: &[Program { name: "held", attach: Attach::FileIterator }],
            offsets: &[Offsets::FileOpen],
            gaps: &["files that an io_uring, a message under way, or a mapping alone holds are not seen"],
        }],
    },
    Capability {
        name: "credential_socket_held",
        sees: "connections to credential sockets that are open when the agent starts",
        essential: false,
        servings: &[Serving {
            rungs: EVERY,
            programs: &[Program { name: "held_unix", attach: Attach::FileIterator }],
            offsets: &[Offsets::FileOpen, Offsets::Outcome, Offsets::UnixPeer],
            gaps: &[
                "connections to credential sockets that an io_uring or a message under way alone holds at the start are not \
                 seen",
            ],
        }],
    },
    Capability {
        name: "memory_access",
        sees: "ptrace of other processes, reads and writes of their memory, opens of their /proc/PID/mem and environ",
        essential: false,
        servings: &[
            Serving {
                rungs: &[Rung::Lsm, Rung::Fentry],
                programs: &[
                    exit("ptrace_checked", "__ptrace_may_access"),
                    exit("traceme_checked", "security_ptrace_traceme"),
                    exit("mem_opened", "mem_open"),
                    exit("environ_opened", "environ_open"),
                    exit("open_refused", "capable_wrt_inode_uidgid"),
                ],
                offsets: &[Offsets::Memory, Offsets::FileOpen, Offsets::NameLookup],
                gaps: &[
                    "of memory that a process is allowed to reach, whether the call then succeeded is not known",
                ],
            },
            Serving {
                rungs: &[Rung::Tracepoint],
                programs: &[tracepoint("sys_exit", "sys_exit")],
                offsets: &[
                    Offsets::Memory,
                    Offsets::MemoryAtExit,
                    Offsets::FileOpen,
                    Offsets::FileOpenAtExit,
                ],
                gaps: &[
                    "refused opens of another's /proc/PID/mem and environ are not seen",
                    "memory of others that is reached by 32-bit programs, or opened through io_uring, is not seen",
                ],
            },
        ],
    },
    Capability {
        name: "key_access",
        sees: "reads of keys of the kernel's keyrings",
        essential: false,
        servings: &[
            Serving {
                rungs: &[Rung::Lsm, Rung::Fentry],
                programs: &[exit("key_checked", "key_task_permission"), exit("key_read", "keyctl_read_key")],
                offsets: &[Offsets::Process, Offsets::Key],
                gaps: &[],
            },
            Serving {
                rungs: &[Rung::Tracepoint],
                programs: &[tracepoint("sys_exit", "sys_exit")],
                offsets: &[Offsets::FileOpenAtExit, Offsets::SocketAtExit],
                gaps: &[
                    "of a key that is read, type, description and owner are not known, nor whether it is a keyring",
                    "reads of keys by 32-bit programs are not seen",
                ],
            },
        ],
    },
];

/// What is lost besides on kernels from 5.10 on that lack something of what those since 5.17 have, by capability.
const LOST_ON_5_10: &[(&str, &[&str])] = &[
    (
        "connection_held",
        &["connections and connected UDP sockets of before the start are not seen on kernels before 5.17"],
    ),
    ("listener", &["who listens on this host is not seen on kernels before 5.17"]),
    ("connect_outcome", FORGOTTEN),
    ("connection_end", FORGOTTEN),
    ("connection_update", FORGOTTEN),
    ("client_hello", FORGOTTEN),
    ("datagram", FORGOTTEN),
    (
        "credential_socket",
        &["on kernels before 5.17, each datagram to a credential socket is told, not the first alone"],
    ),
    (
        "credential_received",
        &[
            "on kernels before 5.17 without trampolines, of what one call receives, descriptors behind the first 60 or so \
             are not seen",
        ],
    ),
];

/// [`agent_common::limits::SOCKETS_5_10`].
const FORGOTTEN: &[&str] =
    &["on kernels before 5.17, of more than 16,384 sockets at once those unused longest are forgotten"];

/// Whether nothing serves a capability on such a kernel, whatever the rung.
pub fn is_unserved_on_5_10(capability: &str) -> bool {
    matches!(capability, "connection_held" | "listener")
}

/// What a capability loses besides on such a kernel, one sentence each.
pub fn lost_on_5_10(capability: &str) -> &'static [&'static str] {
    LOST_ON_5_10.iter().find(|(name, _)| *name == capability).map_or(&[], |(_, lost)| lost)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rung_can_serve_every_capability() {
        for capability in LADDER {
            for rung in Rung::ALL {
                assert!(
                    capability.servings.iter().any(|serving| serving.rungs.contains(&rung)),
                    "{} has nothing on {rung}",
                    capability.name
                );
            }
        }
    }

    #[test]
    fn what_older_kernels_lose_is_lost_by_capabilities() {
        for (name, lost) in LOST_ON_5_10 {
            assert!(LADDER.iter().any(|capability| capability.name == *name), "{name}");
            assert!(
                !lost.is_empty() && lost_on_5_10(name) == *lost,
                "{name} stands there twice, or for nothing"
            );
        }
        let unserved: Vec<_> = LADDER.iter().filter(|one| is_unserved_on_5_10(one.name)).collect();
        assert!(unserved.iter().all(|one| !one.essential && !lost_on_5_10(one.name).is_empty()));
        assert_eq!(unserved.len(), 2);
        assert_eq!(lost_on_5_10("process_life"), &[] as &[&str]);
        let sockets = agent_common::limits::SOCKETS_5_10;
        assert!(FORGOTTEN[0].contains(&format!("{},{:03}", sockets / 1000, sockets % 1000)));
    }

    #[test]
    fn names_of_rungs_read_back() {
        for rung in Rung::ALL {
            assert_eq!(Rung::from_name(rung.name()), Some(rung));
        }
        assert_eq!(Rung::from_name("kprobe"), None);
    }
}
