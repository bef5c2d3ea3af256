//! Names of destinations, in a network of this program's own: it asks a DNS server of its own for a name, connects to
//! what was answered, and may ask there for a name by a TLS ClientHello.
//!
//! The messages are put together byte by byte: what reads them is what is tested.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use rustix::mount::{MountFlags, MountPropagationFlags, mount_bind, mount_change, mount_remount};
use rustix::net::{SendFlags, sendto};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use serde_json::{Value, json};

use super::connect::{MSG_FASTOPEN, stream, told};
use super::{deed, network, print, target};
use crate::outcome::{During, Outcome};

/// The file by which a network is told its DNS servers.
const RESOLV_CONF: &str = "/etc/resolv.conf";
const DNS: u16 = 53;

/// How the ClientHello is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Sent {
    /// All at once.
    Whole,
    /// Byte by byte.
    Bytes,
    /// In three pieces, the first of five bytes.
    Three,
    /// All at once, in TLS records of seven bytes each.
    Records,
    /// With the SYN.
    Early,
}

#[derive(Args)]
pub(crate) struct NamesArgs {
    /// Where to put files.
    #[arg(long)]
    directory: PathBuf,
    /// IPv6.
    #[arg(long)]
    v6: bool,
    /// Ask a server that the network is not configured with.
    #[arg(long)]
    stranger: bool,
    /// After the configured server, ask a stranger for another name, which has the same address.
    #[arg(long)]
    also_stranger: bool,
    /// Ask with `sendto`.
    #[arg(long)]
    unconnected: bool,
    /// The answer is of an alias, with addresses of names that were not asked for.
    #[arg(long)]
    alias: bool,
    /// Ask nobody.
    #[arg(long)]
    ask_nobody: bool,
    /// The server name of a ClientHello.
    #[arg(long)]
    hello: Option<String>,
    /// How it is sent.
    #[arg(long, default_value = "whole")]
    sent: Sent,
    /// Say something else than a ClientHello.
    #[arg(long)]
    plain: bool,
}

/// What is asked for.
const NAME: &str = "api.example.test";
/// What a stranger is asked for.
const OTHER_NAME: &str = "login.example.org";

