//! Processor time and memory of a process.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use crate::outcome::{During, Outcome, failed};

/// What a process has used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// Processor time of all its threads, those that have ended too, in nanoseconds.
    pub(super) cpu_ns: u64,
}

impl Usage {
    /// Of a process, now.
    pub(super) fn of(pid: u32) -> Outcome<Self> {
        Ok(Self { cpu_ns: cpu_ns(pid).during(format!("read the processor time of process {pid}"))? })
    }

    /// What came since.
    pub(super) fn since(self, earlier: Self) -> u64 {
        self.cpu_ns.saturating_sub(earlier.cpu_ns)
    }
}

fn cpu_ns(pid: u32) -> io::Result<u64> {
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    let mut clock = 0;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: both results live through the calls.
    let (found, read) = unsafe {
        let found = libc::clock_getcpuclockid(pid, &raw mut clock);
        (found, if found == 0 { libc::clock_gettime(clock, &raw mut time) } else { 0 })
    };
    match (found, read) {
        (0, 0) => Ok(time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()),
        (0, _) => Err(io::Error::last_os_error()),
        (error, _) => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Resident memory in KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Memory {
    /// Now.
    pub(super) resident_kib: u64,
    /// At most so far.
    pub(super) peak_kib: u64,
}

/// Memory of a process.
pub(super) fn memory(pid: u32) -> Outcome<Memory> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).during("read a process's memory")?;
    let key = |name: &str| {
        let value = status.lines().find_map(|line| line.strip_prefix(name));
        value.and_then(|value| value.trim().trim_end_matches(" kB").parse().ok())
    };
    match (key("VmRSS:"), key("VmHWM:")) {
        (Some(resident_kib), Some(peak_kib)) => Ok(Memory { resident_kib, peak_kib }),
        _ => failed(format!("/proc/{pid}/status tells of no memory: has the process ended?")),
    }
}

/// Bytes that the kernel charges for each BPF map that a process holds a descriptor of, by the map's id.
pub(super) fn map_bytes(pid: u32) -> Outcome<BTreeMap<u64, u64>> {
    let directory = format!("/proc/{pid}/fdinfo");
    let mut maps = BTreeMap::new();
    for entry in fs::read_dir(&directory).during(format!("read {directory}"))? {
        // A descriptor may be closed meanwhile.
        let Ok(text) = fs::read_to_string(entry?.path()) else { continue };
        let key = |name: &str| {
            text.lines().find_map(|line| line.strip_prefix(name)).and_then(|value| value.trim().parse().ok())
        };
        if let (Some(id), Some(bytes)) = (key("map_id:"), key("memlock:")) {
            maps.insert(id, bytes);
        }
    }
    Ok(maps)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More than the kernel ever gives (`PID_MAX_LIMIT`), and small enough for a process's clock.
    const BEYOND: u32 = (1 << 22) + 1;

    #[test]
    fn this_process_uses_time_and_memory() {
        let before = Usage::of(std::process::id()).unwrap();
        let spun: u64 = std::hint::black_box((0..5_000_000_u64).map(std::hint::black_box).sum());
        assert!(spun > 0);
        let after = Usage::of(std::process::id()).unwrap();
        assert!(after.since(before) > 0 && before.since(after) == 0);
        let memory = memory(std::process::id()).unwrap();
        assert!(memory.resident_kib > 0 && memory.peak_kib >= memory.resident_kib);
    }

    #[test]
    fn this_process_holds_no_maps() {
        assert_eq!(map_bytes(std::process::id()).unwrap(), BTreeMap::new());
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        assert!(Usage::of(BEYOND).is_err() && memory(BEYOND).is_err());
        assert!(map_bytes(BEYOND).is_err());
    }
}
