"""kubectl, and the little of the API that the harness asks without it."""

from __future__ import annotations

import http.client
import json
import ssl
import urllib.parse
from pathlib import Path
from typing import Any

import yaml

from cluster.certificates import Pair
from cluster.commands import run
from cluster.errors import HarnessError

#: An answer of a live API server takes milliseconds.
ANSWER_TIMEOUT = 5.0


class Kubectl:
    """Runs kubectl on one cluster; ``kubectl("get", "pods")`` gives what it prints."""

    def __init__(
        self, kubeconfig: Path, program: str | Path = "kubectl", *, cache: Path | None = None
    ) -> None:
        """Remember the cluster and the program.

        Args:
            kubeconfig: of the cluster.
            program: kubectl's name or path.
            cache: where kubectl keeps what the API server can do; beside the kubeconfig by default, for in the
                user's home directory it would take one test's server for another's.
        """
        self.kubeconfig = kubeconfig
        self.program = str(program)
        self._cache = cache or kubeconfig.parent / "kubectl-cache"

    def __call__(self, *arguments: str, stdin: str | None = None, timeout: float = 120.0) -> str:
        """Run one command.

        Raises:
            CommandFailed: with what kubectl wrote to standard error.
        """
        argv = [self.program, f"--kubeconfig={self.kubeconfig}", f"--cache-dir={self._cache}", *arguments]
        return run(argv, stdin=stdin, timeout=timeout)

    def json(self, *arguments: str) -> dict[str, Any]:
        """Run a command that prints JSON (``-o json`` is added) and give it parsed."""
        parsed: dict[str, Any] = json.loads(self(*arguments, "-o", "json"))
        return parsed

    def apply(self, *objects: dict[str, Any], namespace: str | None = None) -> None:
        """Apply objects, server-side."""
        where = ["--namespace", namespace] if namespace else []
        text = yaml.safe_dump_all(objects)
        self("apply", "--server-side", "--force-conflicts", *where, "-f", "-", stdin=text)


def ready(url: str, authority: Path, client: Pair) -> bool:
    """Ask an API server whether it is ready; one that does not answer is not."""
    place = urllib.parse.urlsplit(url)
    context = ssl.create_default_context(cafile=str(authority))
    context.load_cert_chain(client.certificate, client.key)
    connection = http.client.HTTPSConnection(
        place.hostname or "", place.port, timeout=ANSWER_TIMEOUT, context=context
    )
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def load(kubeconfig: Path) -> dict[str, Any]:
    """Read a kubeconfig.

    Raises:
        HarnessError: it cannot be read.
    """
    try:
        parsed = yaml.safe_load(kubeconfig.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise HarnessError(f"{kubeconfig} is no kubeconfig: {error}") from error
    if not isinstance(parsed, dict):
        raise HarnessError(f"{kubeconfig} is no kubeconfig")
    return parsed
