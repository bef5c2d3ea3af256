//! Jobs of build systems: what a runner of GitHub, Buildkite, GitLab, Jenkins or CircleCI executes.
//!
//! A runner is known by its program. A job begins with what the runner itself executes, and is called as the environment
//! says that the runner gives to it; from there on it is inherited over fork and exec, and what a step exports later changes
//! nothing. A runner that a job starts is a part of that job.
//!
//! **Whose runner it is** stands behind the name: `ci/github/acme/web/Deploy/build@svc/actions.runner.acme-web.host1`. Whoever
//! can run programs can lay out a `Runner.Worker` and give what he likes to its child, but it is he who runs it then.
//!
//! Who says the name differs:
//!
//! - **GitHub**: the runner puts its own variables over all that a workflow's steps may set (`RunAsync` of
//!   `src/Runner.Worker/Handlers/ScriptHandler.cs`, <https://github.com/actions/runner>);
//! - **Buildkite**: the service does, and lets no pipeline change them
//!   (<https://buildkite.com/docs/pipelines/environment_variables>); the agent hands them to its bootstrap (`createEnvironment`
//!   of `agent/job_runner.go`, <https://github.com/buildkite/agent>);
//! - **GitLab**: the shell executor gives no variables to what it executes (`Run` of `executors/shell/shell.go`,
//!   <https://gitlab.com/gitlab-org/gitlab-runner>): the script exports them;
//! - **Jenkins** and **CircleCI**: the runner does, but a pipeline may say otherwise (`withEnv`; `environment`).
//!
//! So of the last three the name is what the job says of itself, and is blended in only.

use std::sync::Arc;

use agent_common::limits::MARKER_VALUE_BYTES;

use crate::model::identity::{Confidence, Evidence, Identity};
use crate::model::process::{CiJob, CiRunner, ExecImage, Login, LoginState, Origin, Process};
use crate::process::inventory::HostNamespaces;

use super::agent::who_runs;
use super::{Finding, Resolver, Standing, Subject};

/// Parts of one job's name.
const PARTS: usize = 16;
/// Arguments in which a program's file is looked for.
const ARGUMENTS: usize = 64;
/// Executes programs for a JVM in its own place: `src/java.base/unix/native/jspawnhelper` of <https://github.com/openjdk/jdk>.
const SPAWN_HELPER: &str = "jspawnhelper";

/// How a build system's runner is known, and what it says of its jobs.
struct Signature {
    system: &'static str,
    /// Names of its executable.
    programs: &'static [&'static str],
    /// Of an interpreter: files, one of which is among its arguments.
    files: &'static [&'static str],
    /// Variables of what it executes: paths, with a `/` between their parts.
    paths: &'static [&'static str],
    /// Variables behind them: each is one part.
    names: &'static [&'static str],
    who_says: WhoSays,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum WhoSays {
    /// The runner: the job cannot change it.
    Runner,
    /// The runner, where the job does not say otherwise.
    RunnerOrJob,
    /// The job's script: its names come later than what the runner executes.
    Script,
}

/// The variables are those of <https://docs.github.com/en/actions/reference/workflows-and-actions/variables>,
/// <https://buildkite.com/docs/pipelines/environment_variables>, <https://docs.gitlab.com/ci/variables/predefined_variables/>,
/// <https://www.jenkins.io/doc/book/pipeline/jenkinsfile/#using-environment-variables> and
/// <https://circleci.com/docs/reference/variables/>.
const SIGNATURES: &[Signature] = &[
    Signature {
        system: "github",
        programs: &["Runner.Worker"],
        files: &[],
        paths: &["GITHUB_REPOSITORY"],
        names: &["GITHUB_WORKFLOW", "GITHUB_JOB"],
        who_says: WhoSays::Runner,
    },
    Signature {
        system: "buildkite",
        programs: &["buildkite-agent"],
        files: &[],
        paths: &[],
        names: &["BUILDKITE_ORGANIZATION_SLUG", "BUILDKITE_PIPELINE_SLUG"],
        who_says: WhoSays::Runner,
    },
    Signature {
        system: "gitlab",
        programs: &["gitlab-runner", "gitlab-ci-multi-runner"],
        files: &[],
        paths: &["CI_PROJECT_PATH"],
        names: &["CI_JOB_NAME"],
        who_says: WhoSays::Script,
    },
    Signature {
        system: "jenkins",
        programs: &["java"],
        files: &["agent.jar", "remoting.jar", "slave.jar", "jenkins.war"],
        paths: &["JOB_NAME"],
        names: &[],
        who_says: WhoSays::RunnerOrJob,
    },
    Signature {
        system: "circleci",
        programs: &["circleci-agent", "circleci-runner", "circleci-launch-agent"],
        files: &[],
        paths: &[],
        names: &["CIRCLE_PROJECT_USERNAME", "CIRCLE_PROJECT_REPONAME", "CIRCLE_JOB"],
        who_says: WhoSays::RunnerOrJob,
    },
];

