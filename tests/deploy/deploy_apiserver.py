"""The harness's API server alone, for tests of what it lets whom do: kubectl gives what it printed and how it ended.

Nothing else runs: no controller, no scheduler, no kubelet. So no pod starts, nothing is collected, and namespaces that
are deleted stay Terminating.
"""

import json

import pytest
from deploy_files import run

from cluster import api_server
from cluster.commands import wait_for
from cluster.errors import NotBuilt


def eventually(holds, what="what was written counts"):
    """The API server takes policies, parameters and finalizers up from watches: what was just written counts later."""
    return wait_for(holds, what, 20)


class ApiServer:
    """kubectl against a server of our own; skips where its programs were never built."""

    def __init__(self, directory):
        self.directory = directory
        try:
            self._server = api_server.ApiServer(directory)
        except NotBuilt as error:
            pytest.skip(str(error))
        self.kubectl = self._server.kubectl.program

    def start(self):
        self._server.__enter__()

    def stop(self):
        self._server.__exit__(None, None, None)

    def __call__(self, *arguments, stdin=None, check=True, account=None):
        """Runs kubectl; as a service account, ``namespace:name``, if one is given."""
        who = ["--as", f"system:serviceaccount:{account}"] if account else []
        return run(
            self.kubectl,
            "--kubeconfig",
            self._server.kubeconfig,
            f"--cache-dir={self.directory / 'kubectl-cache'}",
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
