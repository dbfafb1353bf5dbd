"""A real API server with RBAC and etcd behind it, on loopback, for tests of what it lets whom do.

Nothing else runs: no controller, no scheduler, no kubelet. So no pod starts, nothing is collected, and namespaces that
are deleted stay Terminating.
"""

import contextlib
import json
import socket
import subprocess
import time

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from deploy_files import run, tool

ADMIN = "admin-token"
#: Seconds until the API server must be ready; it takes 3 on a quiet machine.
STARTING = 60


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


class ApiServer:
    """kubectl against a server of our own."""

    def __init__(self, directory):
        self.directory = directory
        self.kubectl = tool("kubectl")
        self.programs = [tool("etcd"), tool("kube-apiserver")]
        self.processes = []

    def start(self):
        client, peer, secure = free_ports(3)
        self._write(secure)
        etcd, apiserver = self.programs
        at, peers = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
        self._spawn(
            etcd, "--name=only", f"--data-dir={self.directory / 'etcd'}", "--unsafe-no-fsync",
            f"--listen-client-urls={at}", f"--advertise-client-urls={at}", f"--listen-peer-urls={peers}",
            f"--initial-advertise-peer-urls={peers}", f"--initial-cluster=only={peers}",
        )  # fmt: skip
        key = self.directory / "accounts.key"
        self._spawn(
            apiserver, f"--etcd-servers={at}", "--bind-address=127.0.0.1", f"--secure-port={secure}",
            "--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none", f"--cert-dir={self.directory / 'pki'}",
            "--service-cluster-ip-range=10.96.0.0/16", "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={key}", f"--service-account-signing-key-file={key}",
            f"--token-auth-file={self.directory / 'tokens.csv'}", "--authorization-mode=RBAC",
        )  # fmt: skip
        deadline = time.monotonic() + STARTING
        while self("get", "--raw", "/readyz", check=False).returncode:
            for process in self.processes:
                assert process.poll() is None, (self.directory / "log").read_text()[-2000:]
            assert time.monotonic() < deadline, (self.directory / "log").read_text()[-2000:]
            time.sleep(0.2)

    def stop(self):
        for process in reversed(self.processes):
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def __call__(self, *arguments, stdin=None, check=True, account=None):
        """Runs kubectl; as a service account, ``namespace:name``, if one is given."""
        who = ["--as", f"system:serviceaccount:{account}"] if account else []
        return run(
            self.kubectl,
            "--kubeconfig",
            self.directory / "kubeconfig",
            *who,
            *arguments,
            stdin=stdin,
            check=check,
        )

    def apply(self, *things, **options):
        """Applies objects on the server's side, as the operator does."""
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": things})
        return self(
            "apply", "--server-side", "--field-manager=peersdb-operator", "-f", "-", stdin=text, **options
        )

    def get(self, *arguments):
        return json.loads(self("get", *arguments, "-o", "json").stdout)

    def _spawn(self, *command):
        with (self.directory / "log").open("a") as log:
            self.processes.append(
                subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
            )

    def _write(self, port):
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        encoded = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (self.directory / "accounts.key").write_bytes(encoded)
        (self.directory / "tokens.csv").write_text(f'{ADMIN},admin,1,"system:masters"\n')
        # The server makes its own certificate for as long as the test lasts.
        server = {"server": f"https://127.0.0.1:{port}", "insecure-skip-tls-verify": True}
        configuration = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": server}],
            "users": [{"name": "admin", "user": {"token": ADMIN}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
            "current-context": "test",
        }
        (self.directory / "kubeconfig").write_text(yaml.safe_dump(configuration))
