"""What pods say of themselves, whatever they say."""

import asyncio
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kube_support import parsed, pod_in_full
from kube_wire import answer, stream

from peersdb_operator.kube import poller
from peersdb_operator.kube.cache import Cache
from peersdb_operator.kube.kinds import POD
from peersdb_operator.kube.poller import Poller, Target

KEY = ("data", "demo")
CLUSTER = parsed({"eu": 3})
TOLD = {"entries": 7, "storeAddress": "/orbitdb/zdpuA", "version": "1.2.3", "replicationSeconds": 0.25}


class Pods:
    """A poller, and pods of one address whose answers are told one after the other; the last one stays."""

    def __init__(self, *answers, count=1):
        self.answers, self.asked, self.count = list(answers), [], count
        self.news, self.now = [], 100.0

    async def _serve(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.asked.append(head)
        told = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        for piece in told if isinstance(told, list) else [told]:
            if isinstance(piece, float):
                await asyncio.sleep(piece)
            else:
                writer.write(piece)
                await writer.drain()
        writer.close()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self.cache = Cache((POD,))
        for index in range(self.count):
            self.place(index)
        self.poller = Poller(self.cache, self.news.append, lambda _seconds: None, lambda: self.now)
        self.session = poller.aiohttp.ClientSession(timeout=poller.aiohttp.ClientTimeout(total=0.3))
        return self

    def place(self, index, ip="127.0.0.1"):
        obj = pod_in_full(CLUSTER, CLUSTER.regions[0], index)
        obj["status"]["podIP"] = ip
        self.cache.put(POD, obj)

    async def __aexit__(self, *_):
        await self.session.close()
        self._server.close()

    async def round(self, *tokens, eager=False):
        self.poller.watch(KEY, Target(self.port, tokens, eager))
        await self.poller._round(self.session, KEY)
        return self.poller.facts(KEY)


def of(scenario, *answers, **options):
    async def run():
        async with Pods(*answers, **options) as pods:
            return await scenario(pods)

    return asyncio.run(run())


async def once(pods):
    return (await pods.round()).get("demo-eu-0")


def test_what_a_node_says_is_known():
    facts = of(once, answer(200, TOLD))
    assert (facts.entries, facts.store_address, facts.version, facts.lag) == (7, "/orbitdb/zdpuA", "1.2.3", 0)
    assert (facts.replication, facts.at) == (0.25, 100.0)


def test_an_answer_is_read_to_its_end():
    text = json.dumps({**TOLD, "peers": ["x" * 50] * 4000}).encode()
    pieces = [text[start : start + 40000] for start in range(0, len(text), 40000)]
    slow = [
        stream(pieces[0], ends=False),
        0.05,
        *(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces[1:]),
        b"0\r\n\r\n",
    ]
    assert of(once, slow).entries == 7


SILENT = {
    "slow": [1.0, answer(200, TOLD)],
    "slow in the middle": [answer(200, TOLD)[:-2], 1.0],
    "cut": answer(200, TOLD)[:-2],
    "refused": answer(401, {}),
    "an error": answer(500, TOLD),
    "no HTTP": b"what?",
    "no JSON": answer(200, b"<html>"),
    "a list": answer(200, [TOLD]),
    "too deep": answer(200, b"[" * 100000),
    "too long": answer(200, b'{"a": "' + b"x" * poller.MAX_ANSWER + b'"}'),
}


@pytest.mark.parametrize("how", SILENT)
def test_a_pod_that_does_not_answer_is_unknown(how):
    assert of(once, SILENT[how]) is None


def test_a_pod_that_sends_elsewhere_is_not_followed_there():
    async def scenario(pods):
        assert await pods.round("token") == {}
        return len(pods.asked)

    assert of(scenario, answer(302, b"", Location="/elsewhere"), answer(200, TOLD)) == 1


ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text("a/é\n\x00", max_size=300),
    st.lists(st.integers(), max_size=2),
)


@settings(max_examples=60)
@given(st.dictionaries(st.sampled_from(sorted(TOLD)), ANYTHING))
def test_whatever_a_pod_says_fits_a_status(told):
    facts = Poller(Cache(()), lambda _: None, lambda _: None)._fact(told, 5)
    assert isinstance(facts.entries, int)
    assert 0 <= facts.entries < 2**53
    assert 0 <= facts.lag <= 5
    assert facts.replication is None or math.isfinite(facts.replication)
    for text in (facts.store_address, facts.version):
        assert len(text) <= 256
        assert text.isprintable()


