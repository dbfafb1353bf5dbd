"""The API server's faults, made by a proxy: what clients get, and what the API server gets all the same."""

import base64
import itertools
import json
import ssl
import threading
import time

import httpx
import pytest

from cluster.api_faults import ApiFault, read, status, write
from cluster.commands import wait_for
from cluster.kubectl import load
from cluster.testing import api_server_or_skip

#: The proxy looks at its rules 20 times a second.
SEEN = 0.5
NAMES = (f"map-{number}" for number in itertools.count())
PLACE = "/api/v1/namespaces/default/configmaps"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with api_server_or_skip(tmp_path_factory.mktemp("api")) as running:
        yield running


@pytest.fixture(scope="module")
def proxied(server):
    with server.faulty() as (kubeconfig, api):
        yield kubeconfig, api


@pytest.fixture
def api(proxied):
    yield proxied[1]
    proxied[1].set()
    time.sleep(SEEN)


@pytest.fixture(scope="module")
def client(proxied):
    told = load(proxied[0])
    place = told["clusters"][0]["cluster"]
    authority = base64.b64decode(place["certificate-authority-data"]).decode()
    context = ssl.create_default_context(cadata=authority)
    headers = {"Authorization": f"Bearer {told['users'][0]['user']['token']}"}
    with httpx.Client(base_url=place["server"], verify=context, headers=headers, timeout=20) as made:
        yield made


def make(api, *faults):
    api.set(*faults)
    time.sleep(SEEN)


def create(client, name=None):
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name or next(NAMES)}}
    return client.post(PLACE, json=body)


def exists(server, name):
    return f"configmap/{name}\n" in server.kubectl("get", "configmaps", "-o", "name")


def test_without_faults_all_passes_and_is_seen(server, api, client):
    name = next(NAMES)
    assert create(client, name).status_code == 201
    assert exists(server, name)
    assert client.get(f"{PLACE}/{name}").json()["metadata"]["name"] == name
    last, latest = list(api.seen())[-2:]
    assert (last.method, last.path, last.status, last.writes) == ("POST", PLACE, 201, True)
    assert (latest.method, latest.status, latest.writes, latest.fault) == ("GET", 200, False, "")


@pytest.mark.parametrize(
    ("code", "reason"),
    [(409, "Conflict"), (410, "Expired"), (429, "TooManyRequests"), (500, "InternalError")],
)
def test_an_error_is_answered_as_an_api_server_would(server, api, client, code, reason):
    name = next(NAMES)
    make(api, ApiFault(kind="answer", status=code, methods=("POST",), seconds=3))
    told = create(client, name)
    assert (told.status_code, told.json()["reason"], told.json()["kind"]) == (code, reason, "Status")
    assert told.headers.get("Retry-After") == ("3" if code == 429 else None)
    assert not exists(server, name)
    assert client.get(PLACE).status_code == 200, "other methods pass"


@pytest.mark.parametrize("kind", ["answer", "cut"])
def test_a_write_may_be_done_and_its_answer_lost(server, api, client, kind):
    name = next(NAMES)
    make(api, ApiFault(kind=kind, methods=("POST",), passes=True))
    try:
        assert create(client, name).status_code == 500
    except httpx.TransportError:
        assert kind == "cut"
    assert exists(server, name)


def test_a_cut_connection_has_no_answer(server, api, client):
    name = next(NAMES)
    make(api, ApiFault(kind="cut", path="configmaps"))
    with pytest.raises(httpx.TransportError):
        create(client, name)
    assert not exists(server, name)
    assert client.get("/api/v1/namespaces").status_code == 200


def test_a_delay_is_as_long_as_was_said(api, client):
    make(api, ApiFault(kind="delay", seconds=1.0, path="configmaps"))
    start = time.monotonic()
    assert client.get(PLACE).status_code == 200
    assert time.monotonic() - start >= 1.0


def test_a_share_of_the_requests_fails_evenly_spread(api, client):
    make(api, ApiFault(kind="answer", status=500, percent=25))
    codes = [client.get(PLACE).status_code for _ in range(8)]
    assert codes == [200, 200, 200, 500, 200, 200, 200, 500]


def test_the_first_fault_that_matches_is_made(api, client):
    make(
        api,
        ApiFault(kind="answer", status=409, path="configmaps/a$"),
        ApiFault(kind="answer", status=503, path="configmaps"),
    )
    assert client.get(f"{PLACE}/a").status_code == 409
    assert client.get(f"{PLACE}/b").status_code == 503


class Watch:
    """A watch, read beside."""

    def __init__(self, client):
        self.events, self.ended = [], threading.Event()
        self._client = client
        self._opened = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()
        assert self._opened.wait(20)

    def _read(self):
        try:
            with self._client.stream("GET", PLACE, params={"watch": "true"}, timeout=60) as answer:
                self._opened.set()
                for line in answer.iter_lines():
                    self.events.append(json.loads(line))
        except httpx.TransportError:
            pass
        self.ended.set()

    def names(self):
        return [event["object"]["metadata"].get("name") for event in self.events]


def test_a_stalled_watch_is_silent_and_then_tells_all(server, api, client):
    watch = Watch(client)
    early, late = next(NAMES), next(NAMES)
    create(client, early)
    wait_for(lambda: early in watch.names(), "an event", 20)
    make(api, ApiFault(kind="stall"))
    create(client, late)
    time.sleep(1)
    assert late not in watch.names()
    api.set()
    wait_for(lambda: late in watch.names(), "the event that was held back", 20)
    assert not watch.ended.is_set()


def test_an_expired_watch_says_so_and_ends(api, client):
    watch = Watch(client)
    make(api, ApiFault(kind="expire"))
    assert watch.ended.wait(20)
    assert (watch.events[-1]["type"], watch.events[-1]["object"]["code"]) == ("ERROR", 410)


def test_open_watches_are_cut_and_new_ones_have_no_answer(api, client):
    watch = Watch(client)
    make(api, ApiFault(kind="cut", watch=True))
    assert watch.ended.wait(20)
    with pytest.raises(httpx.TransportError):
        client.get(PLACE, params={"watch": "true"})
    assert client.get(PLACE).status_code == 200, "what is no watch passes"


def test_while_the_api_server_is_gone_nobody_answers(server, api, client):
    server.stop()
    with pytest.raises(httpx.TransportError):
        client.get(PLACE)
    server.start()
    assert client.get(PLACE).status_code == 200


def test_faults_are_kept_as_they_were_told(tmp_path):
    told = [ApiFault(kind="answer", methods=("GET", "PUT"), path="x", watch=False, status=409, percent=7)]
    write(tmp_path / "rules", told)
    assert read(tmp_path / "rules") == told


def test_of_a_hundred_requests_so_many_are_chosen():
    for percent in (0, 1, 33, 50, 100):
        assert sum(ApiFault(kind="cut", percent=percent).chosen(number) for number in range(100)) == percent


def test_an_unknown_error_has_a_body_too():
    assert status(418, "tea")["reason"] == "Unknown"
