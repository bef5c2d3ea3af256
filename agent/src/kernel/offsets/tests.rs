//! Offsets on stored types of six kernels, and what happens to a kernel that differs.

use std::collections::BTreeSet;

use super::*;
use crate::kernel::btf::synthetic::{INT, LONG, Member, Synthetic};
use crate::kernel::btf::{BTF_DIRECTORY, KernelTypes};
use agent_common::offsets::POISON;

/// Debian's 5.10.0-46, 6.1.0-56 and 6.12.117 cloud kernels for amd64, a 6.18.44, 7.3.4, and 6.1.0-50 for arm64.
const KERNELS: [(&str, &[u8]); 6] = [
    ("5.10", include_bytes!("../../../tests/data/btf/5.10.btf")),
    ("6.1", include_bytes!("../../../tests/data/btf/6.1.btf")),
    ("6.12", include_bytes!("../../../tests/data/btf/6.12.btf")),
    ("6.18", include_bytes!("../../../tests/data/btf/6.18.btf")),
    ("7.3", include_bytes!("../../../tests/data/btf/7.3.btf")),
    ("6.1 arm64", include_bytes!("../../../tests/data/btf/6.1-arm64.btf")),
];

/// In the order of [`KERNELS`], computed from `bpftool btf dump -j` of the whole, unreduced files.
const TRUTH: &[(&str, [u32; 6])] = &[
    ("task_tgid", [2236, 2420, 2436, 1268, 2876, 1356]),
    ("task_pid", [2232, 2416, 2432, 1264, 2872, 1352]),
    ("task_group_leader", [2296, 2480, 2496, 1328, 2936, 1416]),
    ("task_real_parent", [2248, 2432, 2448, 1280, 2888, 1368]),
    ("task_start_boottime", [2544, 2784, 2784, 1560, 3224, 1720]),
    ("task_exit_code", [2136, 2312, 2332, 1164, 2772, 1248]),
    ("task_signal", [2832, 3072, 3072, 1848, 3520, 2008]),
    ("task_loginuid", [2936, 3176, 3176, 1952, 3624, 2112]),
    ("task_sessionid", [2940, 3180, 3180, 1956, 3628, 2116]),
    ("task_cred", [2720, 2960, 2960, 1736, 3392, 1896]),
    ("task_mm", [2056, 2272, 2304, 1136, 2744, 1208]),
    ("task_fs", [2800, 3040, 3040, 1816, 3480, 1976]),
    ("task_files", [2808, 3048, 3048, 1824, 3488, 1984]),
    ("task_nsproxy", [2824, 3064, 3064, 1840, 3512, 2000]),
    ("task_cgroups", [3328, 3600, 3584, 2376, 4072, 2384]),
    ("task_thread_pid", [2336, 2520, 2536, 1368, 2976, 1456]),
    ("signal_live", [4, 4, 4, 4, 4, 4]),
    ("cred_uid", [8, 8, 8, 8, 8, 8]),
    ("cred_cap_effective", [60, 60, 64, 64, 64, 60]),
    ("cred_cap_permitted", [52, 52, 56, 56, 56, 52]),
    ("cred_user_ns", [136, 136, 144, 144, 144, 136]),
    ("user_ns_inum", [264, 256, 232, 240, 344, 256]),
    ("nsproxy_mnt_ns", [24, 24, 24, 24, 24, 24]),
    ("nsproxy_net_ns", [40, 40, 40, 40, 40, 40]),
    ("nsproxy_pid_ns", [32, 32, 32, 32, 32, 32]),
    ("mnt_ns_inum", [24, 16, 16, 24, 88, 16]),
    ("net_ns_inum", [144, 144, 136, 176, 280, 144]),
    ("net_cookie", [4416, 4032, 4224, 4160, 4672, 4032]),
    ("pid_ns_inum", [136, 128, 128, 136, 344, 128]),
    ("pid_level", [4, 4, 4, 4, 4, 4]),
    ("pid_numbers", [96, 96, 112, 144, 128, 96]),
    ("upid_size", [16, 16, 16, 16, 16, 16]),
    ("upid_nr", [0, 0, 0, 0, 0, 0]),
    ("upid_ns", [8, 8, 8, 8, 8, 8]),
    ("mm_arg_start", [312, 312, 376, 480, 728, 288]),
    ("mm_arg_end", [320, 320, 384, 488, 736, 296]),
    ("mm_env_start", [328, 328, 392, 496, 744, 304]),
    ("mm_env_end", [336, 336, 400, 504, 752, 312]),
    ("mm_exe_file", [928, 944, 1168, 1312, 1536, 808]),
    ("bprm_filename", [96, 96, 96, 96, 120, 96]),
    ("bprm_interp", [104, 104, 104, 104, 128, 104]),
    ("bprm_argc", [88, 88, 88, 88, 112, 88]),
    ("bprm_file", [64, 64, 64, 64, 88, 64]),
    ("fs_pwd", [40, 40, 40, 40, 40, 40]),
    ("fs_root", [24, 24, 24, 24, 24, 24]),
    ("path_mnt", [0, 0, 0, 0, 0, 0]),
    ("path_dentry", [8, 8, 8, 8, 8, 8]),
    ("mount_mnt", [32, 32, 32, 32, 32, 32]),
    ("mount_parent", [16, 16, 16, 16, 16, 16]),
    ("mount_mountpoint", [24, 24, 24, 24, 24, 24]),
    ("mount_namespace", [224, 232, 240, 232, 232, 232]),
    ("vfsmount_root", [0, 0, 0, 0, 0, 0]),
    ("dentry_parent", [24, 24, 24, 24, 24, 24]),
    ("dentry_name", [40, 40, 40, 40, 40, 40]),
    ("dentry_name_len", [36, 36, 36, 36, 36, 36]),
    ("dentry_inline_name", [56, 56, 56, 56, 56, 56]),
    ("dentry_inode", [48, 48, 48, 48, 48, 48]),
    ("file_inode", [32, 32, 40, 32, 32, 32]),
    ("file_path", [16, 16, 64, 64, 64, 16]),
    ("file_flags", [64, 64, 48, 40, 40, 64]),
    ("file_mode", [68, 68, 12, 4, 4, 68]),
    ("file_private_data", [200, 200, 32, 24, 24, 200]),
    ("inode_number", [64, 64, 64, 64, 64, 64]),
    ("inode_mode", [0, 0, 0, 0, 0, 0]),
    ("inode_links", [72, 72, 72, 72, 72, 72]),
    ("inode_superblock", [40, 40, 40, 40, 40, 40]),
    ("inode_ctime_seconds", [120, 120, 104, 104, 104, 120]),
    ("inode_ctime_nanoseconds", [128, 128, 120, 120, 120, 128]),
    ("superblock_device", [16, 16, 16, 16, 16, 16]),
    ("files_fdt", [32, 32, 32, 32, 32, 32]),
    ("fdtable_fd", [8, 8, 8, 8, 8, 8]),
    ("fdtable_max_fds", [0, 0, 0, 0, 0, 0]),
    ("fdtable_open_fds", [24, 24, 24, 24, 24, 24]),
    ("css_set_default_cgroup", [120, 128, 128, 112, 128, 128]),
    ("cgroup_node", [248, 248, 256, 256, 296, 248]),
    ("kernfs_name", [16, 16, 16, 16, 16, 16]),
    ("kernfs_parent", [8, 8, 8, 8, 8, 8]),
    ("kernfs_id", [104, 104, 96, 96, 96, 104]),
    ("socket_sock", [24, 24, 24, 24, 24, 24]),
    ("sock_cookie", [88, 88, 88, 88, 88, 88]),
    ("sock_daddr", [0, 0, 0, 0, 0, 0]),
    ("sock_saddr", [4, 4, 4, 4, 4, 4]),
    ("sock_v6_daddr", [56, 56, 56, 56, 56, 56]),
    ("sock_v6_saddr", [72, 72, 72, 72, 72, 72]),
    ("sock_dport", [12, 12, 12, 12, 12, 12]),
    ("sock_local_port", [14, 14, 14, 14, 14, 14]),
    ("sock_family", [16, 16, 16, 16, 16, 16]),
    ("sock_error", [568, 544, 284, 284, 284, 544]),
    ("sock_protocol", [540, 516, 574, 532, 540, 516]),
    ("regs_syscall", [120, 120, 120, 120, 120, 280]),
    ("regs_first_argument", [112, 112, 112, 112, 112, 272]),
    ("sock_state", [18, 18, 18, 18, 18, 18]),
    ("sock_flags", [96, 96, 96, 96, 96, 96]),
    ("sock_max_ack_backlog", [580, 556, 608, 604, 620, 556]),
    ("tcp_bytes_sent", [1448, 1488, 1608, 1544, 1616, 1448]),
    ("tcp_bytes_retransmitted", [2096, 2136, 2208, 2192, 2296, 2096]),
    ("tcp_bytes_received", [1408, 1448, 1784, 1752, 1864, 1408]),
    ("regs_second_argument", [104, 104, 104, 104, 104, 0]),
    ("regs_third_argument", [96, 96, 96, 96, 96, 0]),
    ("compatibility", [8, 16, 16, 16, 16, 264]),
    ("unix_address", [768, 776, 776, 784, 800, 776]),
    ("unix_path", [776, 784, 784, 792, 808, 784]),
    ("unix_peer", [856, 864, 864, 872, 872, 864]),
    ("unix_address_length", [4, 4, 4, 4, 4, 4]),
    ("unix_address_name", [12, 8, 8, 8, 8, 8]),
    // Debian's cloud kernel of 5.10 has no MPTCP.
    ("tcp_is_mptcp", [POISON, 2220, 2272, 2252, 2356, 2180]),
    ("task_flags", [36, 44, 44, 44, 44, 44]),
    ("task_nameidata", [2752, 2992, 2992, 1768, 3424, 1928]),
    ("nameidata_path", [0, 0, 0, 0, 0, 0]),
    ("nameidata_name", [192, 200, 200, 200, 200, 200]),
    ("nameidata_dfd", [212, 220, 220, 228, 228, 220]),
    ("filename_name", [0, 0, 0, 0, 0, 0]),
    ("sock_net", [48, 48, 48, 48, 48, 48]),
    ("renamedata_old_dentry", [8, 16, 16, 16, 16, 16]),
    ("task_comm", [2736, 2976, 2976, 1752, 3408, 1912]),
    ("task_pid_links", [2344, 2528, 2544, 1376, 2984, 1464]),
    ("pid_tasks", [16, 16, 32, 64, 48, 16]),
    ("proc_inode_pid", [0, 0, 0, 0, 0, 0]),
    ("proc_inode_inode", [72, 72, 72, 72, 72, 72]),
    ("superblock_magic", [96, 96, 96, 96, 112, 96]),
    ("pid_ns_tree", [16, 8, 8, 8, 8, 8]),
    ("tree_shift", [0, 0, 0, 0, 0, 0]),
    ("tree_slots", [40, 40, 40, 40, 40, 40]),
    ("key_serial", [4, 4, 4, 4, 4, 4]),
    ("key_uid", [104, 104, 104, 104, 96, 104]),
    ("key_kind", [152, 152, 152, 152, 144, 152]),
    ("key_description", [168, 168, 168, 168, 160, 168]),
    ("key_type_name", [0, 0, 0, 0, 0, 0]),
    ("regs_fourth_argument", [56, 56, 56, 56, 56, 0]),
    ("css_set_links", [456, 480, 480, 432, 480, 480]),
    ("set_link_cgroup", [0, 0, 0, 0, 0, 0]),
    ("set_link_of_set", [32, 32, 32, 32, 32, 32]),
    ("cgroup_hierarchy", [480, 656, 720, 696, 808, 656]),
    ("hierarchy_number", [12, 12, 12, 12, 12, 12]),
    ("sock_bound_device", [20, 20, 20, 20, 20, 20]),
];