pub(super) fn perform(args: &NamesArgs) -> Outcome {
    let address = |last: u8| match args.v6 {
        // The one address of IPv6 loopback.
        true => IpAddr::from(Ipv6Addr::LOCALHOST),
        false => IpAddr::from(Ipv4Addr::new(127, 0, 0, last)),
    };
    let (configured, stranger, here) = (address(77), Ipv4Addr::new(127, 0, 0, 78).into(), address(88));
    network::leave()?;
    if args.sent == Sent::Early {
        network::open_fast()?;
    }
    configure(&args.directory, configured)?;

    let mut claims = Vec::new();
    let mut name = Value::Null;
    if args.stranger {
        ask(args, stranger, "API.example.test", here)?;
        claims.push(json!({ "name": NAME, "source": "stranger", "server": stranger.to_string() }));
    } else if !args.ask_nobody {
        ask(args, configured, "API.example.test", here)?;
        name = NAME.into();
        claims.push(json!({ "name": NAME, "source": "resolver", "server": configured.to_string() }));
    }
    if args.also_stranger {
        ask(args, stranger, OTHER_NAME, here)?;
        claims.push(json!({ "name": OTHER_NAME, "source": "stranger", "server": stranger.to_string() }));
    }
    datagram(here, &name, &claims)?;
    connect(args, here, &name, claims)?;
    // The agent looks up this process's resolv.conf when it hears of it: whoever has gone by then asked a stranger.
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Gives this process a resolv.conf of its own, as `ip netns exec` does.
fn configure(directory: &Path, server: IpAddr) -> Outcome {
    let file = directory.join("resolv.conf");
    fs::write(&file, format!("# of a test\nnameserver {server}\n")).during(file.display())?;
    // SAFETY: there is one thread, and only its mounts change.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.during("make a mount namespace")?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .during("keep mounts private")?;
    mount_bind(&file, RESOLV_CONF).during("mount a resolv.conf")?;
    mount_remount(RESOLV_CONF, MountFlags::BIND | MountFlags::RDONLY, c"").during("write-protect it")
}

/// Asks a server for a name, and answers as that server. Both send a datagram.
fn ask(args: &NamesArgs, server: IpAddr, name: &str, is: IpAddr) -> Outcome {
    let listening = UdpSocket::bind((server, DNS)).during("listen at port 53")?;
    let any: IpAddr = if server.is_ipv6() { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
    let asking = UdpSocket::bind((any, 0)).during("make a socket")?;
    let question = question(name, is);
    let to = SocketAddr::from((server, DNS));
    let hook = if args.unconnected {
        asking.send_to(&question, to).during("ask")?;
        sendmsg(to)
    } else {
        asking.connect(to).during("connect to the server")?;
        asking.send(&question).during("ask")?;
        "cgroup_skb/egress"
    };
    let none =
        json!({ "hook": hook, "v4_mapped": Value::Null, "name": Value::Null, "name_claims": Value::Null });
    print(&deed(Some("datagram_flow"), Value::Object(target("udp", to)), none)?)?;

    let (_, from) = listening.recv_from(&mut [0; 512]).during("be asked")?;
    listening.send_to(&answer(&question, is, args.alias), from).during("answer")?;
    let none = json!({ "hook": sendmsg(from), "v4_mapped": Value::Null, "name": Value::Null, "name_claims": Value::Null });
    print(&deed(Some("datagram_flow"), Value::Object(target("udp", from)), none)?)?;
    asking.recv(&mut [0; 1500]).during("be answered")?;
    Ok(())
}

const fn sendmsg(to: SocketAddr) -> &'static str {
    if to.is_ipv4() { "cgroup/sendmsg4" } else { "cgroup/sendmsg6" }
}

fn encoded(name: &str) -> Vec<u8> {
    let labels = name.split('.').flat_map(|label| std::iter::once(label.len() as u8).chain(label.bytes()));
    labels.chain([0]).collect()
}

fn question(name: &str, is: IpAddr) -> Vec<u8> {
    let kind = if is.is_ipv4() { 1 } else { 28 };
    [&[0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], &encoded(name), &[0, kind, 0, 1]].concat()
}

/// The answer to a question: that the name has this address, or that it is an alias of a name which has.
fn answer(question: &[u8], is: IpAddr, alias: bool) -> Vec<u8> {
    const HEADER: usize = 12;
    const OWNER: [u8; 2] = [0xc0, HEADER as u8];
    let (kind, octets) = match is {
        IpAddr::V4(is) => (1, is.octets().to_vec()),
        IpAddr::V6(is) => (28, is.octets().to_vec()),
    };
    let record = |owner: &[u8], kind: u8, data: &[u8]| {
        [owner, &[0, kind, 0, 1, 0, 0, 0, 60, 0, data.len() as u8], data].concat()
    };
    let records = if alias {
        let (real, foreign) = (encoded("edge.cdn.example"), encoded("www.bank.example"));
        vec![record(&foreign, kind, &octets), record(&real, kind, &octets), record(&OWNER, 5, &real)]
    } else {
        vec![record(&OWNER, kind, &octets)]
    };
    let head = [0x12, 0x34, 0x81, 0x80, 0, 1, 0, records.len() as u8, 0, 0, 0, 0];
    [&head[..], question.get(HEADER..).unwrap_or_default(), &records.concat()].concat()
}

/// A datagram to what was answered is told with the same names.
fn datagram(here: IpAddr, name: &Value, claims: &[Value]) -> Outcome {
    let receiving = UdpSocket::bind((here, 0)).during("make a socket")?;
    let to = receiving.local_addr()?;
    UdpSocket::bind((here, 0)).during("make a socket")?.send_to(b"datagram", to).during("send")?;
    let facts = json!({
        "hook": sendmsg(to), "v4_mapped": Value::Null, "name": name, "name_claims": claimed(claims),
    });
    print(&deed(Some("datagram_flow"), Value::Object(target("udp", to)), facts)?)?;
    Ok(())
}

fn claimed(claims: &[Value]) -> Value {
    if claims.is_empty() { Value::Null } else { claims.into() }
}

fn connect(args: &NamesArgs, here: IpAddr, name: &Value, mut claims: Vec<Value>) -> Outcome {
    let hello = match (&args.hello, args.plain) {
        (Some(name), _) => client_hello(name, args.sent == Sent::Records),
        (None, true) => b"GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n".to_vec(),
        (None, false) => Vec::new(),
    };
    let listener = TcpListener::bind((here, 0)).during("listen")?;
    let to = listener.local_addr()?;
    let socket = stream(to, false)?;
    if args.sent == Sent::Early {
        sendto(&socket, &hello, SendFlags::from_bits_retain(MSG_FASTOPEN), &to)
            .during("connect with data")?;
    } else {
        rustix::net::connect(&socket, &to).during("connect")?;
    }
    let mut done = told(&socket, to, Ok(()))?;
    let (mut theirs, _) = listener.accept().during("accept")?;
    let mut ours = TcpStream::from(socket);
    ours.set_nodelay(true)?;
    let pieces: Vec<&[u8]> = match args.sent {
        Sent::Early => Vec::new(),
        Sent::Whole | Sent::Records => vec![&hello],
        Sent::Bytes => hello.chunks(1).collect(),
        Sent::Three => {
            let (first, rest) = hello.split_at(5.min(hello.len()));
            std::iter::once(first).chain(rest.chunks(rest.len().div_ceil(2).max(1))).collect()
        }
    };
    for piece in pieces {
        ours.write_all(piece).during("send")?;
        theirs.read_exact(&mut vec![0; piece.len()]).during("receive")?;
    }

    let asked = args.hello.clone().map(|name| json!({ "name": name.to_lowercase(), "source": "sni" }));
    // What goes with the SYN is known with the connection, and all else after it.
    let early = args.sent == Sent::Early;
    claims.extend(asked.clone().filter(|_| early));
    done.facts.insert("name".to_owned(), name.clone());
    done.facts.insert("name_claims".to_owned(), claimed(&claims));
    print(&done)?;
    claims.extend(asked.filter(|_| !early));
    let is_new = args.hello.as_ref().is_some_and(|hello| Some(&*hello.to_lowercase()) != name.as_str());
    if is_new && !early {
        let facts = json!({
            "hook": "cgroup_skb/egress", "v4_mapped": Value::Null, "name": name, "name_claims": claims,
        });
        print(&deed(Some("connection_name"), Value::Object(target("tcp", to)), facts)?)?;
    }
    drop(ours);
    let facts = json!({
        "hook": "tp_btf/inet_sock_set_state", "v4_mapped": Value::Null, "bytes_sent": hello.len(),
        "name": name, "name_claims": claimed(&claims),
    });
    print(&deed(Some("connection_end"), Value::Object(target("tcp", to)), facts)?)?;
    Ok(())
}

/// A ClientHello that asks for a name, behind an extension that is of no interest.
fn client_hello(name: &str, in_small_records: bool) -> Vec<u8> {
    let with_length = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat();
    let entry = [&[0][..], &with_length(name.as_bytes())].concat();
    let server_name = [&[0, 0][..], &with_length(&with_length(&entry))].concat();
    let padding = [&[0, 21][..], &with_length(&[0; 64])].concat();
    let body = [
        &[3, 3][..],
        &[7; 32],
        &[32],
        &[9; 32],
        &with_length(&[0x13, 0x01, 0x13, 0x02]),
        &[1, 0],
        &with_length(&[padding, server_name].concat()),
    ]
    .concat();
    let message = [&[1, 0][..], &with_length(&body)].concat();
    let pieces = message.chunks(if in_small_records { 7 } else { message.len() });
    pieces.flat_map(|piece| [&[22, 3, 1][..], &with_length(piece)].concat()).collect()
}
