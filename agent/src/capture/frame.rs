//! The file format of a recording, version 1.
//!
//! ```text
//! file    = prologue frame*
//! prologue (24 bytes)
//!   0  8  magic "TTRECORD"
//!   8  2  format version, little-endian                      [`FORMAT_VERSION`]
//!  10  2  version of the ring's records, little-endian       `agent_common::CONTRACT_VERSION`
//!  12  4  0x01020304 in the byte order of the host: that of the records
//!  16  4  nonce, little-endian
//!  20  4  CRC-32 of bytes 0 to 19, little-endian
//! frame (20 bytes and its payload)
//!   0  4  marker f5 'T' 'T' 'f'
//!   4  1  kind                                               [`kind`]
//!   5  3  zero
//!   8  4  length of the payload, little-endian, at most [`MAX_PAYLOAD`]
//!  12  4  CRC-32 of bytes 0 to 11, begun with the nonce, little-endian
//!  16  n  payload
//!  ..  4  CRC-32 of the payload, begun with the nonce, little-endian
//! ```
//!
//! Payloads: `HOST`, `PROCESS`, `EXECUTABLE`, `SCRIPT`, `CONTAINER` and `PROGRAM` are MessagePack, laid down in
//! [`super::inventory`], `CLUSTER`, in `cluster.rs`, and `PEER`, in `peer.rs`; `RECORD` is a ring record of `header.length` bytes, an exec record with its argv redacted; `COUNTERS` is boot time in ns, then all slots of the
//! kernel's counters, then (CPU, its next sequence number) pairs, all u64 little-endian; `TAG` is number, pid, start (boot time
//! in ns), and 0 where the agent gave it, 1 where it found it, the same; `CGROUP` is its id, likewise, and its path; `WITHHELD` is the header of a
//! record that could not be redacted; `END` is the number of `RECORD`, then of `WITHHELD` frames, u64 little-endian.
//!
//! Invariants: the first frame is `HOST`; `PROCESS` and `EXECUTABLE` frames stand before the records that need them, and a
//! `SCRIPT`, `CONTAINER`, `UNIT`, `PROGRAM`, `CLUSTER`, `PEER`, `TAG` or `CGROUP` frame where the agent learnt it; a file that was closed in order ends with `END`. A frame whose payload is damaged is skipped whole; where a frame's own header is
//! damaged, reading goes on at the next frame whose header is sound. Payloads are partly written by the processes that
//! are recorded: because of the nonce they cannot hold a frame that would be found there. The end of a file that was
//! cut is reported, never an error.

use std::io::{self, Read};

use agent_common::CONTRACT_VERSION;

/// Version of the format.
pub const FORMAT_VERSION: u16 = 1;
/// Largest payload, bytes: a process with the longest paths and arguments stays far below.
pub const MAX_PAYLOAD: usize = 256 << 10;
/// Bytes of the prologue.
pub(super) const PROLOGUE: usize = 24;
const FRAME_HEADER: usize = 16;
const CHECKSUM: usize = 4;
const MAGIC: &[u8; 8] = b"TTRECORD";
const MARKER: [u8; 4] = [0xf5, b'T', b'T', b'f'];
const BYTE_ORDER: u32 = 0x0102_0304;

/// Kinds of frames.
pub mod kind {
    /// Facts of the host.
    pub const HOST: u8 = 1;
    /// A process that ran when the recording began.
    pub const PROCESS: u8 = 2;
    /// A ring record.
    pub const RECORD: u8 = 3;
    /// The kernel's counters.
    pub const COUNTERS: u8 = 4;
    /// The header of a ring record that could not be redacted.
    pub const WITHHELD: u8 = 5;
    /// The recording was ended in order.
    pub const END: u8 = 6;
    /// What was found of an executable.
    pub const EXECUTABLE: u8 = 7;
    /// Where a script's path leads.
    pub const SCRIPT: u8 = 8;
    /// What an engine keeps of a container.
    pub const CONTAINER: u8 = 9;
    /// What the files of a unit say.
    pub const UNIT: u8 = 10;
    /// What was found of a program.
    pub const PROGRAM: u8 = 12;
    /// What a cluster tells of pods.
    pub const CLUSTER: u8 = 13;
    /// The tag of a process.
    pub const TAG: u8 = 14;
    /// What a cluster tells of addresses.
    pub const PEER: u8 = 15;
    /// What a cgroup is called.
    pub const CGROUP: u8 = 16;
}

/// Why a file is not a recording that can be read here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrologueError {
    /// No magic, or a damaged prologue.
    #[error("not a recording of telltale, or its first {PROLOGUE} bytes are damaged")]
    NotARecording,
    /// Another version of the format.
    #[error(
        "recording of format version {0}, this agent reads {FORMAT_VERSION}: replay it with the agent that made it"
    )]
    Format(u16),
    /// Records of another version.
    #[error(
        "recording of kernel records version {0}, this agent reads {CONTRACT_VERSION}: replay it with the agent that \
         made it"
    )]
    Contract(u16),
    /// Records of the other byte order.
    #[error("recording of a host with the other byte order: replay it on a machine of that kind")]
    ByteOrder,
}

fn checksum(nonce: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(nonce);
    hasher.update(bytes);
    hasher.finalize()
}

/// The first bytes of a recording.
pub(super) fn prologue(nonce: u32) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(FORMAT_VERSION.to_le_bytes());
    bytes.extend(CONTRACT_VERSION.to_le_bytes());
    bytes.extend(BYTE_ORDER.to_ne_bytes());
    bytes.extend(nonce.to_le_bytes());
    let sum = checksum(0, &bytes);
    bytes.extend(sum.to_le_bytes());
    bytes
}

