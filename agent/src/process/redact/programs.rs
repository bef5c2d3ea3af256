//! What programs take as a secret where neither a flag nor a value says so: short flags, positions, pairs.
//!
//! From the programs' manuals. A flag that names its secret (`--password`) needs no line here.

/// How a program takes a secret.
pub(super) enum Rule {
    /// The word after one of these, or what is glued to it.
    Value(&'static [&'static str]),
    /// The word after one of these, or after `=`, for programs whose long flags have one dash.
    Exact(&'static [&'static str]),
    /// Only what is glued to one of these.
    Glued(&'static [&'static str]),
    /// The word after one of these, or glued to it, is `user<sign>password`; with none, every word is.
    Pair(u8, &'static [&'static str]),
    /// The words from this position on after this sub-command (or the program, where it is empty), flags not counted.
    From(&'static str, usize),
    /// Only the word at this position.
    Nth(&'static str, usize),
    /// A word `user/password`, perhaps with `@where` after it.
    Slash,
    /// Every `name=value` after this sub-command, unless the name is a harmless one.
    Assignments(&'static str),
}

/// Programs, with the words of which one must be among the arguments (none: always), and what they take.
pub(super) struct Program {
    pub(super) names: &'static [&'static str],
    pub(super) when: &'static [&'static str],
    pub(super) rules: &'static [Rule],
}

const fn always(names: &'static [&'static str], rules: &'static [Rule]) -> Program {
    Program { names, when: &[], rules }
}

const fn when(
    names: &'static [&'static str],
    words: &'static [&'static str],
    rules: &'static [Rule],
) -> Program {
    Program { names, when: words, rules }
}

use Rule::{Assignments, Exact, From, Glued, Nth, Pair, Slash, Value};