def test_numbers_that_are_none_do_not_stop_the_operator():
    told = b'{"entries": Infinity, "replicationSeconds": NaN, "version": ["a"], "storeAddress": {"a": 1}}'
    facts = of(once, answer(200, told))
    assert (facts.entries, facts.replication, facts.version, facts.store_address) == (0, None, "", "")


# Over time.


def entries(count):
    return answer(200, {**TOLD, "entries": count})


def test_a_member_lags_behind_what_another_had_a_round_before():
    async def scenario(pods):
        lags = []
        for _ in range(3):
            facts = await pods.round()
            lags.append([facts[name].lag for name in sorted(facts)])
        return lags

    # Which of the pods gets which answer is of no account: each round has one with 10 and one with 4, then 6.
    lags = of(scenario, entries(10), entries(4), entries(10), entries(6), entries(10), entries(10), count=2)
    assert [sorted(round_) for round_ in lags] == [[0, 0], [0, 4], [0, 0]]


def test_an_answer_is_forgotten_after_a_while_and_that_is_news():
    async def scenario(pods):
        assert await pods.round()
        pods.news.clear()
        pods.now += poller.STALE - 1
        assert await pods.round()
        pods.now += 2
        assert pods.poller.facts(KEY) == {}
        assert pods.news == []
        await pods.round()
        return pods.news

    assert of(scenario, answer(200, TOLD), answer(500)) == [KEY]


def test_only_what_changes_a_status_is_news():
    async def scenario(pods):
        told = []
        for _ in range(5):
            await pods.round()
            told.append(len(pods.news))
        return told

    version = answer(200, {**TOLD, "entries": 9, "version": "1.2.4"})
    assert of(scenario, entries(7), entries(7), entries(9), version, answer(500)) == [1, 1, 1, 2, 2]


def test_a_pod_that_is_gone_is_forgotten_at_once():
    async def scenario(pods):
        assert (await pods.round()).keys() == {"demo-eu-0", "demo-eu-1"}
        pods.cache.drop(POD, pod_in_full(CLUSTER, CLUSTER.regions[0], 1))
        assert (await pods.round()).keys() == {"demo-eu-0"}
        pods.poller.forget(KEY)
        assert pods.poller.facts(KEY) == {}

    of(scenario, answer(200, TOLD), count=2)


def test_a_pod_without_an_address_is_not_asked():
    async def scenario(pods):
        pods.place(0, ip="")
        assert await pods.round() == {}
        assert pods.asked == []

    of(scenario, answer(200, TOLD), count=0)


def test_the_newest_token_is_shown_first_and_the_one_before_where_that_is_refused():
    async def scenario(pods):
        assert await pods.round("new", "old")
        return [line for head in pods.asked for line in head.splitlines() if line.startswith("Authorization")]

    assert of(scenario, answer(401), answer(200, TOLD)) == [
        "Authorization: Bearer new",
        "Authorization: Bearer old",
    ]


def test_a_cluster_that_settles_is_asked_often_and_one_at_rest_seldom():
    async def scenario(pods):
        await pods.round(eager=True)
        eager = pods.poller._due[KEY] - pods.now
        await pods.round(eager=False)
        calm = pods.poller._due[KEY] - pods.now
        pods.poller.watch(KEY, Target(pods.port, (), eager=True))
        return eager, calm, pods.poller._due[KEY] - pods.now

    eager, calm, at_once = of(scenario, answer(200, TOLD))
    assert (eager, at_once) == (poller.EAGER, 0)
    assert 0.8 * poller.CALM <= calm <= 1.2 * poller.CALM


def test_many_pods_are_asked_side_by_side_but_not_all_at_once(monkeypatch):
    monkeypatch.setattr(poller, "AT_ONCE", 3)
    most = 0

    async def scenario(pods):
        nonlocal most
        serve, now = pods._serve, 0

        async def counting(reader, writer):
            nonlocal now, most
            now += 1
            most = max(most, now)
            await asyncio.sleep(0.01)
            await serve(reader, writer)
            now -= 1

        pods._server.close()
        pods._server = await asyncio.start_server(counting, "127.0.0.1", pods.port)
        return await pods.round()

    assert len(of(scenario, answer(200, TOLD), count=9)) == 9
    assert 2 <= most <= 3


def test_it_runs_until_it_is_cancelled():
    async def scenario(pods):
        task = asyncio.create_task(pods.poller.run())
        pods.poller.watch(KEY, Target(pods.port, (), eager=True))
        told = asyncio.Event()
        pods.poller._on_news = lambda _key: told.set()
        async with asyncio.timeout(5):
            await told.wait()
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    of(scenario, answer(200, TOLD))
