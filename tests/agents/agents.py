"""Real AI agents and a real MCP server, without a network: what is told of each is who it is.

A model API on loopback (fake_model.py) has each agent read a credential by its shell tool, and Claude Code by an MCP server
too.

usage: agents.py TELLTALE PACKAGES SCRATCH    the agent, where npm has put the packages, a directory of the test's own
"""

import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
from proof import Agent, Reads, check, conclude, limit  # noqa: E402

TELLTALE, PACKAGES, SCRATCH = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
HERE = pathlib.Path(__file__).parent
MODULES = f"{PACKAGES}/lib/node_modules"
SPACE = f"telltale-{os.getpid()}"
# Whole runs of an agent in which it may become known by its contents: their digest is made beside the first.
RUNS = 60
# Not `ip netns exec`, which makes another mount namespace too: what runs there is not on the host itself.
INSIDE = ["nsenter", f"--net=/run/netns/{SPACE}"]
PORT = 8123
MODEL = f"http://127.0.0.1:{PORT}"
# An agent that waits for a model, or for a person, is given up.
LIMIT_S = limit(120)

def in_space(command, home, variables):
    environment = {"PATH": f"{PACKAGES}/bin:{os.environ['PATH']}", "HOME": str(home), "TERM": "dumb", **variables}
    return subprocess.run([*INSIDE, *command], cwd=home, env=environment, timeout=LIMIT_S,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True)


