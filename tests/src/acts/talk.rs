//! A TCP connection to a listener of this program's own, over which a known number of bytes goes each way.

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;
use std::{io, thread};

use clap::{Args, ValueEnum};
use rustix::net::{SendFlags, send, sendto, sockopt};
use serde_json::{Value, json};

use super::connect::{MSG_FASTOPEN, stream, told};
use super::{deed, network, print, target};
use crate::outcome::{During, Outcome, ensure};

/// How the connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum End {
    /// Who connected closes first.
    Close,
    /// The other side closes first.
    Closed,
    /// Who connected says that no more will be sent, and reads until the other side has closed.
    Half,
    /// Who connected closes with a reset.
    Reset,
    /// The other side closes with a reset.
    ResetByPeer,
    /// What the other side sent is never read, which makes the close a reset.
    Unread,
    /// The program ends without a close.
    Exit,
}

#[derive(Args)]
pub(crate) struct TalkArgs {
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1")]
    on: IpAddr,
    /// Bytes to send.
    #[arg(long, default_value_t = 0)]
    send: usize,
    /// Bytes to have sent by the other side.
    #[arg(long, default_value_t = 0)]
    receive: usize,
    /// How it ends.
    #[arg(long, default_value = "close")]
    end: End,
    /// The first byte is given with the connect (`MSG_FASTOPEN`).
    #[arg(long)]
    fast_open: bool,
    /// The connect is put off until something is sent (`TCP_FASTOPEN_CONNECT`).
    #[arg(long)]
    put_off: bool,
    /// In a network of its own, where data goes with the first packet.
    #[arg(long)]
    fast_network: bool,
}

pub(super) fn perform(args: &TalkArgs) -> Outcome {
    if args.fast_network {
        network::leave()?;
        network::open_fast()?;
    }
    let listener = TcpListener::bind((args.on, 0)).during("listen")?;
    let to = listener.local_addr()?;
    let socket = stream(to, false)?;
    let early = if args.fast_open {
        let flags = SendFlags::from_bits_retain(MSG_FASTOPEN);
        sendto(&socket, b"t", flags, &to).during("connect with data")?
    } else if args.put_off {
        set_put_off(&socket).during("put the connect off")?;
        rustix::net::connect(&socket, &to).during("connect")?;
        send(&socket, b"t", SendFlags::empty()).during("send")?
    } else {
        rustix::net::connect(&socket, &to).during("connect")?;
        0
    };
    let done = told(&socket, to, Ok(()))?;
    let (theirs, _) = listener.accept().during("accept")?;
    let ours = TcpStream::from(socket);
    exchange(&ours, &theirs, args, early).during("talk")?;
    print(&done)?;

    let errno = finish(ours, theirs, args.end).during("end")?;
    let facts = json!({
        "hook": "tp_btf/inet_sock_set_state", "v4_mapped": Value::Null,
        "bytes_sent": args.send, "bytes_received": args.receive,
        "errno": errno.map(|_| "ECONNRESET"), "errno_number": errno,
    });
    print(&deed(Some("connection_end"), Value::Object(target("tcp", to)), facts)?)?;
    Ok(())
}

/// rustix has no name for this option.
fn set_put_off(socket: &OwnedFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    let length = size_of_val(&on) as libc::socklen_t;
    // SAFETY: the option takes an int, which lives through the call.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_FASTOPEN_CONNECT,
            (&raw const on).cast(),
            length,
        )
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn exchange(ours: &TcpStream, theirs: &TcpStream, args: &TalkArgs, early: usize) -> Outcome {
    thread::scope(|scope| {
        let reader = scope.spawn(|| io::copy(&mut theirs.take(args.send as u64), &mut io::sink()));
        let (mut ours, mut theirs) = (ours, theirs);
        ours.write_all(&vec![7; args.send.saturating_sub(early)])?;
        let read = reader.join().map_err(|_| io::Error::other("the reader panicked"))??;
        ensure(read == args.send as u64, || format!("{read} bytes came of {}", args.send))?;
        let writer = scope.spawn(move || theirs.write_all(&vec![7; args.receive]));
        if args.end == End::Unread {
            // All of it is there before the close.
            let mut room = vec![0; args.receive];
            while ours.peek(&mut room)? < args.receive {
                thread::yield_now();
            }
        } else {
            io::copy(&mut ours.take(args.receive as u64), &mut io::sink())?;
        }
        writer.join().map_err(|_| io::Error::other("the writer panicked"))??;
        Ok(())
    })
}

/// Ends the connection; the errno that ended it, where there was one.
fn finish(mut ours: TcpStream, theirs: TcpStream, end: End) -> Outcome<Option<i32>> {
    match end {
        End::Close | End::Unread => drop(ours),
        End::Closed => {
            drop(theirs);
            ensure(ours.read(&mut [0])? == 0, || "the other side did not close".to_owned())?;
        }
        End::Half => {
            ours.shutdown(Shutdown::Write)?;
            drop(theirs);
            ensure(ours.read(&mut [0])? == 0, || "the other side did not close".to_owned())?;
        }
        End::Reset => {
            sockopt::set_socket_linger(&ours, Some(Duration::ZERO))?;
            drop(ours);
        }
        End::ResetByPeer => {
            sockopt::set_socket_linger(&theirs, Some(Duration::ZERO))?;
            drop(theirs);
            let read = ours.read(&mut [0]);
            let reset = read.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset);
            ensure(reset, || format!("no reset came: {read:?}"))?;
            return Ok(Some(libc::ECONNRESET));
        }
        // The descriptors stay open until there is no process any more.
        End::Exit => {
            std::mem::forget(ours);
            std::mem::forget(theirs);
        }
    }
    Ok(None)
}
