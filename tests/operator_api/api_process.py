"""`peersdb-operator run` as a process, with what a Deployment gives it."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


class OperatorProcess:
    """One operator; a context manager that ends it."""

    def __init__(self, directory, kubeconfig, namespace, *arguments, name="me"):
        self.name, self.log = name, directory / f"{name}.log"
        self.health, self.metrics = free_ports(2)
        self.argv = [
            sys.executable, "-m", "peersdb_operator", "run", "--namespace", namespace,
            "--health", f"http://127.0.0.1:{self.health}/healthz", "--metrics", f"127.0.0.1:{self.metrics}", *arguments,
        ]  # fmt: skip
        self.environment = {
            **os.environ, "KUBECONFIG": str(kubeconfig), "POD_NAMESPACE": namespace, "POD_NAME": name,
        }  # fmt: skip
        self.environment.pop("KUBERNETES_SERVICE_HOST", None)

    def __enter__(self):
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.argv, stdout=log, stderr=log, env=self.environment)
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def end(self, number=signal.SIGTERM, seconds=25):
        """Send a signal; gives the exit code and how long it took."""
        began = time.monotonic()
        self.process.send_signal(number)
        return self.process.wait(seconds), time.monotonic() - began

    def wait(self, seconds=60):
        """Wait for its own end; gives the exit code and what it wrote."""
        return self.process.wait(seconds), self.text()

    def text(self):
        return self.log.read_text()

    def get(self, port, path):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def healthy(self):
        return self.get(self.health, "/healthz")[0] == 200

    def metric(self, name):
        """The sum of a metric's series; None while it does not serve."""
        status, text = self.get(self.metrics, "/metrics")
        found = re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE)
        return sum(map(float, found)) if status == 200 else None

    def leads(self):
        return self.metric("peersdb_operator_leader") == 1.0
