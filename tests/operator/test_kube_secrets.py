"""Secrets that the operator makes and renews, as the node reads them."""

import base64
import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peersdb.tokens import Tokens
from peersdb_operator.kube import secrets
from peersdb_operator.kube.secrets import API_TOKEN, SWARM_KEY

USES = pytest.mark.parametrize("use", [API_TOKEN, SWARM_KEY], ids=["token", "swarm key"])
WISHES = st.lists(st.sampled_from(["", "1", "2", "2026-11-01"]), max_size=8)


class Random:
    """Random bytes that are told apart: 01…, 02…, and so on."""

    def __init__(self):
        self.count = 0

    def __call__(self, size):
        self.count += 1
        return bytes([self.count]) * size


def kept(use, wishes, live=None, random=None):
    """Play a cluster's annotation over time; give the Secret after each wish."""
    random, after = random or Random(), []
    for wish in wishes:
        wanted = secrets.wanted(use, "it", live, {use.rotate: wish} if wish else {}, random)
        live = wanted or live
        after.append(live)
    return after


def text(use, secret):
    return secrets.text_of(secret, use.key)


@USES
def test_one_that_is_missing_is_made_and_then_left_alone(use):
    first, second = kept(use, ["", ""])
    assert text(use, first)
    assert second is first


@USES
@given(wishes=WISHES)
def test_each_new_wish_is_honoured_once_and_one_that_is_taken_back_never(use, wishes):
    random = Random()
    texts = [text(use, secret) for secret in kept(use, ["", *wishes], random=random)]
    honoured = ""
    for before, after, wish in zip(texts, texts[1:], wishes, strict=False):
        assert (after != before) == bool(wish and wish != honoured)
        honoured = wish or honoured
    assert random.count == len(set(texts))


@given(WISHES)
def test_a_token_that_was_good_before_the_last_change_is_good_after_it(wishes):
    texts = [text(API_TOKEN, secret) for secret in kept(API_TOKEN, ["", *wishes])]
    for before, after in itertools.pairwise(texts):
        assert before.splitlines()[0] in after.splitlines()
    for one in texts:
        lines = one.splitlines()
        assert lines == list(secrets.tokens({"data": {"token": base64.b64encode(one.encode()).decode()}}))
        assert len(lines) == len(set(lines)) <= 2


def test_a_node_takes_the_new_token_and_the_one_before_and_no_older_one(tmp_path):
    made = kept(API_TOKEN, ["", "1", "2"])
    first, second, third = (secrets.tokens(secret)[0] for secret in made)
    (tmp_path / "token").write_text(text(API_TOKEN, made[-1]))
    tokens = Tokens(tmp_path / "token")
    assert [tokens.accepts(token) for token in (first, second, third)] == [False, True, True]
    assert tokens.first == third


def test_a_swarm_key_has_the_format_that_nodes_of_ipfs_read():
    made = kept(SWARM_KEY, ["", "1"])
    assert text(SWARM_KEY, made[0]) == "/key/swarm/psk/1.0.0/\n/base16/\n" + "01" * 32 + "\n"
    assert text(SWARM_KEY, made[1]) == "/key/swarm/psk/1.0.0/\n/base16/\n" + "02" * 32 + "\n"


def test_a_node_reads_the_swarm_key(tmp_path):
    swarmkey = pytest.importorskip("peersdb.swarmkey")
    (tmp_path / "swarm.key").write_text(text(SWARM_KEY, kept(SWARM_KEY, [""])[0]))
    assert swarmkey.read_swarm_key(tmp_path / "swarm.key") == bytes([1]) * 32


@USES
@pytest.mark.parametrize(
    "data", [None, {}, {"other": "YQ=="}, {"token": "", "swarm.key": ""}, {"token": "!", "swarm.key": "!"},
             {"token": "/w==", "swarm.key": "/w=="}]
)  # fmt: skip
def test_one_whose_data_was_lost_is_made_anew(use, data):
    broken = {"metadata": {"name": "it"}, "data": data}
    assert text(use, kept(use, [""], live=broken)[0])


@USES
def test_what_somebody_put_there_stays(use):
    theirs = {"metadata": {"name": "it"}, "data": {use.key: base64.b64encode(b"theirs").decode()}}
    assert kept(use, [""], live=theirs) == [theirs]


@USES
def test_a_secret_is_told_in_its_data_only(use):
    made = kept(use, ["1"])[0]
    secret = made.pop("data")
    assert list(secret) == [use.key]
    assert made["metadata"] == {"name": "it", "annotations": {use.rotate: "1"}}
    assert ("01" * 32) not in json.dumps(made)


@USES
def test_one_that_was_made_here_is_known_by_its_annotation_and_its_owner(use):
    made = kept(use, ["1"])[0]
    owners = {None: True, "ours": True, "another": False}
    for owner, ours in owners.items():
        references = [{"uid": owner, "controller": True}] if owner else []
        live = {**made, "metadata": {**made["metadata"], "ownerReferences": references}}
        assert secrets.made_here(use, live, "ours") == ours
    assert not secrets.made_here(use, {"metadata": {"name": "it"}}, "ours")
    assert secrets.as_it_is(use, made) == made
    assert secrets.as_it_is(use, {**made, "data": {}}) is None


@given(st.text("ab\n", min_size=1, max_size=20), st.text("ab\n", min_size=1, max_size=20))
def test_a_hash_tells_two_apart_and_says_nothing_of_them(one, other):
    assert (secrets.hash_of(one) == secrets.hash_of(other)) == (one == other)
    assert len(secrets.hash_of(one)) == 16


def test_there_is_no_hash_of_nothing():
    assert secrets.hash_of("") == ""


def test_only_the_two_newest_tokens_are_presented():
    lines = base64.b64encode(b"\n newest \nolder\n\noldest\n").decode()
    assert secrets.tokens({"data": {"token": lines}}) == ("newest", "older")
    assert secrets.tokens(None) == ()
