//! Jobs of cron, at, timers and build systems, from records of process life to who is told.

use std::sync::Arc;

use super::login_tests::{Host, INIT, Task, image};
use crate::model::container::Answer;
use crate::model::identity::{Confidence, OwnerSource};
use crate::model::process::ExecImage;
use crate::model::unit::{UnitFacts, UnitFound, UnitTimer};

const CRON: &str = "/system.slice/cron.service";
const RUNNER: &str = "/system.slice/actions.runner.acme-web.build1.service";
const WORKER: &str = "/opt/actions-runner/bin/Runner.Worker";

/// What is executed with these arguments.
fn run(exe: &str, argv: &[&str]) -> ExecImage {
    ExecImage { argv: argv.iter().map(|argument| (*argument).into()).collect(), ..image(exe, &[]) }
}

/// With these variables.
fn step(exe: &str, variables: &[(&'static str, &str)]) -> ExecImage {
    let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    image(exe, &variables)
}

struct Jobs {
    host: Host,
    cgroup: &'static str,
}

impl Jobs {
    fn new(cgroup: &'static str) -> Self {
        Self { host: Host::new(), cgroup }
    }

    fn start(&mut self, maker: &Task, uid: u32, image: ExecImage) -> Task {
        let mut task = self.host.fork(maker);
        task.uid = uid;
        self.host.exec_in(&task, image, self.cgroup);
        task
    }

    /// What a server executes for a user.
    fn job(&mut self, server: &str, uid: u32, image: ExecImage) -> Task {
        let server = self.start(&INIT, 0, run(server, &[server]));
        let session = self.host.fork(&server);
        self.start(&session, uid, image)
    }

    fn key(&mut self, task: &Task) -> String {
        self.host.who(task).identity.to_string()
    }

    fn blended(&mut self, task: &Task) -> Vec<String> {
        self.host.who(task).blended.iter().map(ToString::to_string).collect()
    }
}

fn command(text: &str) -> ExecImage {
    run("/usr/bin/dash", &["/bin/sh", "-c", text])
}

#[test]
fn a_line_of_a_crontab_is_its_users_job() {
    let mut jobs = Jobs::new(CRON);
    let shell = jobs.job("/usr/sbin/cron", 1000, command("cd /srv && ./backup.sh --all"));
    let tool = jobs.start(&shell, 1000, run("/usr/bin/tar", &["tar", "c", "/srv"]));
    let other = jobs.start(&tool, 0, run("/usr/bin/sudo", &["sudo", "id"]));
    for task in [&shell, &tool, &other] {
        assert_eq!(jobs.key(task), "cron/alice/backup.sh");
    }
    assert_eq!(jobs.host.told(&tool, "job"), ["cron of alice: cd /srv && ./backup.sh --all"]);
    assert!(jobs.blended(&tool).contains(&"svc/cron".to_owned()));
    let of_root = jobs.job("/usr/sbin/cron", 0, command("/usr/local/bin/backup.sh"));
    assert_eq!(jobs.key(&of_root), "cron/root/backup.sh");
    let hidden = jobs.job("/usr/sbin/crond", 1001, command("$JOB"));
    assert!(jobs.key(&hidden).starts_with("cron/bob/command-"));
    // Mail is no job.
    let mail =
        jobs.job("/usr/sbin/cron", 1000, run("/usr/sbin/sendmail", &["/usr/sbin/sendmail", "-i", "alice"]));
    assert_eq!(jobs.key(&mail), "svc/cron");
}

#[test]
fn each_program_of_a_directory_is_a_job() {
    let mut jobs = Jobs::new(CRON);
    let shell = jobs.job("/usr/sbin/anacron", 0, command("run-parts --report /etc/cron.daily"));
    let parts =
        jobs.start(&shell, 0, run("/usr/bin/run-parts", &["run-parts", "--report", "/etc/cron.daily"]));
    assert_eq!(
        (jobs.key(&shell), jobs.key(&parts)),
        ("cron/root/cron.daily".into(), "cron/root/cron.daily".into())
    );
    assert_eq!(jobs.host.told(&shell, "login"), ["anacron"]);
    let script =
        ExecImage { filename: "/etc/cron.daily/logrotate".into(), ..run("/usr/bin/dash", &["/bin/sh"]) };
    let part = jobs.start(&parts, 0, script.clone());
    let tool = jobs.start(&part, 0, run("/usr/sbin/logrotate", &["logrotate"]));
    assert_eq!(
        (jobs.key(&part), jobs.key(&tool)),
        ("cron/root/logrotate".into(), "cron/root/logrotate".into())
    );
    // A part is no directory of others, nor is a line that runs one program.
    let other = ExecImage { filename: "/etc/cron.daily/man-db".into(), ..script };
    let within = jobs.start(&part, 0, other.clone());
    assert_eq!(jobs.key(&within), "cron/root/logrotate");
    let plain = jobs.job("/usr/sbin/cron", 0, command("/opt/x"));
    let within = jobs.start(&plain, 0, other.clone());
    assert_eq!(jobs.key(&within), "cron/root/x");
    // A user's own run-parts has no jobs of root's.
    let of_alice = jobs.job("/usr/sbin/cron", 1000, command("run-parts /etc/cron.daily"));
    let within = jobs.start(&of_alice, 1000, other);
    assert_eq!(jobs.key(&within), "cron/alice/cron.daily");
}

#[test]
fn who_is_not_the_server_makes_no_job() {
    let mut jobs = Jobs::new(CRON);
    // alice executes cron herself, or something that is called so.
    for (uid, server) in [(1000, "/usr/sbin/cron"), (0, "/opt/usr/sbin/cron")] {
        let server = jobs.start(&INIT, uid, run(server, &["cron"]));
        let job = jobs.start(&server, 0, command("backup"));
        assert_eq!(jobs.key(&job), "svc/cron");
    }
}

#[test]
fn what_at_was_given_is_its_users() {
    let mut jobs = Jobs::new("/system.slice/atd.service");
    let shell = jobs.job("/usr/sbin/atd", 1000, run("/usr/bin/dash", &["sh"]));
    let tool = jobs.start(&shell, 1000, run("/usr/bin/curl", &["curl"]));
    assert_eq!((jobs.key(&shell), jobs.key(&tool)), ("at/alice".into(), "at/alice".into()));
}

fn facts(timer: Option<&str>, owner: Option<&str>) -> UnitFacts {
    UnitFacts {
        fragment: "/usr/lib/systemd/system/certbot.service".into(),
        description: Some("Certbot".into()),
        owner: owner.map(Into::into),
        timer: timer.map(|unit| UnitTimer {
            unit: unit.into(),
            fragment: format!("/usr/lib/systemd/system/{unit}").into(),
        }),
    }
}

#[test]
fn a_unit_is_told_with_what_its_files_say() {
    let mut jobs = Jobs::new("/system.slice/certbot.service");
    let task = jobs.start(&INIT, 0, run("/usr/bin/python3.11", &["python3", "/usr/bin/certbot"]));
    assert_eq!(jobs.key(&task), "svc/certbot");
    assert_eq!(jobs.host.attributor.units().take_wanted(), ["certbot.service".into()]);
    let mut learn = |answer| {
        jobs.host.attributor.learn_unit(UnitFound { unit: "certbot.service".into(), answer });
        let who = jobs.host.who(&task);
        let owner = who.owner.as_ref().map(|owner| (owner.name.to_string(), owner.source));
        (who.identity.to_string(), owner, who)
    };
    let (identity, owner, who) = learn(Answer::Found(Arc::new(facts(None, Some("team: web")))));
    assert_eq!(identity, "svc/certbot");
    assert_eq!(owner, Some(("team: web".to_owned(), OwnerSource::Unit)));
    let said = who.evidence.iter().map(|one| (one.kind, &*one.detail, one.confidence)).collect::<Vec<_>>();
    for (kind, detail) in [
        ("unit_fragment", "/usr/lib/systemd/system/certbot.service"),
        ("unit_description", "Certbot"),
        ("unit_owner", "team: web"),
    ] {
        assert!(said.contains(&(kind, detail, Confidence::Declared)), "{said:?}");
    }
    let in_unit = who.unit.as_ref().unwrap();
    assert_eq!((&*in_unit.unit, in_unit.facts.is_some()), ("certbot.service", true));
    let (identity, owner, who) = learn(Answer::Found(Arc::new(facts(Some("certbot.timer"), None))));
    assert_eq!((identity.as_str(), owner), ("timer/certbot", None));
    assert_eq!(who.confidence, Confidence::Observed);
    let (identity, _, _) = learn(Answer::Found(Arc::new(facts(Some("run-u17.timer"), None))));
    assert_eq!(identity, "svc/certbot", "a name that systemd-run made up is none");
    let (identity, _, who) = learn(Answer::Refused);
    assert_eq!(identity, "svc/certbot");
    assert!(who.evidence.iter().any(|one| one.kind == "unit_unknown"), "{:?}", who.evidence);
}

/// <https://docs.github.com/en/actions/reference/workflows-and-actions/variables>: the examples of its table, so far as they
/// are kept.
const GITHUB: &[(&str, &str)] = &[
    ("CI", "true"),
    ("GITHUB_ACTIONS", "true"),
    ("GITHUB_ACTOR", "octocat"),
    ("GITHUB_JOB", "greeting_job"),
    ("GITHUB_REPOSITORY", "octocat/Hello-World"),
    ("GITHUB_RUN_ID", "1658821493"),
    ("GITHUB_WORKFLOW", "Deploy it"),
];
const HELLO: &str = "ci/github/octocat/Hello-World/Deploy%20it/greeting_job";

#[test]
fn a_job_of_github_is_what_its_worker_says() {
    let mut jobs = Jobs::new(RUNNER);
    let listener =
        jobs.start(&INIT, 1000, run("/opt/actions-runner/bin/Runner.Listener", &["Runner.Listener", "run"]));
    let worker = jobs.start(&listener, 1000, run(WORKER, &["Runner.Worker", "spawnclient", "1", "2"]));
    assert_eq!(jobs.key(&worker), "svc/actions.runner.acme-web.build1");
    let shell = jobs.start(&worker, 1000, step("/usr/bin/bash", GITHUB));
    let tool = jobs.start(&shell, 1000, step("/usr/bin/node", &[("GITHUB_REPOSITORY", "acme/secret")]));
    let whole = format!("{HELLO}@svc/actions.runner.acme-web.build1");
    for task in [&shell, &tool] {
        assert_eq!(jobs.key(task), whole);
    }
    // A worker of its own makes a step no other job's.
    let own = jobs.start(&tool, 1000, run("/tmp/bin/Runner.Worker", &["Runner.Worker"]));
    let forged = jobs.start(&own, 1000, step("/usr/bin/bash", &[GITHUB, &[("GITHUB_JOB", "x")]].concat()));
    assert_eq!((jobs.key(&own), jobs.key(&forged)), (whole.clone(), whole));
    // Nor does hiding its name first.
    let nameless = jobs.start(&worker, 1000, step("/usr/bin/bash", &[("GITHUB_JOB", "build")]));
    let own = jobs.start(&nameless, 1000, run("/tmp/bin/Runner.Worker", &["Runner.Worker"]));
    let forged = jobs.start(&own, 1000, step("/usr/bin/bash", GITHUB));
    assert_eq!(jobs.key(&forged), "svc/actions.runner.acme-web.build1");
    assert_eq!(jobs.host.told(&forged, "ci_job").len(), 1);
}

#[test]
fn a_worker_that_somebody_lays_out_is_his() {
    let mut jobs = Jobs::new("/user.slice/user-1000.slice/session-3.scope");
    let mut login = INIT;
    login.login = Some((1000, 3));
    let worker = jobs.start(&login, 1000, run("/home/alice/bin/Runner.Worker", &["Runner.Worker"]));
    let shell = jobs.start(&worker, 1000, step("/usr/bin/bash", GITHUB));
    assert_eq!(jobs.key(&shell), format!("{HELLO}@human/alice"));
    // Without a runner the variables say nothing.
    let shell = jobs.start(&login, 1000, step("/usr/bin/bash", GITHUB));
    assert_eq!(jobs.key(&shell), "human/alice");
    // What cron runs for her is hers, and not all of cron's.
    let mut jobs = Jobs::new(CRON);
    let job = jobs.job("/usr/sbin/cron", 1000, command("/home/alice/run"));
    let worker = jobs.start(&job, 1000, run("/home/alice/bin/Runner.Worker", &["Runner.Worker"]));
    let shell = jobs.start(&worker, 1000, step("/usr/bin/bash", GITHUB));
    assert_eq!(jobs.key(&shell), format!("{HELLO}@cron/alice/run"));
}

#[test]
fn a_job_of_buildkite_begins_with_its_bootstrap() {
    let mut jobs = Jobs::new("/system.slice/buildkite-agent.service");
    let agent = jobs.start(&INIT, 1000, run("/usr/bin/buildkite-agent", &["buildkite-agent", "start"]));
    // <https://buildkite.com/docs/pipelines/environment_variables>
    let variables = [
        ("BUILDKITE_JOB_ID", "e44f9784-e20e-4b93-a21d-f41fd5869db9"),
        ("BUILDKITE_ORGANIZATION_SLUG", "acme-inc"),
        ("BUILDKITE_PIPELINE_SLUG", "acme-app"),
    ];
    let bootstrap = jobs.start(&agent, 1000, step("/usr/bin/buildkite-agent", &variables));
    let shell = jobs.start(&bootstrap, 1000, step("/usr/bin/bash", &[("BUILDKITE_PIPELINE_SLUG", "other")]));
    assert_eq!(jobs.key(&shell), "ci/buildkite/acme-inc/acme-app@svc/buildkite-agent");
}

#[test]
fn what_a_job_says_of_itself_is_no_key() {
    let mut jobs = Jobs::new("/system.slice/ci.service");
    let variables: &[(&'static str, &str)] =
        &[("CI_PROJECT_PATH", "group/sub/web"), ("CI_JOB_NAME", "deploy: prod")];
    let runner = jobs.start(&INIT, 0, run("/usr/bin/gitlab-runner", &["gitlab-runner", "run"]));
    let su = jobs.start(&runner, 0, run("/usr/bin/su", &["su", "gitlab-runner"]));
    let shell = jobs.start(&su, 1000, run("/usr/bin/bash", &["bash", "--login"]));
    assert_eq!(jobs.key(&shell), "svc/ci");
    let tool = jobs.start(&shell, 1000, step("/usr/bin/git", variables));
    assert_eq!(jobs.key(&tool), "svc/ci");
    assert!(jobs.blended(&tool).contains(&"ci/gitlab/group/sub/web/deploy%3A%20prod@svc/ci".to_owned()));

    let mut jobs = Jobs::new("/system.slice/ci.service");
    let java =
        jobs.start(&INIT, 1000, run("/usr/lib/jvm/17/bin/java", &["java", "-jar", "/opt/agent.jar", "-url"]));
    let spawning = jobs.host.fork(&java);
    jobs.host.exec_in(
        &spawning,
        run("/usr/lib/jvm/17/lib/jspawnhelper", &["jspawnhelper", "1:2"]),
        "/system.slice/ci.service",
    );
    jobs.host.exec_in(
        &spawning,
        step("/usr/bin/dash", &[("JOB_NAME", "folder/web")]),
        "/system.slice/ci.service",
    );
    assert_eq!(jobs.key(&spawning), "svc/ci");
    assert!(jobs.blended(&spawning).contains(&"ci/jenkins/folder/web@svc/ci".to_owned()));
    // Another program of a JVM is no runner.
    let java = jobs.start(&INIT, 1000, run("/usr/bin/java", &["java", "-jar", "/opt/shop.jar"]));
    let child = jobs.start(&java, 1000, step("/usr/bin/dash", &[("JOB_NAME", "folder/web")]));
    assert_eq!(jobs.host.told(&child, "ci_job"), [""; 0]);
}

#[test]
fn a_name_that_may_be_cut_off_or_is_hollow_is_none() {
    for repository in ["a".repeat(128), "acme//web".to_owned(), String::new(), "a/".repeat(40)] {
        let mut jobs = Jobs::new(RUNNER);
        let worker = jobs.start(&INIT, 1000, run(WORKER, &["Runner.Worker"]));
        let variables = [("GITHUB_REPOSITORY", &*repository), ("GITHUB_WORKFLOW", "w"), ("GITHUB_JOB", "j")];
        let shell = jobs.start(&worker, 1000, step("/usr/bin/bash", &variables));
        assert_eq!(jobs.key(&shell), "svc/actions.runner.acme-web.build1", "{repository}");
    }
}