def agents(home):
    """Each agent's command and variables. All variables that keep one from calling home are set; there is no route either."""
    # Unless told otherwise, Claude Code asks its model whether its servers are ready or not, and gives them 30 s (here in ms).
    waits = {name: str(LIMIT_S * 1000) for name in ["MCP_CONNECT_TIMEOUT_MS", "MCP_TIMEOUT"]}
    waits["MCP_CONNECTION_NONBLOCKING"] = "false"
    server = {"mcpServers": {"files": {"command": "mcp-server-filesystem", "args": [str(home)]}}}
    provider = f'model_providers.x={{name="x",base_url="{MODEL}/v1",wire_api="responses"}}'
    return {
        "claude-code": (
            ["claude", "-p", "look", "--allowedTools", "Bash,mcp__files__read_text_file", "--mcp-config", json.dumps(server)],
            {"ANTHROPIC_BASE_URL": MODEL, "ANTHROPIC_API_KEY": "none", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", **waits},
        ),
        "codex": (
            ["codex", "exec", "--dangerously-bypass-approvals-and-sandbox", "--skip-git-repo-check", "-c", "model_provider=x",
             "-c", provider, "look"],
            {"OPENAI_API_KEY": "none"},
        ),
        "gemini-cli": (
            ["gemini", "--yolo", "--skip-trust", "-m", "gemini-2.5-flash", "-p", "look"],
            {"GOOGLE_GEMINI_BASE_URL": MODEL, "GEMINI_API_KEY": "none", "GEMINI_TELEMETRY_ENABLED": "false"},
        ),
    }


@contextlib.contextmanager
def model(credential):
    """A model that has each agent read the credential."""
    command = ["ip", "netns", "exec", SPACE, sys.executable, HERE / "fake_model.py", str(PORT), f"cat {credential}", credential]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        process.stdout.readline()
        yield
    finally:
        process.kill()
        process.wait()


def prepare(home):
    (home / ".gemini").mkdir()
    settings = {"security": {"auth": {"selectedType": "gemini-api-key"}}, "privacy": {"usageStatisticsEnabled": False}}
    (home / ".gemini/settings.json").write_text(json.dumps(settings))
    credential = home / ".aws/credentials"
    credential.parent.mkdir()
    credential.write_text("[default]\n")
    return str(credential)


def run_all(events, home, credential):
    for product, (line, variables) in agents(home).items():
        ended = in_space(line, home, variables)
        said = (ended.stdout + ended.stderr).strip()[-400:]
        check(f"{product}: runs to its end", ended.returncode == 0, f"{ended.returncode}: {said}")
    # Everything before it has been told when this is.
    in_space(["cat", credential], home, {})
    is_mark = lambda event: (event["event"], event.get("path"), event.get("role")) == ("credential_access", credential, None)
    events.wait(lambda event: is_mark(event) and event.get("argv", [""])[0] == "cat")


def copied(events, home, credential):
    """Codex's package, copied to a place of another name: what its wrapper's process does first. And Claude Code's program."""
    copy = SCRATCH / "my-assistant"
    shutil.copytree(f"{MODULES}/@openai/codex", copy, ignore=shutil.ignore_patterns("node_modules", "vendor"))
    reader = SCRATCH / "reader.js"
    reader.write_text("const fs = require('fs'), line = Buffer.alloc(1);\n"
                      f"while (fs.readSync(0, line, 0, 1) > 0) fs.closeSync(fs.openSync({json.dumps(credential)}, 'r'));\n")
    process = subprocess.Popen([*INSIDE, "node", "--require", str(reader), copy / "bin/codex.js"], cwd=home,
                               stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        event = Reads(events, credential).of_process("agent_version", process)
    finally:
        process.stdin.close()
        process.wait(LIMIT_S)
    check("a copied package is its agent", (event["identity"].split("@")[0], event.get("role")) == ("agent/codex", "agent"), event)
    check("a copied package has its version", event.get("agent_version") == version("codex"), event.get("agent_version"))
    # Claude Code's own program was seen to run: another file with the same contents is it, wherever it lies.
    assistant = SCRATCH / "assistant"
    shutil.copy(f"{MODULES}/@anthropic-ai/claude-code/bin/claude.exe", assistant)
    line, variables = agents(home)["claude-code"]
    event = Reads(events, credential).until("role", lambda: in_space([str(assistant), *line[1:]], home, variables), RUNS)
    check("a copied program is its agent", event["identity"].startswith("agent/claude-code@"), event)


def version(product):
    package = {"claude-code": "@anthropic-ai/claude-code", "codex": "@openai/codex", "gemini-cli": "@google/gemini-cli"}[product]
    return json.loads(pathlib.Path(f"{MODULES}/{package}/package.json").read_text())["version"]


def judge(told, credential):
    of_agents = [event for event in told if event.get("role")]
    runners = {event["identity"].split("@", 1)[1] for event in of_agents if event["identity_kind"] == "ai_agent"}
    check("one runner", len(runners) == 1, runners)
    runner = runners.pop() if runners else "?"
    sessions = {}
    for product in ["claude-code", "codex", "gemini-cli"]:
        identity = f"agent/{product}@{runner}"
        own = [event for event in of_agents if event["identity"] == identity]
        calls = [event for event in own if event["event"] == "connection" and event["remote_port"] == PORT]
        check(f"{product}: it asks its model", calls and all(call["role"] == "agent" for call in calls), own[:3])
        sessions[product] = {event["agent_session"] for event in own}
        check(f"{product}: one session", len(sessions[product]) == 1, sessions[product])
        reads = [event for event in own if event["event"] == "credential_access" and event["path"] == credential
                 and event["exe"].endswith("/cat")]
        check(f"{product}: its tool reads the credential", [event["role"] for event in reads] == ["tool"], reads)
        versions = {event.get("agent_version") for event in own} - {None}
        check(f"{product}: its version is told", versions == {version(product)}, versions)
        stray = [event for event in told if event.get("remote_port") == PORT and event["event"] == "connection"
                 and not event.get("role")]
        check(f"{product}: nobody else asks a model", not stray, stray[:1])
    flags = [piece["detail"] for event in of_agents if event["identity"].startswith("agent/codex@")
             for piece in event["evidence"] if piece["kind"] == "agent_bypass"]
    check("codex: its bypass is told", "--dangerously-bypass-approvals-and-sandbox" in flags, flags)
    server = f"mcp/%40modelcontextprotocol%2Fserver-filesystem/of/agent/claude-code@{runner}"
    reads = [event for event in of_agents if event["identity"] == server and event["event"] == "credential_access"]
    readers = [[event["identity"], event.get("role"), event["exe"]] for event in told if event.get("path") == credential]
    check("MCP server: it reads the credential", {event["role"] for event in reads} == {"mcp_server"}, readers)
    check("MCP server: in its agent's session", {event["agent_session"] for event in reads} == sessions["claude-code"], reads)
    check("MCP server: its agent is blended in", all(f"agent/claude-code@{runner}" in event["blended"] for event in reads))


def main():
    home = SCRATCH / "home"
    home.mkdir()
    credential = prepare(home)
    subprocess.run(["ip", "netns", "add", SPACE], check=True)
    try:
        subprocess.run(["ip", "-n", SPACE, "link", "set", "lo", "up"], check=True)
        events = Agent(TELLTALE, SCRATCH, LIMIT_S)
        try:
            events.wait_start()
            with model(credential):
                run_all(events, home, credential)
                told = list(events.told)
                copied(events, home, credential)
        finally:
            events.stop()
    finally:
        subprocess.run(["ip", "netns", "del", SPACE], check=False)
        shutil.rmtree(home)
    judge(told, credential)
    conclude()


main()
