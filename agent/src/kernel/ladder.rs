//! Climbing the ladder: each capability takes the best serving that loads, attaches and proves itself.
//!
//! Loading alone proves little: where `bpf` is not among the LSMs, an LSM program loads and attaches and is never
//! called. So a serving counts only once the self-test has seen it tell the truth about this very process.

use std::io;
use std::os::fd::BorrowedFd;

use aya::programs::links::FdLink;
use aya::programs::{
    BtfTracePoint, CgroupAttachMode, CgroupSkb, CgroupSkbAttachType, CgroupSock, CgroupSockAddr, FEntry,
    FExit, Iter, Lsm, Program as LoadedProgram, ProgramError,
};
use aya::{Btf, Ebpf};

use super::age::Age;
use super::hooks::{Attach, Capability, Program, Rung, Serving, lost_on_5_10};
use super::links::Links;
use super::offsets::Resolved;

/// What serves a capability, and why nothing better does.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// The capability.
    pub capability: &'static Capability,
    /// What the kernel offers to programs.
    pub age: Age,
    /// What serves it; `None`: nothing does.
    pub serving: Option<&'static Serving>,
    /// Servings that were tried and did not hold, best first.
    pub refused: Vec<Refused>,
}

impl Chosen {
    /// What is not seen, one sentence each.
    pub fn gaps(&self) -> impl Iterator<Item = &'static str> {
        let lost = match self.age {
            Age::Since5_17 => &[][..],
            Age::Since5_10 => lost_on_5_10(self.capability.name),
        };
        self.serving.map_or(&[][..], |serving| serving.gaps).iter().chain(lost).copied()
    }

    /// The hooks that serve it, for people: `lsm/file_open + lsm/inode_rename`; `-` where nothing does.
    pub fn hooks(&self) -> String {
        self.serving.map_or_else(|| "-".to_owned(), hooks)
    }
}

/// The hooks of a serving, for people.
pub fn hooks(serving: &Serving) -> String {
    let mut hooks: Vec<_> = serving.programs.iter().map(|program| program.attach.to_string()).collect();
    // Of twins.
    hooks.dedup();
    hooks.join(" + ")
}

/// A serving that does not hold on this kernel.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Which.
    pub serving: &'static Serving,
    /// Why, one line.
    pub reason: String,
    /// What would make it hold, where that is known.
    pub remedy: Option<String>,
}