fn resolve_bytes(bytes: &[u8]) -> Resolved {
    resolve(&KernelTypes::parse(bytes).expect("stored data parses"))
}

#[test]
fn every_field_is_in_the_table_once() {
    let names: Vec<_> = TABLE.iter().map(|field| field.name).collect();
    assert_eq!(names, KernelOffsets::NAMES, "the table follows the struct's order");
    assert!(TABLE.iter().all(|field| !field.places.is_empty()));
}

#[test]
fn offsets_agree_with_bpftool_on_every_kernel() {
    assert_eq!(TRUTH.len(), KernelOffsets::NAMES.len());
    for (column, (kernel, bytes)) in KERNELS.iter().enumerate() {
        let resolved = resolve_bytes(bytes);
        for (name, truth) in TRUTH {
            assert_eq!(resolved.offsets.get(name), Some(truth[column]), "{name} on {kernel}");
        }
        let missing: Vec<_> = resolved.missing.iter().map(|m| m.field).collect();
        let absent: Vec<_> =
            TRUTH.iter().filter(|(_, truth)| truth[column] == POISON).map(|(name, _)| *name).collect();
        assert_eq!(missing, absent, "on {kernel}");
        assert_eq!(resolved.found.len(), TABLE.len() - absent.len());
    }
}

