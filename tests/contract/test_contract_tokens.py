"""API tokens on real nodes: who is let in while a token is changed, as Kubernetes changes it, and without any."""

from __future__ import annotations

from pathlib import Path

import pytest
from contract_nodes import Node, Nodes, eventually

pytestmark = pytest.mark.processes

OLD, NEW = "an-old-token-of-32-characters-00", "a-new-token-of-32-characters-000"


class Secret:
    """A mounted Secret as the kubelet keeps it: a link to a link to a directory that is swapped as a whole."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder, self.count = folder, 0
        self.file = folder / "token"
        self.file.symlink_to("..data/token")

    def update(self, *tokens: str) -> None:
        self.count += 1
        version = self.folder / f"..2025_{self.count}"
        version.mkdir()
        (version / "token").write_text("\n".join(tokens))
        swapped = self.folder / "..data_tmp"
        swapped.symlink_to(version.name)
        swapped.rename(self.folder / "..data")


def status(node: Node, token: str | None, path: str = "/peersdb/status") -> int:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return node.request("GET", path, headers=headers).status


def test_tokens_guard_all_but_health_and_change_without_a_gap(nodes: Nodes) -> None:
    secret = Secret(nodes.folder / "secret")
    secret.update(OLD)
    root = nodes.start("root", "-root", "-api-token-file", str(secret.file)).wait_ready()
    assert [status(root, None), status(root, "wrong" * 8), status(root, OLD)] == [401, 401, 200]
    assert [status(root, None, path) for path in ("/healthz", "/readyz", "/metrics")] == [200, 200, 401]
    assert root.command("query").json["code"] == "unauthorized"
    for tokens, let_in in (((OLD, NEW), [200, 200]), ((NEW, OLD), [200, 200]), ((NEW,), [401, 200])):
        secret.update(*tokens)
        assert [status(root, OLD), status(root, NEW)] == let_in
    assert OLD not in root.log()
    assert NEW not in root.log()


def test_a_node_presents_the_first_token_of_its_file_to_its_bootstrap_peers(nodes: Nodes) -> None:
    theirs, ours = Secret(nodes.folder / "theirs"), Secret(nodes.folder / "ours")
    theirs.update(NEW)
    ours.update(OLD, NEW)
    root = nodes.start("root", "-root", "-api-token-file", str(theirs.file)).wait_ready()
    flags = ("-bootstrap", f"127.0.0.1:{root.http_port}", "-api-token-file", str(ours.file))
    peer = nodes.start("peer", *flags).wait_answering()
    eventually(
        peer.log, "the refusal in its log", until=lambda log: "wants another API token than the first" in log
    )
    assert peer.get_url("/readyz").status == 503
    ours.update(NEW, OLD)
    peer.wait_ready()  # by the same process
    assert [status(peer, OLD), status(peer, NEW)] == [200, 200]


@pytest.mark.parametrize("how", ["missing", "empty"])
def test_a_node_without_a_token_refuses_all_until_there_is_one(nodes: Nodes, how: str) -> None:
    file = nodes.folder / "late" / "token"
    nodes.folder.mkdir(exist_ok=True)
    if how == "empty":
        file.parent.mkdir()
        file.touch(mode=0o600)
    root = nodes.start("root", "-root", "-api-token-file", str(file)).wait_ready()
    assert [status(root, token) for token in (None, "", OLD)] == [401, 401, 401]
    answer = root.command("query")
    assert (answer.status, answer.json["code"]) == (401, "unauthorized")
    assert "refuses every request: see its log" in answer.json["error"]
    reason = "it is empty" if how == "empty" else "No such file or directory"
    assert f"reason='{reason}'" in root.log()
    assert "there is no API token: every request is refused" in root.log()
    file.parent.mkdir(exist_ok=True)
    file.write_text(OLD)
    assert [status(root, None), status(root, OLD)] == [401, 200]


def test_a_node_whose_tokens_are_taken_away_refuses_all(nodes: Nodes) -> None:
    secret = Secret(nodes.folder / "secret")
    secret.update(OLD)
    root = nodes.start("root", "-root", "-api-token-file", str(secret.file)).wait_ready()
    secret.update()
    assert status(root, OLD) == 200  # a moment's grace: it may be being written
    eventually(lambda: status(root, OLD), "the end of the token", until=lambda answer: answer == 401)
    secret.update(NEW)
    assert [status(root, OLD), status(root, NEW)] == [401, 200]
