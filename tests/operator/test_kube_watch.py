"""A watch tells what changes, whole and in order, and how it ended."""

import asyncio
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kube_wire import api_server, event, stream
from test_kube_client import STATUS, of, watched

from peersdb_operator.errors import Gone, KubeError, Unavailable
from peersdb_operator.kube import client
from peersdb_operator.kube.kinds import CONFIG_MAP


def thing(version, **more):
    return {"metadata": {"name": "it", "namespace": "data", "resourceVersion": str(version)}, **more}


EVENTS = [("ADDED", thing(2)), ("BOOKMARK", thing(3)), ("DELETED", thing(4, data={"a": "ä" * 50}))]


@settings(max_examples=20)
@given(st.lists(st.integers(1, 400), max_size=8))
def test_events_arrive_whole_however_the_stream_is_cut(cuts):
    text = b"\n".join(event(*one) for one in EVENTS)  # an empty line between two is none
    edges = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    pieces = [text[start:end] for start, end in itertools.pairwise(edges)]
    assert of(stream(*pieces), watched) == EVENTS


ENDS = {
    "too old": (event("ERROR", {**STATUS, "code": 410}), Gone),
    "an error": (event("ERROR", {**STATUS, "code": 500}), Unavailable),
    "an error without a code": (event("ERROR", {}), Unavailable),
    "garbage": (b"<html>\n", Unavailable),
    "no event": (b'{"a": 1}\n', Unavailable),
    "a list": (b"[1]\n", Unavailable),
    "an object without metadata": (b'{"type": "ADDED", "object": {}}\n', Unavailable),
    "an object that is none": (b'{"type": "ADDED", "object": 3}\n', Unavailable),
}


@pytest.mark.parametrize("how", ENDS)
def test_a_watch_tells_what_came_before_its_end_and_how_it_ended(how):
    last, wanted = ENDS[how]

    async def call(kube):
        told = []
        try:
            async for one in kube.watch(CONFIG_MAP, "data", "", "1"):
                told.append(one)  # noqa: PERF401 - what came before the error counts
        except KubeError as error:
            return told, type(error)
        return told, None

    assert of(stream(event(*EVENTS[0]), last), call) == (EVENTS[:1], wanted)


def test_a_watch_that_breaks_off_or_is_silent_for_too_long_is_given_up(monkeypatch):
    with pytest.raises(Unavailable):
        of(stream(event(*EVENTS[0]), ends=False), watched)
    monkeypatch.setattr(client, "WATCH_SILENCE", 0.2 - 30)
    with pytest.raises(Unavailable):
        of([stream(event(*EVENTS[0]), ends=False), 10.0], watched)


def test_an_event_without_end_is_not_kept(monkeypatch):
    monkeypatch.setattr(client, "MAX_LINE", 100)
    with pytest.raises(Unavailable, match="more than 100 bytes"):
        of(stream(b"a" * 99, b"a" * 99), watched)


def test_a_watch_asks_for_bookmarks_and_for_an_end():
    asked = []

    def handler(_method, _path, query, _body):
        asked.append(query)
        return stream()

    async def scenario():
        async with api_server(handler) as kube:
            return [one async for one in kube.watch(CONFIG_MAP, "data", "a=b", "17")]

    assert asyncio.run(scenario()) == []
    assert asked == [
        {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(client.WATCH_SECONDS),
            "resourceVersion": "17",
            "labelSelector": "a=b",
        }
    ]