/// From `bpftool btf dump` of the whole files: a stack of 16 KiB ends in `pt_regs`, of 168 bytes.
#[test]
fn registers_are_found_where_the_kernel_gives_none() {
    let at =
        |kernel: usize| entry_registers(&KernelTypes::parse(KERNELS[kernel].1).expect("stored data parses"));
    assert_eq!(at(0), EntryRegisters { task_stack: 24, from_stack: 16_384 - 168 });
    assert_eq!(at(1), EntryRegisters { task_stack: 32, from_stack: 16_384 - 168 });
    // arm64 has other registers.
    assert_eq!(at(5), EntryRegisters::POISONED);
}

#[test]
fn the_place_and_width_that_held_are_told() {
    let found = |kernel: usize, name: &str| {
        let resolved = resolve_bytes(KERNELS[kernel].1);
        let found = resolved.found.into_iter().find(|f| f.field == name).expect("found");
        (found.path, found.size)
    };
    assert_eq!(found(1, "inode_ctime_nanoseconds"), ("inode.i_ctime.tv_nsec", 8));
    assert_eq!(found(2, "inode_ctime_nanoseconds"), ("inode.i_ctime_nsec", 4));
    assert_eq!(found(1, "kernfs_parent"), ("kernfs_node.parent", 8));
    assert_eq!(found(3, "kernfs_parent"), ("kernfs_node.__parent", 8));
    assert_eq!(found(0, "cred_cap_effective"), ("cred.cap_effective.cap", 8));
    assert_eq!(found(3, "regs_syscall"), ("pt_regs.orig_ax", 8));
    assert_eq!(found(5, "regs_syscall"), ("pt_regs.syscallno", 4));
}

