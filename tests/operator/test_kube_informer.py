"""A cache that is kept in step with a server, through every kind of gap."""

import asyncio
import contextlib

import pytest
from kube_wire import answer, api_server, event, stream

from peersdb_operator.kube import informer
from peersdb_operator.kube.cache import Cache
from peersdb_operator.kube.informer import Informer
from peersdb_operator.kube.kinds import CONFIG_MAP


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(informer, "RETRY_FIRST", 0.01)
    monkeypatch.setattr(informer, "RETRY_LAST", 0.04)
    monkeypatch.setattr(informer, "SHORT", 0.3)


def thing(name, version=1):
    return {"metadata": {"name": name, "namespace": "data", "resourceVersion": str(version)}}


def page(version, *names):
    items = [thing(name) for name in names]
    return answer(200, {"items": items, "metadata": {"resourceVersion": str(version)}})


FORBIDDEN = answer(403, {"message": "you may not"})
TOO_OLD = stream(event("ERROR", {"code": 410, "message": "too old resource version"}))
HANGS = [stream(ends=False), 60.0]


def followed(*script, wants, seconds=30.0):
    """Follow a server that answers one request after the other, and then no more, until ``wants(informer, names)``.
    Gives what was asked, in words.
    """
    asked, told = [], list(script)

    def handler(_method, _path, query, _body):
        asked.append(f"watch {query['resourceVersion']}" if "watch" in query else "list")
        return told.pop(0) if told else HANGS

    async def scenario():
        async with api_server(handler) as kube:
            cache = Cache((CONFIG_MAP,))
            it = Informer(kube, cache, CONFIG_MAP, namespace="data")
            task = asyncio.create_task(it.run())
            async with asyncio.timeout(seconds):
                while len(asked) <= len(script) or not wants(
                    it, [obj["metadata"]["name"] for obj in cache.every(CONFIG_MAP)]
                ):
                    assert not task.done(), task
                    await asyncio.sleep(0.005)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    asyncio.run(scenario())
    return asked


def has(*names):
    return lambda it, found: it.synced.is_set() and sorted(found) == sorted(names)


def test_what_is_listed_and_what_changes_is_known():
    changes = [("ADDED", thing("two", 2)), ("DELETED", thing("one", 3)), ("MODIFIED", thing("two", 4))]
    asked = followed(page(1, "one"), stream(*(event(*change) for change in changes)), wants=has("two"))
    assert asked == ["list", "watch 1", "watch 4"]


def test_a_watch_that_ends_goes_on_where_it_was():
    cut = stream(event("ADDED", thing("two", 5)), ends=False)
    ended = stream(event("BOOKMARK", thing("", 9)))
    asked = followed(page(1, "one"), cut, ended, wants=has("one", "two"))
    assert asked == ["list", "watch 1", "watch 5", "watch 9"]


GAPS = {
    "too old": TOO_OLD,
    "gone": answer(410),
    "an error": answer(500),
    "too new": answer(504, {"message": "Too large resource version"}),
}


@pytest.mark.parametrize("gap", GAPS)
def test_what_was_deleted_in_a_gap_is_forgotten(gap):
    asked = followed(page(1, "one", "two"), GAPS[gap], page(7, "two"), wants=has("two"))
    assert asked == ["list", "watch 1", "list", "watch 7"]


@pytest.mark.parametrize("gap", [b"", answer(429, {}, Retry_After="0")], ids=["away", "busy"])
def test_a_server_that_is_away_or_busy_is_not_asked_for_everything_again(gap):
    asked = followed(
        page(1, "one"), gap, gap, stream(event("ADDED", thing("two", 2))), wants=has("one", "two")
    )
    assert asked == ["list", "watch 1", "watch 1", "watch 1", "watch 2"]


def test_a_list_that_breaks_off_forgets_nothing_and_is_tried_again():
    half = answer(200, {"items": [thing("one")], "metadata": {"resourceVersion": "1", "continue": "more"}})
    asked = followed(page(1, "one", "two"), TOO_OLD, half, answer(500), page(9, "two"), wants=has("two"))
    assert asked == ["list", "watch 1", "list", "list", "list", "watch 9"]


def test_who_may_not_read_is_told_and_nobody_waits_for_it():
    followed(FORBIDDEN, FORBIDDEN, wants=lambda it, _: it.synced.is_set() and "you may not" in it.refused)


def test_a_right_that_is_given_later_counts():
    followed(FORBIDDEN, page(1, "one"), wants=lambda it, names: not it.refused and names == ["one"])


ENDS = {
    "ends": stream(),
    "too old": TOO_OLD,
    "garbage": answer(200, b"{}\n"),
    "forbidden": FORBIDDEN,
    "not there": answer(404),
    "cut": b"",
}


@pytest.mark.parametrize("end", ENDS)
def test_nothing_is_asked_again_and_again_without_a_pause(end, monkeypatch):
    monkeypatch.setattr(informer, "RETRY_FIRST", 0.05)
    monkeypatch.setattr(informer, "RETRY_LAST", 30.0)
    asked = []
    enough = asyncio.Event()

    def handler(_method, _path, query, _body):
        asked.append(asyncio.get_running_loop().time())
        if len(asked) == 8:
            enough.set()
        return ENDS[end] if "watch" in query else page(1, "one")

    async def scenario():
        async with api_server(handler) as kube:
            task = asyncio.create_task(
                Informer(kube, Cache((CONFIG_MAP,)), CONFIG_MAP, namespace="data").run()
            )
            async with asyncio.timeout(20):
                await enough.wait()
            task.cancel()

    asyncio.run(scenario())
    # Two requests a turn at most, and between the turns pauses of 50, 100 and 200 ms, each shorter by a third at most.
    assert asked[7] - asked[0] >= 0.35 * 0.69
