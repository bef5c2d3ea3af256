"""Real programs, without a network: what is told of their files is what dpkg, rpm, sha256sum, readelf and pip say.

usage: programs.py TELLTALE PACKAGES SCRATCH    the agent, where wheels of PyPI lie, a directory of the test's own
"""

import os
import pathlib
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
from proof import Agent, Reads, check, conclude, limit  # noqa: E402

TELLTALE, PACKAGES, SCRATCH = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]).resolve()
CREDENTIAL = SCRATCH / "home/.aws/credentials"
LIMIT_S = limit(60)
# Reads the credential once a line of its input, in the process of whoever imports it.
READER = f"""
import sys
for line in sys.stdin:
    open({str(CREDENTIAL)!r}).close()
"""


def said(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def sha256(path):
    return said("sha256sum", path).split()[0]


def build_id(path):
    return said("readelf", "--notes", path).split("Build ID: ")[1].split()[0]


def run(*command):
    return lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def same(what, event, expected):
    told = {key: event.get(key) for key in expected}
    check(what, told == expected, f"{told} and not {expected}")


def of_package(reads):
    cat = os.path.realpath(shutil.which("cat"))
    event = reads.until("exe_sha256", run(cat, str(CREDENTIAL)))
    # Where `/bin` is a link, older packages say `/bin/cat`.
    package = next(line.split(": ")[0] for line in said("dpkg", "--search", "*/bin/cat").splitlines() if line.endswith("/bin/cat"))
    same("of a package: contents and package", event, {
        "exe_sha256": sha256(cat), "exe_build_id": build_id(cat), "exe_package": package,
        "exe_package_version": said("dpkg-query", "--show", "--showformat=${Version}", package),
        "exe_package_modified": False,
    })
    evidence = {piece["kind"] for piece in event["evidence"]}
    check("of a package: they are evidence", {"exe_sha256", "exe_build_id", "exe_package"} <= evidence, evidence)


def copied(reads):
    copy = SCRATCH / "copy"
    shutil.copy(os.path.realpath(shutil.which("cat")), copy)
    event = reads.until("exe_sha256", run(copy, str(CREDENTIAL)))
    same("a copy: the same contents, of no package", event, {"exe": str(copy), "exe_sha256": sha256(copy), "exe_package": None})
    with open(copy, "ab") as file:
        file.write(b"changed")
    event = reads.until("exe_sha256", run(copy, str(CREDENTIAL)))
    same("a copy that was changed: its contents by now", event, {"exe": str(copy), "exe_sha256": sha256(copy)})


def of_rpm(reads):
    """A package that rpmbuild makes, in a data base that rpm makes where hosts of rpm have theirs."""
    database, tree = pathlib.Path("/var/lib/rpm"), pathlib.Path("/opt/telltale-proof")
    if any(place.exists() for place in [database / "rpmdb.sqlite", pathlib.Path("/usr/lib/sysimage/rpm/rpmdb.sqlite"), tree]):
        print("of rpm: not tried, this host has a data base of its own", flush=True)
        return
    program = tree / "cat"
    spec = SCRATCH / "proof.spec"
    spec.write_text(f"""
Name: telltale-proof
Epoch: 1
Version: 2.3
Release: 4
Summary: A program
License: MIT
AutoReqProv: no
%description
A program.
%install
install -D -m 755 {os.path.realpath(shutil.which("cat"))} %{{buildroot}}{program}
%files
{program}
""")
    build = SCRATCH / "rpmbuild"
    # As it is: without its symbols it were another file.
    said("rpmbuild", "-bb", "--quiet", "--define", f"_topdir {build}", "--define", "__os_install_post %{nil}",
         "--define", "debug_package %{nil}", spec)
    [package] = build.glob("RPMS/*/*.rpm")
    own = ["rpm", "--dbpath", str(database)]
    made = not database.exists()
    try:
        said(*own, "--nodeps", "--install", package)
        name, version = said(*own, "--query", "--file", program, "--queryformat", "%{NAME} %{EVR}").split()
        event = reads.until("exe_sha256", run(program, str(CREDENTIAL)))
        same("of a package of rpm", event, {
            "exe_sha256": sha256(program), "exe_package": name, "exe_package_version": version, "exe_package_modified": False,
        })
        with open(program, "ab") as file:
            file.write(b"changed")
        event = reads.until("exe_sha256", run(program, str(CREDENTIAL)))
        same("of a package of rpm, and changed", event, {
            "exe_sha256": sha256(program), "exe_package": name, "exe_package_modified": True,
        })
    finally:
        shutil.rmtree(tree, ignore_errors=True)
        for file in [*database.glob("rpmdb.sqlite*"), database / ".rpm.lock"]:
            file.unlink(missing_ok=True)
        if made:
            database.rmdir()


def in_other_root(reads):
    """As a container's engine does: the root of an overlay, which the host has mounted somewhere."""
    busybox = os.path.realpath(shutil.which("busybox"))
    layers = SCRATCH / "layers"
    subprocess.run(["mkdir", layers], check=True)
    # Overlays cannot lie upon others, of which the scratch may be on one.
    subprocess.run(["mount", "-t", "tmpfs", "layers", layers], check=True)
    try:
        for name in ["lower/bin", "upper", "work", "root"]:
            (layers / name).mkdir(parents=True)
        shutil.copy(busybox, layers / "lower/bin/busybox")
        credential = layers / "upper" / str(CREDENTIAL)[1:]
        options = ",".join(f"{key}dir={layers}/{name}" for key, name in [("lower", "lower"), ("upper", "upper"), ("work", "work")])
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, layers / "root"], check=True)
        try:
            inside = layers / "root" / str(credential.relative_to(layers / "upper"))
            inside.parent.mkdir(parents=True)
            inside.write_text("[default]\n")
            event = reads.until("exe_sha256", run("chroot", layers / "root", "/bin/busybox", "cat", str(CREDENTIAL)))
            same("in another root: found by its mount, and of no package", event, {
                "exe": "/bin/busybox", "exe_sha256": sha256(busybox), "exe_package": None,
            })
        finally:
            subprocess.run(["umount", layers / "root"], check=True)
    finally:
        subprocess.run(["umount", layers], check=True)


