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

    def position(self, what, since=0):
        """Where the first event stands, from there on, of which `what` holds, once it is told; none if the agent ends before.

        Each event is looked at once: where the machine is slow, more are told meanwhile than could be looked at again and again.
        """
        at, has_ended = since, False

        def is_there():
            nonlocal at, has_ended
            while at < len(self.told) and not has_ended and not what(self.told[at]):
                has_ended = self.told[at]["event"] == "end"
                at += 1
            return at < len(self.told) or has_ended

        with self.more:
            if not self.more.wait_for(is_there, self.limit):
                sys.exit(f"the agent did not tell it within {self.limit} s")
        return None if has_ended else at

    def wait(self, what, since=0):
        """The event itself; empty if the agent ends before."""
        at = self.position(what, since)
        return {} if at is None else self.told[at]

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

        at = self.agent.position(is_next, self.seen)
        if at is None:
            sys.exit("the agent has ended")
        self.seen = at + 1
        return self.agent.told[at]

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
