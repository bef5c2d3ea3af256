//! Time: one domain in records (boot time), converted to wall time once.

/// Time since boot, suspend included, in nanoseconds (`CLOCK_BOOTTIME`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct BootTime {
    /// Nanoseconds since boot.
    pub ns: u64,
}

impl BootTime {
    /// From nanoseconds since boot.
    pub const fn from_ns(ns: u64) -> Self {
        Self { ns }
    }

    /// Nanoseconds from `earlier` to `self`; 0 where `earlier` is later.
    pub const fn since_ns(self, earlier: Self) -> u64 {
        self.ns.saturating_sub(earlier.ns)
    }
}

/// Wall time, nanoseconds since 1970 (UTC).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WallTime {
    /// Nanoseconds since the epoch.
    pub unix_ns: i64,
}

/// One reading of both clocks: converts boot time to wall time.
#[derive(Clone, Copy, Debug)]
pub struct ClockPair {
    /// Boot time of the reading.
    pub boot: BootTime,
    /// Wall time of the reading.
    pub wall: WallTime,
}

impl ClockPair {
    /// The wall time of a boot time, as this reading has it.
    pub fn wall_time(self, boot: BootTime) -> WallTime {
        let delta = i128::from(boot.ns) - i128::from(self.boot.ns);
        let unix = i128::from(self.wall.unix_ns) + delta;
        WallTime { unix_ns: unix.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_time_goes_both_ways_and_saturates() {
        let pair = ClockPair { boot: BootTime::from_ns(1_000), wall: WallTime { unix_ns: 5_000 } };
        assert_eq!(pair.wall_time(BootTime::from_ns(400)).unix_ns, 4_400);
        assert_eq!(pair.wall_time(BootTime::from_ns(1_600)).unix_ns, 5_600);
        assert_eq!(pair.wall_time(BootTime::from_ns(u64::MAX)).unix_ns, i64::MAX);
    }
}
