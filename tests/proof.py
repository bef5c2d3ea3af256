"""What proofs with real programs share: checks that are counted, and the agent with what it tells."""

import json
import os
import signal
import subprocess
import sys
import threading

results = {"passed": 0, "failed": 0}


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