def console_script(reads):
    """aider, as pip installs it, and a link to it, as pipx makes them."""
    environment = SCRATCH / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    [wheel] = PACKAGES.glob("*.whl")
    # Nothing of it is run: a Python that is too new for it will do.
    subprocess.run(["pip3", "--python", environment / "bin/python3", "install", "--quiet", "--no-deps", "--no-index",
                    "--no-compile", "--disable-pip-version-check", "--ignore-requires-python", wheel], check=True)
    # Before aider itself, whose dependencies are not there. Not as `sitecustomize`, which Debian's Python has already.
    [packages] = environment.glob("lib/python3*/site-packages")
    (packages / "reader.py").write_text(READER)
    (packages / "reader.pth").write_text("import reader\n")
    link = SCRATCH / "my-assistant"
    link.symlink_to(environment / "bin/aider")
    version = wheel.name.split("-")[1]
    for program in [environment / "bin/aider", link]:
        process = subprocess.Popen([program], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            event = reads.of_process("agent_version", process)
        finally:
            process.stdin.close()
            process.wait(LIMIT_S)
        same(f"an agent of PyPI, started as {program.name}", event, {
            "identity_kind": "ai_agent", "role": "agent", "agent_version": version,
        })
        check("it is aider", event["identity"].startswith("agent/aider@"), event["identity"])
    other = environment / "bin/aider-like"
    other.write_text((environment / "bin/aider").read_text().replace("aider.main", "json.tool"))
    other.chmod(0o755)
    process = subprocess.Popen([other], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        event = reads.of_process("exe_sha256", process)
    finally:
        process.stdin.close()
        process.wait(LIMIT_S)
    same("a script of another module beside it is no agent", event, {"role": None})


def main():
    CREDENTIAL.parent.mkdir(parents=True)
    CREDENTIAL.write_text("[default]\n")
    agent = Agent(TELLTALE, SCRATCH, LIMIT_S)
    try:
        agent.wait_start()
        reads = Reads(agent, CREDENTIAL)
        for proof in [of_package, of_rpm, copied, in_other_root, console_script]:
            proof(reads)
    finally:
        told = agent.stop()
    # Of these alone it was asked; more than once would be told by more.
    status = [event for event in told if event["event"] == "agent_status"][-1]
    counters = {counter["name"]: counter["value"] for counter in status["counters"]}
    check("nothing was turned away", counters["program_not_asked"] == 0, counters)
    conclude()


main()
