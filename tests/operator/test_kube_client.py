"""Each answer of an API server, and each way to give none, is one class of errors."""

import asyncio
import json

import pytest
from kube_wire import answer, api_server, stream

from peersdb_operator.errors import Conflict, Gone, KubeError, NotFound, Refused, Unavailable
from peersdb_operator.kube import client
from peersdb_operator.kube.kinds import CLUSTER, CONFIG_MAP, NODE

STATUS = {"kind": "Status", "message": "as it is told", "reason": "Told"}
OBJECT = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "it", "namespace": "data"}}


def of(told, call):
    """Call a client of a server that answers with ``told``."""

    async def scenario():
        async with asyncio.timeout(10), api_server(lambda *_: told) as kube:
            return await call(kube)

    return asyncio.run(scenario())


def get(kube):
    return kube.get(CONFIG_MAP, "data", "it")


async def listed(kube):
    return [page async for page in kube.pages(CONFIG_MAP, "data")]


async def watched(kube):
    return [told async for told in kube.watch(CONFIG_MAP, "data", "", "1")]


CALLS = {
    "get": get,
    "list": listed,
    "watch": watched,
    "apply": lambda kube: kube.apply(CONFIG_MAP, OBJECT),
    "create": lambda kube: kube.create(CONFIG_MAP, OBJECT),
    "replace": lambda kube: kube.replace(CONFIG_MAP, OBJECT),
    "merge": lambda kube: kube.merge(CONFIG_MAP, "data", "it", {}),
    "delete": lambda kube: kube.delete(CONFIG_MAP, "data", "it", "u"),
}
OF_STATUS = {
    400: Refused, 401: Refused, 403: Refused, 404: NotFound, 405: Refused, 408: Unavailable, 409: Conflict, 410: Gone,
    413: Refused, 415: Refused, 422: Refused, 429: Unavailable, 500: Unavailable, 502: Unavailable, 503: Unavailable,
    504: Unavailable,
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_every_status_has_its_class_whatever_was_asked(name):
    async def scenario():
        told = {}
        async with api_server(lambda *_: answer(told["status"], STATUS)) as kube:
            for status, wanted in OF_STATUS.items():
                told["status"] = status
                if name == "delete" and wanted in (NotFound, Conflict):
                    await CALLS[name](kube)  # it is gone, or another one: nothing is left to do
                    continue
                with pytest.raises(KubeError, match="as it is told") as raised:
                    await CALLS[name](kube)
                assert (type(raised.value), raised.value.status) == (wanted, status)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("7", 7), ("0", 0), ("100000", 300), ("Wed, 21 Oct 2026 07:28:00 GMT", 0), ("-1", 0), ("²", 0), ("", 0)],
)
def test_a_server_is_left_alone_as_long_as_it_asks_but_not_for_ever(text, seconds):
    for status in (429, 503):
        with pytest.raises(Unavailable) as raised:
            of(answer(status, STATUS, Retry_After=text), get)
        assert raised.value.retry_after == seconds


BROKEN = {
    "nothing at all": b"",
    "no HTTP": b"what?\r\n\r\n",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "too short": answer(200, {"metadata": {}})[:-3],
    "a chunk that breaks off": stream(b'{"metadata": ', ends=False),
    "a chunk of no size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    "no JSON": answer(200, b"<html>"),
    "bytes that are no text": answer(200, b'"\xff\xfe"'),
    "a list": answer(200, [1]),
    "a number": answer(200, 7),
    "an empty body": answer(200),
    "an error that breaks off": answer(500, STATUS)[:-3],
    "an error of garbage": answer(502, b"<html>Bad Gateway"),
    "an error that is a list": answer(503, [STATUS]),
}


@pytest.mark.parametrize("how", BROKEN)
@pytest.mark.parametrize("name", ["get", "list", "apply"])
def test_an_answer_that_cannot_be_read_is_no_answer(name, how):
    with pytest.raises(Unavailable):
        of(BROKEN[how], CALLS[name])


@pytest.mark.parametrize(
    "page", [{}, {"items": []}, {"items": {}, "metadata": {"resourceVersion": "1"}}, {"metadata": None}]
)
def test_what_is_no_list_is_no_answer(page):
    with pytest.raises(Unavailable, match="configmaps"):
        of(answer(200, page), listed)


