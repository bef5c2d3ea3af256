//! What it costs to say who acted, in this process alone: `cargo xtask bench attribute`.
//!
//! Prints a line of JSON for each run of each step (docs/benchmarks.md). Steps take turns, so that what else the machine does
//! falls on all alike; time is this thread's own.
#![expect(clippy::expect_used, reason = "run by hand: a panic is its report")]

use std::hint::black_box;
use std::sync::Arc;

use agent::attribute::Attributor;
use agent::attribute::users::Users;
use agent::life::owners::Owners;
use agent::model::act::{Actor, Namespaces};
use agent::model::bytes::RawBytes;
use agent::model::container::{Answer, ContainerFound, EngineFacts};
use agent::model::image::ImageReference;
use agent::model::process::{
    AgentPart, AgentRole, AgentSession, Cgroup, CredentialIds, ExecImage, FileRef, LoginState, Origin,
    Process, ProcessKey,
};
use agent::model::time::BootTime;
use agent::operator::rules::Rules;
use agent::process::inventory::HostNamespaces;
use clap::Parser;
use rustix::time::{ClockId, clock_gettime};

const HOST: HostNamespaces = HostNamespaces { mount: 1, user: 2 };
const PASSWD: &[u8] = b"root:x:0:0::/root:/bin/bash\nalice:x:1000:1000::/home/alice:/bin/bash\n";
const CONTAINER: &str = "4fa6e0f0c6786287e131c3852c58a2e01cc697a68231826813597e4994f1d6e2";
const SESSION: &str = "/user.slice/user-1000.slice/session-3.scope";
/// Processes of a kind, each of which runs another program: fewer than are remembered.
const FEW: u32 = 4_096;
/// Acts of one process in turn.
const ROUNDS: u32 = 16;

#[derive(Parser)]
struct Args {
    /// Measure each step so often.
    #[arg(long, default_value_t = 9)]
    runs: u32,
    /// Only steps whose name contains this; may be given more than once.
    #[arg(long = "step", value_name = "NAME")]
    steps: Vec<String>,
}

struct Step {
    name: &'static str,
    processes: u32,
    rules: usize,
    cgroup: String,
    is_login: bool,
    is_tool: bool,
}

fn step(name: &'static str, cgroup: &str) -> Step {
    Step { name, processes: FEW, rules: 0, cgroup: cgroup.to_owned(), is_login: false, is_tool: false }
}

fn steps() -> Vec<Step> {
    let unit = "/system.slice/nginx.service";
    vec![
        step("executable", "/"),
        step("system unit", unit),
        step("container", &format!("/system.slice/docker-{CONTAINER}.scope")),
        Step { is_login: true, ..step("human", SESSION) },
        Step { is_login: true, is_tool: true, ..step("tool of an agent", SESSION) },
        Step { rules: 1_000, ..step("system unit, 1,000 rules", unit) },
        Step { processes: 10_000, ..step("10,000 identities", "/") },
        Step { processes: 100_000, ..step("100,000 identities", "/") },
    ]
}

/// The same of all of a step's processes.
struct Common {
    ids: CredentialIds,
    cgroup: Arc<Cgroup>,
    role: Option<Arc<AgentRole>>,
}

impl Common {
    fn of(step: &Step) -> Self {
        let cgroup = Arc::new(Cgroup { id: 7, path: step.cgroup.as_str().into() });
        let login = step.is_login.then_some(1_000);
        let ids = CredentialIds { uid: login.unwrap_or(0), login_uid: login, ..CredentialIds::default() };
        let role = step.is_tool.then(|| {
            let session = AgentSession {
                product: "claude-code".into(),
                root: ProcessKey { pid: 40, start: BootTime::from_ns(1) },
                program: "/usr/lib/node_modules/@anthropic-ai/claude-code/cli.js".into(),
                bypass: Vec::new(),
                within: None,
                copied: false,
                ids,
                cgroup: cgroup.clone(),
            };
            Arc::new(AgentRole { session: Arc::new(session), part: AgentPart::Tool })
        });
        Self { ids, cgroup, role }
    }

    fn process(&self, number: u32) -> (Process, Actor) {
        let key = ProcessKey { pid: 42, start: BootTime::from_ns(1) };
        let namespaces = Namespaces { mount: HOST.mount, user: HOST.user, ..Namespaces::default() };
        let exe_file =
            FileRef { device: 8 << 20 | 1, inode: u64::from(number), links: 1, ..FileRef::default() };
        let exe = RawBytes::from(format!("/usr/bin/program-{number}").as_str());
        let process = Process {
            key,
            parent: None,
            namespaced_pid: 42,
            image: Arc::new(ExecImage { exe, exe_file, ..ExecImage::default() }),
            ids: self.ids,
            cgroup: self.cgroup.clone(),
            namespaces,
            origin: Origin::Observed,
            since: key.start,
            exec_count: 1,
            role: self.role.clone(),
            login: LoginState::default(),
        };
        let actor = Actor {
            process: key,
            tid: 42,
            ids: self.ids,
            cgroup_id: 7,
            namespaces,
            comm: RawBytes::default(),
        };
        (process, actor)
    }
}

fn attributor(step: &Step) -> Attributor {
    let mut attributor = Attributor::new(HOST, Users::parse(PASSWD));
    let facts = EngineFacts {
        engine: "docker".into(),
        source: "/var/lib/docker".into(),
        image: ImageReference::parse("redis:7"),
        ..EngineFacts::default()
    };
    attributor
        .learn_container(ContainerFound { id: CONTAINER.into(), answer: Answer::Found(Arc::new(facts)) });
    if step.rules > 0 {
        let rules = (0..step.rules).map(|number| {
            format!("[[rule]]\nname = \"{number}\"\nwhen.identity = \"svc/other-{number}-*\"\nowner = \"somebody\"\n")
        });
        let text: String = std::iter::once("version = 1\n".to_owned()).chain(rules).collect();
        let mut owners = Owners::default();
        owners.set_rules(Rules::parse(&text).expect("rules of this program's own"));
        attributor.set_owners(owners);
    }
    attributor
}

fn now_ns() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    #[expect(clippy::cast_precision_loss, reason = "fewer than 2^53 ns of one thread")]
    let ns = (time.tv_sec * 1_000_000_000 + time.tv_nsec) as f64;
    ns
}

/// Nanoseconds of one act: each process's first, and each one's of many rounds.
fn measure(step: &Step) -> (f64, f64, u64) {
    let common = Common::of(step);
    let processes: Vec<_> = (0..step.processes).map(|number| common.process(number)).collect();
    let mut attributor = attributor(step);
    let mut all = |rounds: u32| {
        let begun = now_ns();
        for _ in 0..rounds {
            for (process, actor) in &processes {
                black_box(attributor.attribute(black_box(process), actor, &common.cgroup));
            }
        }
        (now_ns() - begun) / f64::from(rounds * step.processes)
    };
    let (first, next) = (all(1), all(ROUNDS));
    (first, next, attributor.counters().evicted)
}

fn main() {
    let args = Args::parse();
    for run in 1..=args.runs {
        let mut smallest = None;
        for step in steps() {
            if !args.steps.is_empty() && !args.steps.iter().any(|wanted| step.name.contains(wanted.as_str()))
            {
                continue;
            }
            let (first, next, evicted) = measure(&step);
            let least = *smallest.get_or_insert(next);
            println!(
                r#"{{"bench":"attribute","step":"{}","run":{run},"first_ns":{first:.1},"next_ns":{next:.1},"ratio":{:.3},"evicted":{evicted}}}"#,
                step.name,
                next / least
            );
        }
    }
}