/// `struct sock` with a common part of these members, and `sk_err`.
fn sock(common: &[Member]) -> Resolved {
    let mut types = Synthetic::new();
    let common = types.composite("sock_common", 32, common);
    types.composite("sock", 64, &[Member::at("__sk_common", common, 8), Member::at("sk_err", INT, 40)]);
    resolve_bytes(&types.bytes())
}

/// What is said of `sock_daddr`, wanted as four bytes at `sock.__sk_common.skc_daddr`.
fn reason(resolved: &Resolved) -> String {
    assert_eq!(resolved.offsets.sock_daddr, POISON);
    resolved.missing.iter().find(|m| m.field == "sock_daddr").expect("missing").reason()
}

#[test]
fn a_member_that_is_right_is_found_and_one_that_differs_is_refused() {
    assert_eq!(sock(&[Member::at("skc_daddr", INT, 4)]).offsets.sock_daddr, 12);
    let refusals = [
        (Member::at("skc_daddr", LONG, 8), "wanted an integer of 4 bytes, found Integer of 8 bytes"),
        (Member::bits("skc_daddr", INT, 4, 3), "skc_daddr is a bit-field"),
        (Member::at("skc_other", INT, 4), "__sk_common has no member skc_daddr"),
        (Member::at("skc_daddr", INT, 30), "skc_daddr does not lie at whole bytes within its structure"),
        (Member::at("skc_daddr", 999, 4), "the data is damaged: no type with id 999"),
    ];
    for (member, expected) in refusals {
        let reason = reason(&sock(&[member]));
        assert_eq!(reason, format!("sock.__sk_common.skc_daddr: {expected}"));
    }
}