def test_where_nobody_listens_there_is_no_answer():
    async def scenario():
        async with api_server(lambda *_: b"") as kube:
            pass
        kube = client.Kube(client.ApiClient(client.Configuration(host="http://127.0.0.1:1")))
        try:
            await get(kube)
        finally:
            await kube.close()

    with pytest.raises(Unavailable, match="no answer"):
        asyncio.run(scenario())


def test_a_server_that_hangs_is_given_up(monkeypatch):
    monkeypatch.setattr(
        client.Kube._request, "__kwdefaults__", {**client.Kube._request.__kwdefaults__, "timeout": 0.2}
    )
    for told in ([10.0], [answer(200, OBJECT)[:-3], 10.0], [answer(500, STATUS)[:-3], 10.0]):
        with pytest.raises(Unavailable):
            of(told, get)


# Lists.


def test_a_list_is_read_page_by_page():
    pages = {
        "": {
            "items": [{"metadata": {"name": "one"}}],
            "metadata": {"resourceVersion": "9", "continue": "next"},
        },
        "next": {"items": [{"metadata": {"name": "two"}}], "metadata": {"resourceVersion": "9"}},
    }
    asked = []

    def handler(method, path, query, _body):
        asked.append((method, path, query))
        return answer(200, pages[query.get("continue", "")])

    async def scenario():
        async with api_server(handler) as kube:
            return [page async for page in kube.pages(CONFIG_MAP, "data", "a=b")]

    assert asyncio.run(scenario()) == [([{"metadata": {"name": name}}], "9") for name in ("one", "two")]
    first = {"limit": str(client.PAGE), "labelSelector": "a=b"}
    path = "/api/v1/namespaces/data/configmaps"
    assert asked == [("GET", path, first), ("GET", path, {**first, "continue": "next"})]


def test_paths_are_those_of_the_api():
    assert (
        CLUSTER.path("data", "it", "status")
        == "/apis/peersdb.io/v1alpha1/namespaces/data/peersdbclusters/it/status"
    )
    assert CLUSTER.path() == "/apis/peersdb.io/v1alpha1/peersdbclusters"
    assert CONFIG_MAP.path("data", "it") == "/api/v1/namespaces/data/configmaps/it"
    assert NODE.path("ignored", "n1") == "/api/v1/nodes/n1"


# Writes.


def test_each_write_is_counted_before_it_is_sent_and_says_who_writes():
    asked, counted = [], []

    def handler(method, path, query, body):
        asked.append((method, path, query.get("fieldManager"), json.loads(body)))
        assert len(counted) == len(asked)
        return answer(200, OBJECT)

    async def scenario():
        async with api_server(handler) as kube:
            kube._on_write = lambda kind, verb: counted.append((kind, verb))
            for name in ("apply", "create", "replace", "merge", "delete"):
                await CALLS[name](kube)

    asyncio.run(scenario())
    verbs = ["apply", "create", "update", "patch", "delete"]
    assert counted == [("ConfigMap", verb) for verb in verbs]
    path = "/api/v1/namespaces/data/configmaps"
    assert [entry[:3] for entry in asked] == [
        ("PATCH", f"{path}/it", "peersdb-operator"),
        ("POST", path, "peersdb-operator"),
        ("PUT", f"{path}/it", "peersdb-operator"),
        ("PATCH", f"{path}/it", "peersdb-operator"),
        ("DELETE", f"{path}/it", None),
    ]
    assert asked[-1][3] == {"preconditions": {"uid": "u"}, "propagationPolicy": "Background"}


# Where the server is.


@pytest.mark.parametrize("text", ["", "- a\n- b", "a: [", "clusters: 3", "\x00"])
def test_a_kubeconfig_that_is_none_is_said(monkeypatch, tmp_path, text):
    from kubernetes.aio.config import kube_config

    (tmp_path / "kubeconfig").write_text(text)
    for path in ("kubeconfig", "not-there"):
        monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / path))
        with pytest.raises(KubeError, match="set KUBECONFIG, or run in a pod"):
            asyncio.run(client.connect())


def test_in_a_pod_its_service_account_is_taken_unless_a_kubeconfig_is_named(monkeypatch):
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.delenv("KUBECONFIG", raising=False)
    assert client.in_pod()
    with pytest.raises(KubeError, match="no API server to talk to"):
        asyncio.run(client.connect())  # this is no pod: there is no token
    monkeypatch.setenv("KUBECONFIG", "/somewhere")
    assert not client.in_pod()
