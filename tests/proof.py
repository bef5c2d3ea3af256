"""What proofs with real programs share: checks that are counted, and the agent with what it tells."""

import json
import os
import signal
import subprocess
import sys
import threading

# Reads that a program is given until what is looked up of it is told. Each waits until the read is told.
READS = 2_000

results = {"passed": 0, "failed": 0}


def limit(seconds):
    """How long something may take: so many times longer where the machine is slow (an emulator) as this variable says."""
    return seconds * int(os.environ.get("TELLTALE_PROOF_SLOWNESS", "1"))


def check(what, holds, otherwise=""):
    results["passed" if holds else "failed"] += 1
    print(f"{'ok' if holds else 'FAILED':8} {what}{'' if holds else f': {otherwise}'}", flush=True)


def conclude():
    """Says how many checks held, and ends."""
    print(f"{results['passed']} passed, {results['failed']} failed")
    sys.exit(1 if results["failed"] else 0)


class Agent:
    """An agent that keeps nothing, and what it tells, as it comes. Whoever waits for longer than `limit` seconds is given up."""

    def __init__(self, program, scratch, limit, *options):
        (scratch / "run").mkdir(mode=0o700)
        environment = dict(os.environ, RUNTIME_DIRECTORY=str(scratch / "run"), STATE_DIRECTORY="none")
        self.limit, self.told, self.more = limit, [], threading.Condition()
        self.log = open(scratch / "telltale.log", "w")
        self.process = subprocess.Popen([program, "run", "--json", "--pins", "none", *options], stdout=subprocess.PIPE,
                                        stderr=self.log, env=environment, text=True)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            with self.more:
                self.told.append(json.loads(line))
                self.more.notify_all()
        with self.more:
            self.told.append({"event": "end"})
            self.more.notify_all()

    def wait(self, what):
        """Waits for an event of which `what` holds, or for the agent's end."""
        is_it = lambda event: what(event) or event["event"] == "end"
        with self.more:
            if not self.more.wait_for(lambda: any(map(is_it, self.told)), self.limit):
                sys.exit(f"the agent did not tell it within {self.limit} s")

    def wait_start(self):
        self.wait(lambda event: event.get("phase") == "start")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(self.limit)
        self.reader.join(self.limit)
        return self.told


class Reads:
    """Reads of a credential, as the agent tells them, from now on."""

    def __init__(self, agent, credential):
        self.agent, self.credential, self.seen = agent, str(credential), len(agent.told)

    def next(self):
        """The next one that is told."""
        def is_next(event):
            return event["event"] == "credential_access" and event["path"] == self.credential

        def told():
            return [event for event in self.agent.told[self.seen:] if is_next(event)]

        with self.agent.more:
            if not self.agent.more.wait_for(told, self.agent.limit):
                sys.exit(f"the agent did not tell a read within {self.agent.limit} s")
            read = told()[0]
            self.seen = next(at for at, event in enumerate(self.agent.told) if event is read) + 1
            return read

    def until(self, key, read, most=READS):
        """Has it read until something is told by this key, as what is looked up comes beside; the last one."""
        for _ in range(most):
            read()
            event = self.next()
            if key in event:
                break
        return event

    def of_process(self, key, process):
        """The same, by a process that reads it once a line of its input."""
        def read():
            process.stdin.write("\n")
            process.stdin.flush()

        return self.until(key, read)
