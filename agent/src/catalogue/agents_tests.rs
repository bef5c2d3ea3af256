//! Signatures against the layouts of real packages, and against what only looks like them.

use proptest::prelude::*;

use super::*;
use crate::process::program::program_of;

fn image(exe: &str, argv: &[&str]) -> ExecImage {
    ExecImage {
        exe: exe.into(),
        cwd: "/home/alice/project".into(),
        argv: argv.iter().map(|argument| (*argument).into()).collect(),
        ..ExecImage::default()
    }
}

fn agent(exe: &str, argv: &[&str]) -> Option<String> {
    let image = image(exe, argv);
    let catalogue = AgentCatalogue::shipped().unwrap();
    catalogue.agent(&image, &program_of(&image)).map(|agent| agent.product.to_string())
}

fn mcp(exe: &str, argv: &[&str]) -> Option<String> {
    let image = image(exe, argv);
    let catalogue = AgentCatalogue::shipped().unwrap();
    catalogue.mcp_server(&image, &program_of(&image)).map(|server| server.to_string())
}

/// Paths as `npm install -g` and the installers of these products lay them out.
#[test]
fn agents_are_known_by_what_they_run() {
    const NODE: &str = "/usr/bin/node";
    const LIB: &str = "/usr/lib/node_modules";
    let table: [(String, Vec<String>, Option<&str>); 14] = [
        (
            format!("{LIB}/@anthropic-ai/claude-code/bin/claude.exe"),
            vec!["claude".into()],
            Some("claude-code"),
        ),
        (
            format!("{LIB}/@anthropic-ai/claude-code-linux-x64/claude"),
            vec!["claude".into()],
            Some("claude-code"),
        ),
        ("/home/alice/.local/share/claude/versions/2.1.9".into(), vec!["claude".into()], Some("claude-code")),
        (
            NODE.into(),
            vec!["node".into(), format!("{LIB}/@anthropic-ai/claude-code/cli.js")],
            Some("claude-code"),
        ),
        (NODE.into(), vec!["node".into(), format!("{LIB}/@openai/codex/bin/codex.js")], Some("codex")),
        (
            format!(
                "{LIB}/@openai/codex/node_modules/@openai/codex-linux-x64/vendor/x86_64-unknown-linux-musl/codex/codex"
            ),
            vec!["codex".into()],
            Some("codex"),
        ),
        (
            NODE.into(),
            vec!["node".into(), format!("{LIB}/@google/gemini-cli/bundle/gemini.js")],
            Some("gemini-cli"),
        ),
        ("/usr/bin/python3.11".into(), vec!["python3".into(), "-m".into(), "aider".into()], Some("aider")),
        // Tools of theirs, and others' files.
        (format!("{LIB}/@anthropic-ai/claude-code/vendor/ripgrep/x64-linux/rg"), vec!["rg".into()], None),
        ("/home/alice/bin/claude".into(), vec!["claude".into()], None),
        ("/tmp/versions/claude".into(), vec!["claude".into()], None),
        (NODE.into(), vec!["claude".into()], None),
        (NODE.into(), vec!["node".into(), "-e".into(), format!("{LIB}/@openai/codex/bin/codex.js")], None),
        (NODE.into(), vec!["node".into(), "x.js".into(), format!("{LIB}/@openai/codex/bin/codex.js")], None),
    ];
    for (exe, argv, expected) in table {
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        assert_eq!(agent(&exe, &argv).as_deref(), expected, "{exe} {argv:?}");
    }
}