#[test]
fn a_missing_field_takes_only_what_needs_it() {
    let whole = resolve_bytes(KERNELS[2].1);
    let all = [
        Process,
        Exec,
        Connection,
        Outcome,
        FileOpen,
        FileOpenAtExit,
        Traffic,
        SocketAtExit,
        UnixPeer,
        NameLookup,
        Memory,
        MemoryAtExit,
        Key,
    ];
    assert!(all.iter().all(|capability| whole.lacking(*capability).next().is_none()));

    let empty = sock(&[]);
    let lacking: BTreeSet<_> = empty.lacking(Outcome).map(|m| m.field).collect();
    assert!(lacking.contains("sock_cookie") && !lacking.contains("sock_error"));
    assert!(!empty.lacking(FileOpen).any(|m| m.field.starts_with("sock")));
    assert!(empty.lacking(Connection).any(|m| m.field == "task_start_boottime"), "the actor's key");
    let ctime = empty.missing.iter().find(|m| m.field == "inode_ctime_seconds").expect("missing");
    assert_eq!(ctime.wanted, "inode.i_ctime_sec | inode.__i_ctime.tv_sec | inode.i_ctime.tv_sec");
    assert_eq!(ctime.needed_by, []);
}

#[test]
fn pointers_are_told_apart_by_what_they_point_to() {
    let mut types = Synthetic::new();
    let (file, inode) = (types.forward("file"), types.forward("inode"));
    let (to_file, to_inode) = (types.pointer(file), types.pointer(inode));
    let to_files = types.pointer(to_file);
    types.composite("mm_struct", 8, &[Member::at("exe_file", to_file, 0)]);
    types.composite("linux_binprm", 8, &[Member::at("file", to_inode, 0)]);
    types.composite("fdtable", 8, &[Member::at("fd", to_files, 0)]);
    let resolved = resolve_bytes(&types.bytes());
    assert_eq!(resolved.offsets.mm_exe_file, 0);
    assert_eq!(resolved.offsets.fdtable_fd, 0);
    assert_eq!(resolved.offsets.bprm_file, POISON);
}

#[test]
fn this_host_resolves_what_its_capabilities_need() {
    let directory = std::path::Path::new(BTF_DIRECTORY);
    if !directory.join("vmlinux").exists() {
        println!("skipped: this kernel shows no types at {BTF_DIRECTORY}/vmlinux");
        return;
    }
    let resolved = resolve(&KernelTypes::read(directory).expect("the kernel's own types parse"));
    for capability in [
        Process,
        Exec,
        Connection,
        Outcome,
        FileOpen,
        FileOpenAtExit,
        Traffic,
        SocketAtExit,
        UnixPeer,
        NameLookup,
        Memory,
        MemoryAtExit,
        Key,
    ] {
        let lacking: Vec<_> = resolved.lacking(capability).map(MissingOffset::reason).collect();
        assert_eq!(lacking, Vec::<String>::new(), "{capability:?}");
    }
}
