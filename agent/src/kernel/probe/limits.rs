//! Limits of this process: locked memory, descriptors.

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{Finding, Sources};

/// Descriptors that the agent may need at once: some 30 maps, 45 programs with a link each, and 20 for the rings, signals, files,
/// the control socket and the collector: 140 where LSM programs serve. The rest is for what is read meanwhile.
pub(super) const DESCRIPTORS: u64 = 256;

pub(super) fn memlock(sources: &Sources) -> Finding {
    const NAME: &str = "memlock";
    match sources.memlock_bytes {
        None => Finding::yes(NAME, "unlimited"),
        // No test but a load tells which way this kernel accounts.
        Some(bytes) => Finding::could_not_tell(
            NAME,
            format!(
                "{} KiB: enough where maps are charged to the cgroup (Linux 5.11 and later), too little before",
                bytes / 1024
            ),
            "if maps are refused with EPERM: LimitMEMLOCK=infinity in the service, or ulimit -l unlimited",
        ),
    }
}

pub(super) fn descriptors(sources: &Sources) -> Finding {
    const NAME: &str = "descriptors";
    let finding = match sources.descriptors {
        None => Finding::yes(NAME, "unlimited"),
        Some(limit) if limit >= DESCRIPTORS => Finding::yes(NAME, format!("up to {limit}")),
        Some(limit) => Finding::no(
            NAME,
            format!("at most {limit} may be open: maps and programs need up to {DESCRIPTORS}"),
            "LimitNOFILE=1024 in the service, or ulimit -Hn 1024",
        ),
    };
    finding.required()
}

/// A limit could not be raised. Worth a warning: what it would have refused, [`super::HostProbe`] tells.
#[derive(Debug, thiserror::Error)]
pub enum LimitError {
    /// That of locked memory.
    #[error(
        "the limit of locked memory cannot be raised ({0}); kernels before 5.11 may refuse maps for it: set \
         LimitMEMLOCK=infinity in the service, or give it CAP_SYS_RESOURCE"
    )]
    Memlock(Errno),
    /// That of open descriptors.
    #[error(
        "the limit of open descriptors cannot be raised to {DESCRIPTORS} ({0}): set LimitNOFILE=1024 in the service"
    )]
    Descriptors(Errno),
}

/// Lifts what would keep programs from being loaded: the limit of locked memory, for kernels that charge maps to it,
/// and that of descriptors, as far as needed. What cannot be lifted is returned.
pub fn raise_limits() -> impl Iterator<Item = LimitError> {
    let unlimited = Rlimit { current: None, maximum: None };
    let memlock = getrlimit(Resource::Memlock);
    let memlock = if memlock.current.is_none() { Ok(()) } else { setrlimit(Resource::Memlock, unlimited) };
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let descriptors = match current {
        Some(now) if now < DESCRIPTORS => {
            setrlimit(Resource::Nofile, Rlimit { current: Some(DESCRIPTORS), maximum })
        }
        _ => Ok(()),
    };
    [memlock.map_err(LimitError::Memlock), descriptors.map_err(LimitError::Descriptors)]
        .into_iter()
        .filter_map(Result::err)
}