#[test]
fn servers_are_called_by_their_package() {
    const NODE: &str = "/usr/bin/node";
    const CACHE: &str = "/home/alice/.npm/_npx/0a1b2c/node_modules";
    let table: [(&str, Vec<String>, Option<&str>); 9] = [
        (
            NODE,
            vec![
                "node".into(),
                format!("{CACHE}/@modelcontextprotocol/server-filesystem/dist/index.js"),
                "/".into(),
            ],
            Some("@modelcontextprotocol/server-filesystem"),
        ),
        (
            NODE,
            vec!["node".into(), format!("{CACHE}/.bin/mcp-server-filesystem")],
            Some("mcp-server-filesystem"),
        ),
        (NODE, vec!["node".into(), format!("{CACHE}/@playwright/mcp/cli.js")], Some("@playwright/mcp")),
        (
            "/usr/bin/python3",
            vec!["python3".into(), "-m".into(), "mcp_server_git".into()],
            Some("mcp-server-git"),
        ),
        (
            "/usr/bin/python3",
            vec!["python3".into(), "/home/alice/.cache/uv/archive-v0/x/bin/mcp-server-git".into()],
            Some("mcp-server-git"),
        ),
        (
            "/usr/local/bin/github-mcp-server",
            vec!["github-mcp-server".into(), "stdio".into()],
            Some("github-mcp-server"),
        ),
        (NODE, vec!["node".into(), format!("{CACHE}/typescript/bin/tsc")], None),
        ("/usr/bin/npx", vec!["npx".into(), "-y".into(), "mcp-server-x".into()], None),
        ("/usr/bin/cat", vec!["mcp-server-x".into()], None),
    ];
    for (exe, argv, expected) in table {
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        assert_eq!(mcp(exe, &argv).as_deref(), expected, "{exe} {argv:?}");
    }
}

#[test]
fn arguments_by_which_an_agent_no_longer_asks() {
    let catalogue = AgentCatalogue::shipped().unwrap();
    let bypass = |product: &str, argv: &[&str]| -> Vec<String> {
        let agent = catalogue.agents.iter().find(|agent| *agent.product == *product).unwrap();
        agent.bypass(&image("/x", argv).argv).iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        bypass("claude-code", &["claude", "--dangerously-skip-permissions"]),
        ["--dangerously-skip-permissions"]
    );
    assert_eq!(
        bypass("claude-code", &["claude", "--permission-mode", "bypassPermissions"]),
        ["--permission-mode bypassPermissions"]
    );
    assert_eq!(
        bypass("codex", &["codex", "--sandbox=danger-full-access", "--yolo"]),
        ["--yolo", "--sandbox danger-full-access"]
    );
    for argv in [
        &["claude", "--permission-mode", "plan"][..],
        &["claude", "--permission-mode"],
        &["claude", "x--yolo"],
    ] {
        assert!(bypass("claude-code", argv).is_empty(), "{argv:?}");
    }
}

#[test]
fn what_is_refused() {
    let compile = |agent: &str| {
        let text = format!(
            "version = 1\n[[agent]]\ncomment = \"c\"\n{agent}\n[mcp]\npackages = []\nprograms = []\nmodules = []\n"
        );
        AgentCatalogue::compile(&Source { file: "a.toml".into(), text })
            .map(drop)
            .map_err(|error| error.to_string())
    };
    assert_eq!(compile("product = \"x\"\nentry_points = [\"/opt/x/bin/x\"]"), Ok(()));
    for (agent, says) in [
        ("product = \"x\"", "nothing to know it by"),
        ("product = \"X\"\nmodules = [\"x\"]", "is not a name"),
        ("product = \"x\"\nentry_points = [\"**/x\"]", "name a directory"),
        ("product = \"x\"\nentry_points = [\"x/y\"]", "begin it with"),
        ("product = \"x\"\nentry_points = [\"/x/[\"]", "unclosed character class"),
        ("product = \"x\"\nmodules = [\"*\"]", "match everything"),
        ("product = \"x\"\nmarker = [\"X\"]", "unknown field"),
        (
            "product = \"x\"\nmodules = [\"x\"]\n[[agent]]\nproduct = \"x\"\ncomment = \"\"\nmodules = [\"y\"]",
            "twice",
        ),
    ] {
        let error = compile(agent).unwrap_err();
        assert!(error.contains(says), "{agent}: {error}");
    }
}

proptest! {
    #[test]
    fn any_program_is_looked_at(
        exe in proptest::collection::vec(any::<u8>(), 0..40),
        argv in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..4),
    ) {
        let argv = argv.into_iter().map(RawBytes::from).collect();
        let image = ExecImage { exe: exe.into(), argv, ..ExecImage::default() };
        let catalogue = AgentCatalogue::shipped().unwrap();
        let program = program_of(&image);
        prop_assert!(catalogue.agent(&image, &program).is_none());
        let _ = catalogue.mcp_server(&image, &program);
    }
}