/// Reads the first bytes of a recording; gives its nonce.
pub(super) fn read_prologue(bytes: &[u8; PROLOGUE]) -> Result<u32, PrologueError> {
    let (body, sum) = bytes.split_at(PROLOGUE - CHECKSUM);
    if !body.starts_with(MAGIC) || u32_at(sum, 0) != checksum(0, body) {
        return Err(PrologueError::NotARecording);
    }
    let versions = u32_at(body, 8);
    let (format, contract) = (versions as u16, (versions >> 16) as u16);
    if format != FORMAT_VERSION {
        return Err(PrologueError::Format(format));
    }
    if contract != CONTRACT_VERSION {
        return Err(PrologueError::Contract(contract));
    }
    if body.get(12..16) != Some(&BYTE_ORDER.to_ne_bytes()) {
        return Err(PrologueError::ByteOrder);
    }
    Ok(u32_at(body, 16))
}

/// Appends a frame. `false`, with nothing appended, where the payload is larger than [`MAX_PAYLOAD`].
pub(super) fn append(out: &mut Vec<u8>, nonce: u32, kind: u8, payload: &[u8]) -> bool {
    if payload.len() > MAX_PAYLOAD {
        return false;
    }
    let mut header = MARKER.to_vec();
    header.extend([kind, 0, 0, 0]);
    header.extend((payload.len() as u32).to_le_bytes());
    let sum = checksum(nonce, &header);
    out.extend(header);
    out.extend(sum.to_le_bytes());
    out.extend_from_slice(payload);
    out.extend(checksum(nonce, payload).to_le_bytes());
    true
}

/// A little-endian number; 0 where there are too few bytes.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |chunk| u32::from_le_bytes(*chunk))
}

/// What could not be read of a recording.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Damage {
    /// Frames with a damaged payload, and stretches in which no frame was found.
    pub places: u64,
    /// Bytes skipped because of them.
    pub bytes: u64,
    /// Bytes of the frame that the end of the file cut.
    pub torn_bytes: u64,
}

/// Reads frames one after the other.
pub(super) struct Frames<R> {
    input: R,
    nonce: u32,
    window: Vec<u8>,
    at: usize,
    ended: bool,
    in_damage: bool,
    pub(super) damage: Damage,
}

impl<R: Read> Frames<R> {
    pub(super) const fn new(input: R, nonce: u32) -> Self {
        let damage = Damage { places: 0, bytes: 0, torn_bytes: 0 };
        Self { input, nonce, window: Vec::new(), at: 0, ended: false, in_damage: false, damage }
    }

    /// The next sound frame: kind and payload. `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<(u8, Vec<u8>)>> {
        loop {
            self.fill(FRAME_HEADER)?;
            let rest = self.rest();
            if rest.len() < FRAME_HEADER {
                // In the midst of damage a short rest is damage too: nothing says that a frame began there.
                let left = rest.len() as u64;
                if self.in_damage {
                    self.damage.bytes += left
                } else {
                    self.damage.torn_bytes += left
                }
                self.at = self.window.len();
                return Ok(None);
            }
            let Some((kind, length)) = self.header() else {
                self.skip_damage();
                continue;
            };
            self.in_damage = false;
            let whole = FRAME_HEADER + length + CHECKSUM;
            self.fill(whole)?;
            let frame = self.rest().get(FRAME_HEADER..whole);
            let Some((payload, sum)) = frame.and_then(|frame| frame.split_at_checked(length)) else {
                self.damage.torn_bytes += self.rest().len() as u64;
                self.at = self.window.len();
                return Ok(None);
            };
            let sound = u32_at(sum, 0) == checksum(self.nonce, payload);
            let payload = if sound { payload.to_vec() } else { Vec::new() };
            self.at += whole;
            if sound {
                return Ok(Some((kind, payload)));
            }
            self.damage.places += 1;
            self.damage.bytes += whole as u64;
        }
    }

    fn rest(&self) -> &[u8] {
        self.window.get(self.at..).unwrap_or_default()
    }

    /// Kind and length of the frame that begins here, if one does.
    fn header(&self) -> Option<(u8, usize)> {
        let (header, after) = self.rest().split_at_checked(FRAME_HEADER - CHECKSUM)?;
        let length = u32_at(header, 8) as usize;
        let sound = header.starts_with(&MARKER)
            && length <= MAX_PAYLOAD
            && u32_at(after, 0) == checksum(self.nonce, header);
        Some((*header.get(4)?, length)).filter(|_| sound)
    }

    /// Goes on to the next place where a frame may begin.
    fn skip_damage(&mut self) {
        if !self.in_damage {
            self.damage.places += 1;
            self.in_damage = true;
        }
        let rest = self.rest();
        let next = rest.iter().skip(1).position(|&byte| byte == MARKER[0]).map_or(rest.len(), |at| at + 1);
        self.damage.bytes += next as u64;
        self.at += next;
    }

    /// Reads until `wanted` bytes are there, or the input ends.
    fn fill(&mut self, wanted: usize) -> io::Result<()> {
        if self.rest().len() >= wanted || self.ended {
            return Ok(());
        }
        self.window.drain(..self.at);
        self.at = 0;
        let missing = wanted.max(64 << 10) - self.window.len();
        let read = self.input.by_ref().take(missing as u64).read_to_end(&mut self.window)?;
        self.ended = read < missing;
        Ok(())
    }
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
