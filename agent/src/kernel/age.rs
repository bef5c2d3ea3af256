//! Which of the objects the running kernel can have.

use aya::programs::ProgramType;
use aya::sys::{BpfHelper, is_helper_supported};
use rustix::system::uname;

/// What the kernel offers to programs, as far as it chooses the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// All that the programs use: since 5.17, or ported back.
    Since5_17,
    /// Some of it is missing.
    Since5_10,
}

/// No object is for the running kernel.
#[derive(Debug, thiserror::Error)]
pub enum AgeError {
    /// Numbers of records would be doubled.
    #[error(
        "kernel {release} ({version}) has no bpf_loop, and its tasks can interrupt kernel programs, so that losses could \
         not be counted: it takes 5.17, or 5.10 built without PREEMPT_RT, or one between them built without PREEMPT"
    )]
    Preemptible {
        /// As `uname -r` says it.
        release: String,
        /// As `uname -v` says it.
        version: String,
    },
}

impl Age {
    /// That of the running kernel.
    ///
    /// # Errors
    /// Where there is no object for it.
    pub fn of_running_kernel() -> Result<Self, AgeError> {
        // Since 5.17: the newest of what the programs ask for, and every type of program may call it.
        match is_helper_supported(ProgramType::CgroupSkb, BpfHelper::BPF_FUNC_loop) {
            Ok(false) => {}
            Ok(true) => return Ok(Self::Since5_17),
            // What keeps this from loading keeps the programs too, which then say it.
            Err(error) => {
                tracing::debug!(%error, "cannot ask the kernel for bpf_loop");
                return Ok(Self::Since5_17);
            }
        }
        let names = uname();
        let (release, version) = (names.release().to_string_lossy(), names.version().to_string_lossy());
        if interrupts_nest(&release, &version) {
            return Ok(Self::Since5_10);
        }
        Err(AgeError::Preemptible { release: release.into_owned(), version: version.into_owned() })
    }
}

/// Whether the programs of a processor interrupt each other from outside in alone, as `agent_common::nesting` needs it: up
/// to 5.10 preemption is off while one runs, but for `PREEMPT_RT`; later where the kernel was not built to be preempted
/// (`scripts/mkcompile_h` says it in the version).
fn interrupts_nest(release: &str, version: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse::<u32>().ok());
    let up_to_5_10 = match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(major), Some(minor)) => (major, minor) <= (5, 10),
        _ => false,
    };
    if up_to_5_10 { !version.contains("PREEMPT_RT") } else { !version.contains("PREEMPT") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_preempted_is_told_by_release_and_version() {
        const DEBIAN: &str = "#1 SMP Debian 5.10.262-1 (2026-10-01)";
        for (release, version, nest) in [
            ("5.10.0-46-cloud-amd64", DEBIAN, true),
            ("5.10.230-223.885.amzn2.x86_64", "#1 SMP Tue Dec 3 14:36:00 UTC 2024", true),
            ("5.10.0", "#1 SMP PREEMPT Thu Jan 1", true),
            ("5.10.0-46-rt-amd64", "#1 SMP PREEMPT_RT Debian 5.10.262-1", false),
            ("5.15.0-91-generic", "#101-Ubuntu SMP Tue Nov 14 13:30:08 UTC 2023", true),
            ("5.15.0-1050-lowlatency", "#53 SMP PREEMPT Thu Nov 16", false),
            ("5.14.0", "#1 SMP PREEMPT_DYNAMIC Thu Jan 1", false),
            ("5.16.0-rt", "#1 SMP PREEMPT_RT", false),
            ("", "", true),
            ("unknown", "#1 SMP PREEMPT", false),
        ] {
            assert_eq!(interrupts_nest(release, version), nest, "{release} {version}");
        }
    }

    #[test]
    fn a_kernel_without_an_object_is_named_with_what_it_takes() {
        let error = AgeError::Preemptible { release: "5.15.0".into(), version: "#1 SMP PREEMPT".into() };
        let text = error.to_string();
        for part in ["5.15.0", "PREEMPT", "bpf_loop", "5.17", "5.10"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