#[rustfmt::skip]
pub(super) const PROGRAMS: &[Program] = &[
    // Databases.
    always(
        &[
            "mysql", "mysqldump", "mysqladmin", "mysqlimport", "mysqlshow", "mysqlcheck", "mysqlslap",
            "mysqlbinlog", "mysqlpump", "mysqlsh", "mysql_upgrade", "mariadb", "mariadb-dump", "mariadb-admin",
            "mariadb-import", "mariadb-show", "mariadb-check", "mariadb-binlog", "mariadb-backup", "mariabackup",
            "mytop", "mysqlreport", "mysqltuner", "mysqlhotcopy",
        ],
        &[Glued(&["-p"])],
    ),
    always(
        &[
            "mydumper", "myloader", "mycli", "innobackupex", "xtrabackup", "pt-table-checksum", "pt-table-sync",
            "pt-online-schema-change", "pt-archiver", "pt-kill", "pt-heartbeat", 
            "mssql-cli", "mongo", "mongosh", "mongodump", "mongorestore", "mongoexport", "mongoimport",
            "mongostat", "mongotop", "mongofiles", "cqlsh", "cypher-shell", "neo4j-shell", "arangosh",
            "arangodump", "arangorestore", "arangoimport", "beeline", "jmxterm", "couchbase-cli", "cbbackupmgr",
            "cbq", "cbimport", "cbexport", "dbaccess", "taos", 
        ],
        &[Value(&["-p"])],
    ),
    always(&["nodetool", "sstableloader", "cassandra-stress"], &[Exact(&["-pw"])]),
    always(&["influx", "influxd"], &[Exact(&["-t", "-p"])]),
    always(
        &[
            "sqlcmd", "bcp", "osql", "isql", "fisql", "tsql", "sqsh", "snowsql", "mosquitto_pub",
            "mosquitto_sub", "mosquitto_rr", "go-sqlcmd",
        ],
        &[Value(&["-P"])],
    ),
    always(
        &["redis-cli", "valkey-cli", "keydb-cli", "redis-benchmark", "valkey-benchmark", "iredis"],
        &[Value(&["-a", "--pass"]), Exact(&["requirepass", "masterauth"]), Nth("AUTH", 1), Nth("AUTH", 2), Glued(&[">"])],
    ),
    always(&["redis-server", "valkey-server", "keydb-server"], &[Exact(&["--requirepass", "--masterauth"])]),
    always(&["sqlplus", "sqlldr", "rman", "expdp", "impdp", "exp", "imp", "dgmgrl"], &[Slash]),
    always(&["db2", "clpplus"], &[Exact(&["using", "USING"])]),
    always(&["isql"], &[Nth("", 3)]),
    always(&["freebcp", "defncopy"], &[Value(&["-P"])]),
    always(&["hdbsql"], &[Value(&["-p"])]),
    when(&["etcdctl"], &["user"], &[Pair(b':', &[])]),
    when(&["mosquitto_passwd"], &["-b"], &[From("", 3)]),
    when(&["neo4j-admin"], &["set-initial-password"], &[Nth("set-initial-password", 1)]),
    when(
        &["rabbitmqctl"],
        &["add_user", "change_password", "authenticate_user"],
        &[Nth("add_user", 2), Nth("change_password", 2), Nth("authenticate_user", 2)],
    ),
    always(&["rabbitmqadmin", "kcadm.sh", "kcadm", "add-user.sh", "kcreg.sh", "jboss-cli.sh"], &[Value(&["-p"])]),
    when(&["elasticsearch-users"], &["useradd", "passwd"], &[Value(&["-p"])]),
    when(&["zkCli.sh", "zkcli"], &["addauth"], &[From("addauth", 2)]),
    // Directories, Windows networks and tools of administrators and testers.
    always(
        &[
            "ldapsearch", "ldapmodify", "ldapadd", "ldapdelete", "ldappasswd", "ldapwhoami", "ldapcompare",
            "ldapmodrdn", "ldapexop", "ldapvi", "ldapdomaindump", "windapsearch",
        ],
        &[Value(&["-w"])],
    ),
    always(&["ldappasswd"], &[Value(&["-s", "-a"])]),
    always(
        &[
            "smbclient", "rpcclient", "smbget", "smbcacls", "smbcquotas", "wmic", "winexe", "smbtree", "smbtar",
            "net", "wbinfo", "ntlm_auth", "smbspool",
        ],
        &[Pair(b'%', &["-U", "--user", "-W"])],
    ),
    when(&["samba-tool"], &["user", "domain", "dns"], &[Pair(b'%', &["-U"])]),
    when(&["samba-tool"], &["create", "add"], &[Nth("create", 2), Nth("add", 2)]),
    when(&["net", "net.exe"], &["user", "use"], &[Nth("user", 2), Nth("use", 3)]),
    always(
        &[
            "crackmapexec", "cme", "netexec", "nxc", "evil-winrm", "smbmap", "bloodhound-python", "hydra",
            "medusa", "enum4linux", "enum4linux-ng", "certipy", "coercer", "rdesktop", "xtightvncviewer",
            "winrs", "kerbrute", "manspider", "lsassy", "donpapi", "pywerview", "rpcdump", "ldeep", "adidnsdump",
            "responder", "vncdo", "gosecretsdump", 
        ],
        &[Value(&["-p"])],
    ),
    always(&["crackmapexec", "cme", "netexec", "nxc", "evil-winrm"], &[Value(&["-H"])]),
    always(
        &["xfreerdp", "xfreerdp3", "wlfreerdp", "sdl-freerdp", "mstsc"],
        &[Glued(&["/p:", "/gp:", "/pth:", "/gat:", "-p:", "/assistance:"])],
    ),
    always(&["plink", "pscp", "psftp", "putty"], &[Exact(&["-pw"])]),
    always(&["sshpass"], &[Value(&["-p"])]),
    always(&["ssh-keygen"], &[Value(&["-N", "-P"])]),
    always(&["kinit"], &[Value(&["--password"])]),
    when(&["kadmin", "kadmin.local"], &["-w", "-pw", "-q"], &[Value(&["-w", "-pw"])]),
    always(
        &[
            "snmpget", "snmpset", "snmpwalk", "snmpbulkwalk", "snmpbulkget", "snmpgetnext", "snmptable",
            "snmptrap", "snmpinform", "snmpdf", "snmpstatus", "snmptranslate", "check_snmp",
        ],
        &[Value(&["-c", "-A", "-X", "-3m", "-3M", "-3k", "-3K"])],
    ),
    always(&["ipmitool"], &[Value(&["-P", "-k", "-y"])]),
    always(
        &["ipmiconsole", "ipmipower", "ipmi-sensors", "bmc-info", "redfishtool", "racadm", "ilorest"],
        &[Value(&["-p"])],
    ),
    // Accounts of this machine.
    when(
        &["htpasswd"],
        &[
            "-b", "-bc", "-cb", "-bB", "-Bb", "-nb", "-bn", "-nbB", "-bnB", "-Bbn", "-nbBC", "-cbB", "-Bbc",
            "-bcB", "-nBb", "-bm", "-bs", "-bd", "-nbm", "-nbs", "-bv", "-vb",
        ],
        &[From("", 3)],
    ),
    when(&["htpasswd"], &["-nb", "-bn", "-nbB", "-bnB", "-Bbn", "-nbBC", "-nBb", "-nbm", "-nbs"], &[From("", 2)]),
    always(&["useradd", "usermod", "adduser", "groupadd", "groupmod", "luseradd", "lusermod"], &[Value(&["-p"])]),
    when(&["openssl"], &["passwd"], &[From("passwd", 1)]),
    always(
        &["openssl"],
        &[
            Glued(&["pass:"]),
            Exact(&["-k", "-K", "-hmac", "-psk", "-srppass"]),
            Glued(&["key:", "hexkey:", "password:"]),
        ],
    ),
    always(&["mkpasswd", "pdbedit-hash", "slappasswd"], &[Value(&["-s"]), From("", 1)]),
    always(&["wpa_passphrase"], &[From("", 2)]),
    always(&["iwconfig"], &[Exact(&["key", "enc"])]),
    when(&["wpa_cli"], &["psk", "password", "wep_key0"], &[Exact(&["psk", "password", "wep_key0"])]),
    always(
        &["nmcli"],
        &[Exact(&[
            "password", "wifi-sec.psk", "802-11-wireless-security.psk", "802-1x.password", "wep-key0",
        ])],
    ),
    when(&["networksetup"], &["-setairportnetwork"], &[Nth("-setairportnetwork", 3)]),
    always(&["security"], &[Value(&["-p", "-w", "-P"])]),
    when(&["dscl"], &["-passwd", "passwd"], &[From("-passwd", 2), From("passwd", 2)]),
    when(
        &["virt-customize", "virt-builder", "virt-sysprep"],
        &["--root-password", "--password"],
        &[Glued(&["password:"]), Pair(b':', &["--password"])],
    ),
    when(&["doveadm"], &["pw", "auth"], &[Value(&["-p"]), Nth("test", 2)]),
    when(
        &["ejabberdctl"],
        &["register", "change_password", "check_password"],
        &[Nth("register", 3), Nth("change_password", 3), Nth("check_password", 3)],
    ),
    when(&["prosodyctl"], &["register"], &[Nth("register", 3)]),
    when(&["keyctl"], &["add", "update", "request2"], &[Nth("add", 3), Nth("update", 2)]),
    when(&["caddy"], &["hash-password"], &[Value(&["-p", "--plaintext"])]),
    // Archives, disks, documents and signatures.
    always(&["ccrypt", "ccencrypt", "ccdecrypt"], &[Value(&["-K"])]),
    always(&["mcrypt", "mdecrypt"], &[Value(&["-k"])]),
    always(&["aescrypt"], &[Value(&["-p"])]),
    always(&["unzip", "zip", "zipcloak", "funzip"], &[Value(&["-P"])]),
    always(&["7z", "7za", "7zr", "7zz", "7zzs", "p7zip"], &[Glued(&["-p"])]),
    always(&["rar", "unrar", "unar", "lsar", "arj"], &[Glued(&["-hp", "-p", "-g"])]),
    always(
        &[
            "unar", "lsar", "fcrackzip", "pdfcrack", "steghide", "mutool", "veracrypt", "truecrypt",
            "openfortivpn", "msoffcrypto-tool", "yt-dlp", "youtube-dl", "ncftpput", "ncftpget", "ncftp",
            "ncftpls", "openconnect-sso", "gallery-dl", "you-get", "megadl", "megaput",
        ],
        &[Value(&["-p"])],
    ),
    always(&["dislocker", "dislocker-fuse", "dislocker-file", "dislocker-metadata"], &[Glued(&["-p", "-u"])]),
    always(
        &[
            "pdftotext", "pdftoppm", "pdfimages", "pdfinfo", "pdftohtml", "pdftops", "pdftocairo", "pdfdetach",
            "pdffonts", "pdfseparate",
        ],
        &[Exact(&["-upw", "-opw"])],
    ),
    always(&["pdftk", "pdftk-java"], &[Exact(&["input_pw", "user_pw", "owner_pw"])]),
    when(&["qpdf"], &["--encrypt"], &[Nth("--encrypt", 1), Nth("--encrypt", 2)]),
    always(&["osslsigncode", "signtool", "signcode", "jsign"], &[Exact(&["-pass", "/p"])]),
    always(&["apksigner", "jarsigner", "zipalign"], &[Glued(&["pass:"])]),
    when(
        &["xcrun", "altool", "notarytool"],
        &["altool", "notarytool", "--upload-app", "--validate-app", "submit"],
        &[Value(&["-p"])],
    ),
    // Transfers and requests.
    always(
        &["curl"],
        &[
            Pair(
                b':',
                &["-u", "--user", "-U", "--proxy-user", "--socks5-user", "-E", "--cert", "--proxy-cert"],
            ),
            Value(&["--pass", "--proxy-pass", "--tlspassword", "--proxy-tlspassword", "--oauth2-bearer"]),
        ],
    ),
    always(
        &["http", "https", "httpie", "xh", "xhs", "oha", "hey", "http-prompt"],
        &[Pair(b':', &["-a", "--auth"])],
    ),
    when(
        &["http", "https", "xh", "xhs"],
        &["bearer", "jwt", "--auth-type=bearer", "-Abearer"],
        &[Value(&["-a", "--auth"])],
    ),
    always(&["curlftpfs"], &[Pair(b':', &["-o"])]),
    always(&["ab"], &[Pair(b':', &["-A", "-P"])]),
    always(&["nikto", "nikto.pl", "whatweb", "skipfish"], &[Pair(b':', &["-id", "-u", "-A"])]),
    always(
        &[
            "etcdctl", "vegeta", "wscat", "websocat", "grpcurl", "evans", "pgcli", "elasticdump", "logcli",
            "promtool", "mimirtool", "amtool", "svnrdump", "crowdin",
        ],
        &[Pair(b':', &["--user", "-u", "--auth", "--basic-auth"])],
    ),
    always(&["lftp", "open"], &[Pair(b',', &["-u", "--user"])]),
    always(&["swaks"], &[Exact(&["-ap", "--auth-password", "-apt"])]),
    always(&["sendemail", "sendEmail"], &[Exact(&["-xp"])]),
    always(&["p4"], &[Value(&["-P"])]),
    always(&["imapsync"], &[Value(&["--password1", "--password2", "--passfile"])]),
    always(&["mc", "mcli"], &[Pair(b'=', &["--enc-c", "--encrypt-key"])]),
    when(&["mc", "mcli"], &["alias", "config", "admin"], &[From("set", 3), Nth("host", 4), Nth("add", 3)]),
    when(&["rclone"], &["obscure"], &[From("obscure", 1)]),
    when(
        &["b2", "b2v3", "backblaze-b2"],
        &["authorize-account", "authorize_account", "account"],
        &[Nth("authorize-account", 2), Nth("authorize_account", 2), Nth("authorize", 2)],
    ),
    always(
        &["mp4decrypt", "n_m3u8dl-re", "N_m3u8DL-RE", "shaka-packager", "packager", "mp4encrypt"],
        &[Pair(b':', &["--key", "--keys"])],
    ),
    // Registries, forges and clouds.
    when(
        &[
            "docker", "podman", "nerdctl", "buildah", "skopeo", "helm", "oras", "crane", "regctl", "cosign",
            "singularity", "apptainer", "ctr",
        ],
        &["login"],
        &[Value(&["-p"])],
    ),
    always(
        &["docker", "podman", "nerdctl", "buildah", "skopeo", "oras", "ctr", "crane", "crictl"],
        &[Pair(b':', &["--creds", "--src-creds", "--dest-creds", "--user-creds"])],
    ),
    when(&["ctr"], &["pull", "push"], &[Pair(b':', &["-u", "--user"])]),
    when(
        &[
            "oc", "cf", "bx", "ibmcloud", "argocd", "rancher", "kubelogin", "az", "tkn", "influx", "faas-cli",
            "nomad", "harbor", "jf", "jfrog", "akamai", "ic", "heroku", "pulumi", "ecctl", "confluent", "ccloud",
        ],
        &["login", "credential", "rt", "setup"],
        &[Exact(&["-p", "-t"])],
    ),
    when(&["az"], &["sql", "mysql", "postgres", "acr"], &[Value(&["-p"])]),
    always(&["twine"], &[Value(&["-p"])]),
    when(&["poetry", "uv"], &["publish"], &[Value(&["-p"])]),
    when(&["hatch"], &["publish"], &[Value(&["-a"])]),
    when(&["uv"], &["publish"], &[Value(&["-t"])]),
    when(&["poetry", "composer"], &["config"], &[Nth("config", 3)]),
    when(&["bundle", "bundler"], &["config"], &[Pair(b':', &[])]),
    when(
        &["nuget", "nuget.exe", "dotnet", "choco"],
        &["push", "setapikey", "setApiKey", "apikey"],
        &[Exact(&["-k", "-ApiKey", "--api-key"]), Nth("setapikey", 1), Nth("setApiKey", 1)],
    ),
    when(&["cargo"], &["login"], &[Nth("login", 1)]),
    when(&["bw"], &["login", "unlock"], &[Nth("login", 2), Nth("unlock", 1)]),
    when(
        &[
            "doctl", "hcloud", "civo", "codecov", "sentry-cli", "netlify", "vercel", "infracost", "k3s",
            "k3s-agent", "rke2",
        ],
        &["-t", "--token"],
        &[Value(&["-t"])],
    ),
    when(&["civo"], &["apikey"], &[Nth("add", 2), Nth("save", 2)]),
    when(&["vault", "bao"], &["unseal", "unwrap"], &[Nth("unseal", 1), Nth("unwrap", 1)]),
    when(&["vault", "bao"], &["revoke", "renew"], &[Nth("revoke", 1), Nth("renew", 1)]),
    when(&["vault", "bao"], &["put", "patch"], &[Assignments("put"), Assignments("patch")]),
    when(
        &["kubectl", "oc", "k", "kubecolor"],
        &["create"],
        &[Assignments("generic"), Assignments("docker-registry")],
    ),
    when(
        &[
            "heroku", "fly", "flyctl", "doppler", "eb", "cf", "gigalixir", "dokku", "scalingo", "railway",
            "infisical",
        ],
        &["config:set", "secrets", "secrets:set", "config:add"],
        &[Assignments("set"), Assignments("import"), Assignments("secrets:set")],
    ),
    when(&["doppler", "infisical", "dotnet"], &["secrets", "user-secrets"], &[Nth("set", 2)]),
    when(&["gh", "glab", "az", "gcloud"], &["secret"], &[Value(&["--body", "-b", "--value"])]),
    when(&["glab"], &["variable"], &[Nth("set", 2), Nth("update", 2)]),
    when(&["cf"], &["auth"], &[Nth("auth", 2)]),
    always(&["vsce", "ovsx", "tfx"], &[Value(&["-p", "-t"])]),
    when(
        &["bitcoin-cli", "litecoin-cli", "dogecoin-cli", "bitcoind"],
        &["walletpassphrase", "encryptwallet", "importprivkey", "walletpassphrasechange", "sethdseed"],
        &[
            Nth("walletpassphrase", 1),
            Nth("encryptwallet", 1),
            Nth("importprivkey", 1),
            From("walletpassphrasechange", 1),
            Nth("sethdseed", 2),
        ],
    ),
    when(&["chamber"], &["write"], &[Nth("write", 3)]),
    when(&["credstash"], &["put"], &[Nth("put", 2)]),
    when(&["netlify", "ntl"], &["env:set"], &[Nth("env:set", 2)]),
    when(&["ansible-vault"], &["encrypt_string"], &[Nth("encrypt_string", 1)]),
    when(&["travis"], &["encrypt"], &[Nth("encrypt", 1)]),
    when(
        &["drush", "drush.php"],
        &["upwd", "user:password", "user-password"],
        &[Nth("upwd", 2), Nth("user:password", 2), Nth("user-password", 2)],
    ),
    when(
        &["ngrok", "snyk"],
        &["authtoken", "add-authtoken", "auth"],
        &[Nth("authtoken", 1), Nth("add-authtoken", 1), Nth("auth", 1)],
    ),
    always(
        &["qemu-system-x86_64", "qemu-system-aarch64", "qemu-img", "qemu-nbd", "qemu-io", "kvm"],
        &[Glued(&["secret,data="])],
    ),
    always(&["sipp"], &[Exact(&["-ap"])]),
    always(&["x11vnc"], &[Exact(&["-passwd"])]),
];

