"""Enforces NetworkPolicies on one node: watches the API and writes the rules into the node's network.

``python -m cluster.policy_agent URL CA CERTIFICATE KEY``; it runs until it is killed.
"""

from __future__ import annotations

import http.client
import json
import ssl
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any

from cluster.policies import Pod, rules

#: Events come in swarms; so long, in seconds, the agent waits for more before it writes.
SETTLE = 0.02
#: Seconds between two tries to reach the API server.
RETRY = 0.5
#: Seconds after which the API server ends a watch, and longer than which it may not be silent.
WATCH, SILENCE = 240, 300.0

PODS = "/api/v1/pods"
NAMESPACES = "/api/v1/namespaces"
POLICIES = "/apis/networking.k8s.io/v1/networkpolicies"


class Api:
    """Reads lists and watches from one API server."""

    def __init__(self, url: str, authority: str, certificate: str, key: str) -> None:
        """Prepare to connect; nothing is sent yet."""
        place = urllib.parse.urlsplit(url)
        self._place = (place.hostname or "", place.port)
        self._context = ssl.create_default_context(cafile=authority)
        self._context.load_cert_chain(certificate, key)

    def get(self, path: str) -> Iterator[dict[str, Any]]:
        """Give what the server says, a JSON document a line.

        Raises:
            OSError: it cannot be reached, or answers with an error.
        """
        host, port = self._place
        connection = http.client.HTTPSConnection(host, port, timeout=SILENCE, context=self._context)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            if answer.status != http.HTTPStatus.OK:
                raise OSError(f"{path}: {answer.status} {answer.read(500)!r}")
            for line in answer:
                yield json.loads(line)
        finally:
            connection.close()


class Resource:
    """One kind of objects as the API server has them now, in the form that ``read`` makes of each."""

    def __init__(
        self, api: Api, path: str, read: Callable[[dict[str, Any]], Any], changed: threading.Event
    ) -> None:
        """Begin to follow them."""
        self.objects: dict[str, Any] = {}
        self.listed = threading.Event()
        self._api, self._path, self._read, self._changed = api, path, read, changed
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self) -> None:
        while True:
            try:
                self._watch(self._list())
            except (OSError, http.client.HTTPException, ValueError) as error:
                _say(f"{self._path}: {error!r}; again")
                time.sleep(RETRY)

    def _list(self) -> str:
        (whole,) = self._api.get(self._path)
        objects = {_name(item): self._read(item) for item in whole["items"]}
        self.objects = {name: kept for name, kept in objects.items() if kept is not None}
        self.listed.set()
        self._changed.set()
        return str(whole["metadata"]["resourceVersion"])

    def _watch(self, version: str) -> None:
        query = f"?watch=true&allowWatchBookmarks=true&timeoutSeconds={WATCH}&resourceVersion={version}"
        for event in self._api.get(self._path + query):
            kind, item = event["type"], event["object"]
            if kind == "ERROR":
                raise OSError(f"the watch ended: {item.get('message')}")
            if kind == "BOOKMARK":
                continue
            kept = None if kind == "DELETED" else self._read(item)
            if kept == self.objects.get(_name(item)):
                continue
            # A new dict: the writer may be reading the old one.
            others = {name: old for name, old in self.objects.items() if name != _name(item)}
            self.objects = others if kept is None else {**others, _name(item): kept}
            self._changed.set()


def main(url: str, authority: str, certificate: str, key: str) -> None:
    """Keep this network namespace's rules as the API says, for ever."""
    api, changed = Api(url, authority, certificate, key), threading.Event()
    pods = Resource(api, PODS, Pod.read, changed)
    namespaces = Resource(api, NAMESPACES, lambda item: item["metadata"].get("labels", {}), changed)
    policies = Resource(api, POLICIES, _policy, changed)
    for resource in (pods, namespaces, policies):
        resource.listed.wait()
    written = ""
    while True:
        text = rules(list(pods.objects.values()), namespaces.objects, list(policies.objects.values()))
        if text != written and _write(text):
            written = text
        changed.wait(None if text == written else RETRY)
        time.sleep(SETTLE)
        changed.clear()


def _policy(item: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"namespace": item["metadata"]["namespace"]}, "spec": item["spec"]}


def _name(item: dict[str, Any]) -> str:
    metadata = item["metadata"]
    return f"{metadata['namespace']}/{metadata['name']}" if "namespace" in metadata else metadata["name"]


def _write(text: str) -> bool:
    done = subprocess.run(["nft", "-f", "-"], input=text, text=True, capture_output=True, check=False)
    if done.returncode != 0:
        _say(f"nft refused: {done.stderr[:1000]}\n{text}")
    return done.returncode == 0


def _say(line: str) -> None:
    sys.stdout.write(f"{time.strftime('%T')} {line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
