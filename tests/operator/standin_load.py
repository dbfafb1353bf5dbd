"""A stand-in for the load test's master and workers: it speaks their control API and does as a test tells it.

Before its options come ``--script FILE``: JSON with ``passed`` (what it says at its end), ``hang`` (it is never done),
``crash`` (the master ends with code 3 at its start), ``broken`` (a result that is cut off).
"""

import argparse
import json
import os
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def options(arguments):
    parser = argparse.ArgumentParser()
    for flag in ("--headless", "--master", "--worker"):
        parser.add_argument(flag, action="store_true")
    for flag in (
        "--script", "--profile", "--users", "--spawn-rate", "--rate", "--run-time", "--warmup", "--repeats", "--matrix",
        "--payload-size", "--thresholds", "--waves", "--per-wave", "--generated-files", "--generated-size", "--dataset",
        "--targets", "--master-host", "--master-port", "--master-bind-host", "--master-bind-port", "--expect-workers",
        "--control", "--control-token-file", "--report", "--region",
    ):  # fmt: skip
        parser.add_argument(flag, default="")
    return parser.parse_args(arguments)


class Master:
    def __init__(self, given, script):
        self.given, self.script = given, script
        self.token = Path(given.control_token_file).read_text()
        self.events, self.looks, self.ended = [], 0, threading.Event()

    def told(self, kind):
        return {event.get("wave", event["at"]): event for event in self.events if event["kind"] == kind}

    def wants(self):
        if self.given.profile == "bootstrap":
            waves = self.told("wave")
            for wave in range(1, int(self.given.waves) + 1):
                if wave not in waves:
                    return {"wave": wave}
                if not all(answers(member["http"]) for member in waves[wave]["members"]):
                    return {"wave": wave}
            return None
        if self.given.profile == "churn":
            return {"fault": True} if len(self.told("back")) < 2 else None
        return None

    def progress(self):
        wants = self.wants()
        self.looks += 1  # whoever asks sees it run first, however late that is
        done = not self.script.get("hang") and wants is None and self.looks > 1
        passed = self.script.get("passed", True)
        return {
            "state": "done" if done else "running", "passed": passed if done else None,
            "stage": "repeat 1/1, cell 1/1", "done": 1.0 if done else 0.37, "elapsed": 1.0, "users": 6,
            "workers": int(self.given.expect_workers), "expectedWorkers": int(self.given.expect_workers),
            "requests": 1234, "failures": 0 if passed else 5, "replication": {"p50": 0.012, "p99": 0.04, "count": 9},
            "wants": wants, "problems": [] if passed else ["eu-0 does not answer"],
        }  # fmt: skip

    def results(self):
        passed = self.script.get("passed", True)
        threshold = {
            "metric": "replication.p99",
            "bound": "max",
            "limit": "30ms",
            "value": 0.04,
            "text": "40.0 ms",
        }
        headline = {
            "replication.p99": {"value": 0.04, "ci95": [0.03, 0.05], "repeats": 3},
            "join.max": {"value": None},
        }
        files = {
            "summary.json": {
                "passed": passed, "problems": [], "headline": headline,
                "thresholds": [{**threshold, "passed": passed}] if self.given.thresholds else [],
            },
            "events.json": self.events,
            "arguments.json": vars(self.given),
            "targets.json": json.loads(Path(self.given.targets).read_text()),
        }  # fmt: skip
        return {
            "report.html": b"<html>" * 50_000,
            **{name: json.dumps(it).encode() for name, it in files.items()},
        }


def answers(url):
    try:
        urllib.request.urlopen(f"{url}/readyz", timeout=1).close()  # noqa: S310 - of the cluster
    except OSError:
        return False
    return True


def serve(master):
    class Handler(BaseHTTPRequestHandler):
        def reply(self, code, body=b"", length=None):
            self.send_response(code)
            self.send_header("Content-Length", str(len(body) if length is None else length))
            self.end_headers()
            self.wfile.write(body)

        def allowed(self):
            return self.headers["Authorization"] == f"Bearer {master.token}" or self.reply(401)

        def do_GET(self):
            if not self.allowed():
                return
            if self.path == "/v1/progress":
                self.reply(200, json.dumps(master.progress()).encode())
            elif self.path == "/v1/results/":
                sizes = {name: len(data) for name, data in master.results().items()}
                self.reply(200, json.dumps({"files": {**sizes, "../evil": 1}}).encode())
            else:
                data = master.results()[self.path.removeprefix("/v1/results/")]
                broken = master.script.get("broken")
                self.reply(200, data, len(data) + 1 if broken else None)
                self.close_connection = True

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if not self.allowed():
                return
            if self.path == "/v1/events":
                master.events.append(json.loads(body))
            else:
                master.ended.set()
            self.reply(204)

        def log_message(self, *_):
            pass

    host, _, port = master.given.control.rpartition(":")
    server = ThreadingHTTPServer((host, int(port)), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def say(text):
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main():
    given = options(sys.argv[1:])
    script = json.loads(Path(given.script).read_text())
    if given.worker:
        say(f"worker of {given.region}, process {os.getpid()}")
        threading.Event().wait()
    if script.get("crash"):
        say("standin: no such profile")
        sys.exit(3)
    master = Master(given, script)
    serve(master)
    master.ended.wait()
    time.sleep(0.1)  # the answer is on its way
    sys.exit(0 if script.get("passed", True) else 1)


if __name__ == "__main__":
    main()
