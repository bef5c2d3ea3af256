//! Descriptors of our own executable, whose name is a rule for the time of the test.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;

use agent_common::records::{ConnectRecord, FileRecord, ListenRecord, acquired, kind};
use rustix::net::{
    RecvAncillaryBuffer, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use super::{Own, Records, failed, no_record, run_itself};

fn own_executable() -> Result<(File, u64), String> {
    let path = std::env::current_exe().map_err(failed("find its own executable"))?;
    let file = File::open(&path).map_err(failed("open its own executable"))?;
    let inode = file.metadata().map_err(failed("stat its own executable"))?.ino();
    Ok((file, inode))
}

fn told(
    records: &mut Records<'_>,
    how: u16,
    inode: u64,
    act: &str,
    who: impl Fn(&FileRecord) -> bool,
) -> Result<FileRecord, String> {
    let told = records
        .find::<FileRecord>(kind::FILE_OPEN, |told| told.how == how && who(told))
        .ok_or_else(|| no_record(act))?;
    if told.file.key.inode != inode {
        return Err(format!("{act} was reported of inode {} instead of {inode}", told.file.key.inode));
    }
    Ok(told)
}

/// Sends it to itself.
pub(in super::super) fn credential_received(own: &Own, records: &mut Records<'_>) -> Result<(), String> {
    let (file, inode) = own_executable()?;
    send_to_self(&file).map_err(failed("send itself a descriptor"))?;
    let told = told(records, acquired::RECEIVED, inode, "a descriptor that was received", |told| {
        own.is(&told.actor)
    })?;
    own.check(&told.actor)
}

fn send_to_self(file: &File) -> io::Result<()> {
    let (sender, receiver) = UnixDatagram::pair()?;
    let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut room);
    let descriptors = [file.as_fd()];
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    sendmsg(&sender, &[IoSlice::new(b"f")], &mut control, SendFlags::empty())?;
    let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut room);
    let mut text = [0; 1];
    recvmsg(&receiver, &mut [IoSliceMut::new(&mut text)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    Ok(())
}

/// Has a child inherit it.
pub(in super::super) fn credential_inherited(records: &mut Records<'_>) -> Result<(), String> {
    let (file, inode) = own_executable()?;
    let pid = run_itself(file.into())?;
    told(records, acquired::INHERITED, inode, "a descriptor that was inherited", |told| {
        told.actor.tgid == pid
    })
    .map(drop)
}

/// Holds it open; `walk` has the kernel look at the descriptors of all processes.
pub(in super::super) fn credential_held(
    own: &Own,
    records: &mut Records<'_>,
    walk: &mut dyn FnMut() -> io::Result<()>,
) -> Result<(), String> {
    let (file, inode) = own_executable()?;
    walk().map_err(failed("walk over the descriptors"))?;
    drop(file);
    let told = told(records, acquired::HELD, inode, "a descriptor that is held", |told| own.is(&told.actor))?;
    own.check(&told.actor)
}

/// Has a connection that was made when no hook saw connections; the listener's end of it is none of ours to tell.
pub(in super::super) fn connection_held(
    own: &Own,
    records: &mut Records<'_>,
    walk: &mut dyn FnMut() -> io::Result<()>,
) -> Result<(), String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed("listen on loopback"))?;
    let address = listener.local_addr().map_err(failed("listen on loopback"))?;
    let ours = TcpStream::connect(address).map_err(failed("connect to its own listener"))?;
    let local = ours.local_addr().map_err(failed("connect to its own listener"))?;
    let _theirs = listener.accept().map_err(failed("accept from itself"))?;
    walk().map_err(failed("walk over the descriptors"))?;
    let told = records
        .find::<ConnectRecord>(kind::CONNECT, |told| own.is(&told.actor) && told.port == address.port())
        .ok_or_else(|| no_record("a connection that is open"))?;
    own.check(&told.actor)?;
    records
        .find::<ListenRecord>(kind::LISTEN, |told| own.is(&told.actor) && told.port == address.port())
        .ok_or_else(|| no_record("a listener that is there"))?;
    let accepted = |told: &ConnectRecord| own.is(&told.actor) && told.port == local.port();
    if records.holds::<ConnectRecord>(kind::CONNECT, accepted) {
        return Err("a connection that was accepted was reported as made".to_owned());
    }
    Ok(())
}