impl Signature {
    fn of(system: &str) -> Option<&'static Self> {
        SIGNATURES.iter().find(|signature| signature.system == system)
    }

    fn is_program(&self, image: &ExecImage) -> bool {
        let name = base(image.exe.as_bytes());
        let has_file = || {
            let mut arguments = image.argv.iter().skip(1).take(ARGUMENTS);
            arguments
                .any(|argument| self.files.iter().any(|file| base(argument.as_bytes()) == file.as_bytes()))
        };
        self.programs.iter().any(|program| name == program.as_bytes())
            && (self.files.is_empty() || has_file())
    }

    /// What a program's environment calls its job.
    fn names_in(&self, image: &ExecImage) -> Option<Vec<Arc<str>>> {
        let value = |name: &&str| {
            let marker = image.markers.iter().find(|marker| marker.name.as_bytes() == name.as_bytes())?;
            let value = std::str::from_utf8(marker.value.as_ref()?.as_bytes()).ok()?;
            // A longer one is cut off there: it would have another's name.
            (!value.is_empty() && value.len() < MARKER_VALUE_BYTES).then_some(value)
        };
        let mut names: Vec<Arc<str>> = Vec::new();
        for path in self.paths {
            names.extend(value(path)?.split('/').map(Arc::from));
        }
        for name in self.names {
            names.push(value(name)?.into());
        }
        (names.len() <= PARTS && names.iter().all(|name| !name.is_empty())).then_some(names)
    }
}

/// What a process is to build systems after an exec. `login` is the login that it is in by then.
pub(super) fn at_exec(
    process: &Process,
    before: &LoginState,
    login: Option<&Arc<Login>>,
    host: HostNamespaces,
) -> (Option<Arc<CiRunner>>, Option<Arc<CiJob>>) {
    if let Some(job) = &before.ci {
        return (None, Some(job.clone()));
    }
    let image = &process.image;
    // Whoever makes a user namespace decides what is mounted where in it. Where its fork was lost it may be a step's.
    if process.namespaces.user != host.user || process.origin == Origin::Inferred {
        return (None, None);
    }
    if let Some(runner) = &before.runner
        && let Some(signature) = Signature::of(&runner.system)
    {
        let names = signature.names_in(image);
        let goes_on =
            signature.who_says == WhoSays::Script || base(image.exe.as_bytes()) == SPAWN_HELPER.as_bytes();
        if names.is_none() && goes_on {
            return (Some(runner.clone()), None);
        }
        let is_runners = signature.who_says == WhoSays::Runner && process.origin == Origin::Observed;
        // Without a name it is a job all the same: a step that hides its name must not be able to begin another.
        let job = CiJob {
            system: runner.system.clone(),
            claimed: !is_runners || names.is_none(),
            names: names.unwrap_or_default(),
            program: runner.program.clone(),
            ids: process.ids,
            cgroup: process.cgroup.clone(),
            login: login.cloned(),
        };
        return (None, Some(Arc::new(job)));
    }
    let signature = SIGNATURES.iter().find(|signature| signature.is_program(image));
    let runner = signature
        .map(|signature| Arc::new(CiRunner { system: signature.system.into(), program: image.exe.clone() }));
    (runner, None)
}

fn base(path: &[u8]) -> &[u8] {
    path.rsplit(|&byte| byte == b'/').next().unwrap_or(path)
}

/// Jobs of build systems.
#[derive(Debug)]
pub(super) struct Ci;

impl Resolver for Ci {
    fn resolve(&self, subject: &Subject<'_>) -> Finding {
        let Some(job) = &subject.process.login.ci else { return Finding::default() };
        let identity = || Identity::CiJob {
            system: job.system.as_bytes().into(),
            job: job.names.iter().map(|name| name.as_bytes().into()).collect(),
            runner: who_runs(&job.ids, &job.cgroup, job.login.as_ref(), subject),
        };
        let say = |detail, confidence| vec![Evidence { kind: "ci_job", detail, confidence }];
        let CiJob { system, program, .. } = &**job;
        if job.names.is_empty() {
            let evidence = say(format!("{system}, by {program}: which is not known"), Confidence::Observed);
            return Finding { identity: None, evidence };
        }
        let (confidence, who) =
            if job.claimed { (Confidence::Claimed, "the job") } else { (Confidence::Observed, "the runner") };
        let names: Vec<String> = job.names.iter().map(|name| name.escape_debug().to_string()).collect();
        let evidence = say(format!("{system} {}, by {program}, says {who}", names.join("/")), confidence);
        Finding { identity: Some((identity(), Standing::Key)), evidence }
    }
}