/// Programs that run what is named among their arguments.
#[rustfmt::skip]
pub(super) const WRAPPERS: &[&str] = &[
    "sudo", "doas", "su", "runuser", "env", "nice", "ionice", "chrt", "taskset", "timeout", "nohup", "setsid",
    "stdbuf", "time", "xargs", "watch", "strace", "ltrace", "chroot", "unshare", "nsenter", "flock", "ssh", "mosh",
    "autossh", "docker", "podman", "nerdctl", "docker-compose", "kubectl", "oc", "crictl", "ctr", "lxc",
    "lxc-attach", "incus", "machinectl", "systemd-run", "systemd-nspawn", "find", "fd", "parallel", "chronic",
    "npx", "pnpm", "yarn", "bunx", "cross-env", "dotenv", "op", "aws-vault", "doppler", "proxychains",
    "proxychains4", "torsocks", "torify", "busybox", "toybox", "firejail", "bwrap", "script", "expect", "unbuffer",
    "poetry", "uv", "uvx", "pipenv", "pipx", "bundle", "python", "python3", "ruby", "perl", "java", "catchsegv",
    "faketime", "eatmydata", "sg", "capsh", "setpriv", "prlimit", "cgexec", "numactl", "entr", "tini", "dumb-init",
    "gosu", "su-exec", "command", "exec", "builtin", "eval", "wine", "cmd", "cmd.exe", "vagrant", "heroku", "fly",
    "flyctl", "gcloud", "rtk", "hyperfine", "perf", "valgrind", "gdb", "mise", "asdf", "nix-shell", "nix",
    "flatpak", "snap", "toolbox", "distrobox", "wsl", "trickle", "spawn", "then", "do", "else", "if", "while",
    "until", "!", "{", "vault", "retry", "with-contenv", "s6-setuidgid", "chpst", "softlimit", "setarch", "linux32",
    "pkexec", "rr", "caffeinate", "arch", "at", "batch", "tmux", "screen",
];

/// Programs whose `--password` takes no value after it.
#[rustfmt::skip]
pub(super) const ASKS_FOR_PASSWORD: &[&str] = &[
    "mysql", "mysqldump", "mysqladmin", "mysqlimport", "mysqlshow", "mysqlcheck", "mysqlslap", "mysqlbinlog",
    "mysqlsh", "mysql_config_editor", "mysqlpump", "mariadb", "mariadb-dump", "mariadb-admin", "mariadb-import",
    "mariadb-check", "psql", "pg_dump", "pg_dumpall", "pg_restore", "pg_basebackup", "createdb", "dropdb",
    "createuser", "dropuser", "vacuumdb", "reindexdb", "clusterdb", "pg_isready", "pgbench", "pg_receivewal",
    "pg_recvlogical",
];

/// Programs whose `--secret`, `--token` and their like name a thing that is kept elsewhere.
#[rustfmt::skip]
pub(super) const NAMES_SECRETS: &[&str] = &[
    "docker", "podman", "nerdctl", "buildah", "buildctl", "gcloud", "pulumi", "kubectl", "docker-compose", "grep",
    "rg", "ag", "ack", "git", "trivy", "man",
];