/// Tries the servings of `capability` that the forced rung allows; `prove` runs once all of a serving's programs are
/// attached.
#[expect(clippy::too_many_arguments, reason = "all that is known of the host, and what is asked of it")]
pub(super) fn climb(
    (ebpf, links): (&mut Ebpf, &mut Links),
    btf: &Btf,
    cgroup: BorrowedFd<'_>,
    offsets: &Resolved,
    capability: &'static Capability,
    age: Age,
    forced: Option<Rung>,
    prove: &mut dyn FnMut(&mut Ebpf, &'static Serving) -> Result<(), String>,
) -> Chosen {
    let mut refused = Vec::new();
    for serving in capability.servings {
        if forced.is_some_and(|rung| !serving.rungs.contains(&rung)) {
            continue;
        }
        let mut attached = Vec::new();
        let outcome = check_offsets(offsets, serving)
            .and_then(|()| attach_all((ebpf, links), btf, cgroup, serving, &mut attached))
            .and_then(|()| prove(ebpf, serving));
        match outcome {
            Ok(()) => return Chosen { capability, age, serving: Some(serving), refused },
            Err(reason) => {
                for program in attached {
                    unload(ebpf, links, program);
                }
                let remedy = remedy(serving, &reason);
                refused.push(Refused { serving, reason, remedy });
            }
        }
    }
    Chosen { capability, age, serving: None, refused }
}

fn check_offsets(offsets: &Resolved, serving: &Serving) -> Result<(), String> {
    for need in serving.offsets {
        if let Some(missing) = offsets.lacking(*need).next() {
            return Err(format!("the kernel's types lack {}", missing.field));
        }
    }
    Ok(())
}

/// Loads and attaches what is not yet there; names in `attached` what it added.
fn attach_all(
    (ebpf, links): (&mut Ebpf, &mut Links),
    btf: &Btf,
    cgroup: BorrowedFd<'_>,
    serving: &'static Serving,
    attached: &mut Vec<&'static Program>,
) -> Result<(), String> {
    for program in serving.programs {
        let loaded = ebpf.program_mut(program.name).ok_or_else(|| {
            format!("{} is for kernels since 5.17 that give LSM programs inode storage", program.attach)
        })?;
        if loaded.fd().is_ok() {
            // Another capability was here before: one program may serve two.
            continue;
        }
        attached.push(program);
        let link = attach(loaded, program.attach, btf, cgroup).map_err(|error| describe(program, &error))?;
        link.into_iter().for_each(|link| links.keep(program.name, link));
    }
    Ok(())
}

/// Loads and attaches a program; its tie to the hook, where it is not an iterator.
fn attach(
    program: &mut LoadedProgram,
    attach: Attach,
    btf: &Btf,
    cgroup: BorrowedFd<'_>,
) -> Result<Option<FdLink>, ProgramError> {
    let link = match attach {
        Attach::BtfTracepoint(name) => {
            let program: &mut BtfTracePoint = program.try_into()?;
            program.load(name, btf)?;
            let id = program.attach()?;
            FdLink::from(program.take_link(id)?)
        }
        Attach::Lsm(name) => {
            let program: &mut Lsm = program.try_into()?;
            program.load(name, btf)?;
            let id = program.attach()?;
            FdLink::from(program.take_link(id)?)
        }
        Attach::FunctionEntry(name) => {
            let program: &mut FEntry = program.try_into()?;
            program.load(name, btf)?;
            let id = program.attach()?;
            FdLink::from(program.take_link(id)?)
        }
        Attach::FunctionExit(name) => {
            let program: &mut FExit = program.try_into()?;
            program.load(name, btf)?;
            let id = program.attach()?;
            FdLink::from(program.take_link(id)?)
        }
        // A link is multi by itself: other programs on the same hook stay.
        Attach::CgroupAddress(_) => {
            let program: &mut CgroupSockAddr = program.try_into()?;
            program.load()?;
            let id = program.attach(cgroup, CgroupAttachMode::Single)?;
            FdLink::try_from(program.take_link(id)?).map_err(io::Error::other)?
        }
        Attach::CgroupEgress => {
            let program: &mut CgroupSkb = program.try_into()?;
            program.load()?;
            let id = program.attach(cgroup, CgroupSkbAttachType::Egress, CgroupAttachMode::Single)?;
            FdLink::try_from(program.take_link(id)?).map_err(io::Error::other)?
        }
        Attach::CgroupIngress => {
            let program: &mut CgroupSkb = program.try_into()?;
            program.load()?;
            let id = program.attach(cgroup, CgroupSkbAttachType::Ingress, CgroupAttachMode::Single)?;
            FdLink::try_from(program.take_link(id)?).map_err(io::Error::other)?
        }
        Attach::CgroupSocket(_) => {
            let program: &mut CgroupSock = program.try_into()?;
            program.load()?;
            let id = program.attach(cgroup, CgroupAttachMode::Single)?;
            FdLink::try_from(program.take_link(id)?).map_err(io::Error::other)?
        }
        // Whoever walks ties it to its map.
        Attach::SocketIterator => {
            let program: &mut Iter = program.try_into()?;
            program.load("bpf_sk_storage_map", btf)?;
            return Ok(None);
        }
        Attach::FileIterator => {
            let program: &mut Iter = program.try_into()?;
            program.load("task_file", btf)?;
            return Ok(None);
        }
    };
    Ok(Some(link))
}

/// Detaches and unloads a program. One that was never loaded has nothing to drop.
pub(super) fn unload(ebpf: &mut Ebpf, links: &mut Links, program: &Program) {
    links.detach(program.name);
    let Some(loaded) = ebpf.program_mut(program.name) else { return };
    let unloaded = match loaded {
        LoadedProgram::BtfTracePoint(program) => program.unload(),
        LoadedProgram::Lsm(program) => program.unload(),
        LoadedProgram::FEntry(program) => program.unload(),
        LoadedProgram::FExit(program) => program.unload(),
        LoadedProgram::CgroupSockAddr(program) => program.unload(),
        LoadedProgram::CgroupSkb(program) => program.unload(),
        LoadedProgram::Iter(program) => program.unload(),
        LoadedProgram::CgroupSock(program) => program.unload(),
        // No program of the ladder is of another kind.
        _ => Ok(()),
    };
    match unloaded {
        Ok(()) | Err(ProgramError::NotLoaded) => {}
        Err(error) => {
            tracing::warn!(program = program.name, %error, "a program that is not used could not be unloaded")
        }
    }
}

/// One line: the call and its errno, and of the verifier's log its last line that says something.
fn describe(program: &Program, error: &ProgramError) -> String {
    match error {
        ProgramError::LoadError { io_error, verifier_log } => {
            let log = verifier_log.to_string();
            let verdict = log.lines().rev().map(str::trim).find(|line| {
                !line.is_empty()
                    && !line.starts_with("processed ")
                    && !line.starts_with("verification time")
                    && !line.starts_with("stack depth")
            });
            tracing::debug!(program = program.name, %log, "the verifier's log");
            match verdict {
                Some(line) => format!("{} does not load: {io_error} ({line})", program.attach),
                None => format!("{} does not load: {io_error}", program.attach),
            }
        }
        other => {
            let mut text = format!("{} does not attach: {other}", program.attach);
            let mut source = std::error::Error::source(other);
            while let Some(error) = source {
                text.push_str(&format!(": {error}"));
                source = error.source();
            }
            text
        }
    }
}

fn remedy(serving: &Serving, reason: &str) -> Option<String> {
    if serving.rungs == [Rung::Lsm] {
        return Some(
            "boot with `bpf` in the `lsm=` parameter (for example lsm=landlock,lockdown,yama,apparmor,bpf), on a kernel \
             built with CONFIG_BPF_LSM and trampolines"
                .to_owned(),
        );
    }
    if serving.rungs.contains(&Rung::Fentry) && !serving.rungs.contains(&Rung::Tracepoint) {
        return Some(
            "use a kernel built with CONFIG_FUNCTION_TRACER and CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS"
                .to_owned(),
        );
    }
    if reason.contains("types lack") {
        return Some("report the kernel's release and its /sys/kernel/btf/vmlinux".to_owned());
    }
    None
}
