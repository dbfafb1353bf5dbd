"""Real files, judged by real validators in the sandbox: who judges, who votes, what is decided."""

import json
from contextlib import AsyncExitStack

import pytest
import trio
from service_helpers import address, eventually, same, stranger, world

from peersdb.core.ballots import Vote, create_ballot, decode_ballot, log_hash
from peersdb.core.cid import parse_path
from peersdb.core.wire import VALIDATION_PROTOCOL, Ballots, VoteAnswer, VoteRequest
from peersdb.errors import SandboxUnavailable, SettingsError
from peersdb.net.ask import ask, serve_answers
from peersdb.service import livevotes, unasked, validation

GOOD, BROKEN = b'{"a": [1, 2, 3]}\n', b'{"a": [1, 2, \n'


@pytest.fixture
def patient(monkeypatch):
    """Peers are waited for longer: what is shown is what they answer, not how busy this machine is."""
    monkeypatch.setattr(livevotes, "DEADLINE", 30.0)
    monkeypatch.setattr(validation, "ANSWER_WITHIN", 4.0)


async def share(node, content, name):
    return await node.contributions.post(content, name)


async def cluster(nodes, number, **options):
    root = await nodes.start("root", root=True, **options)
    others = [await nodes.start(f"n{one}", bootstrap=(address(root),), **options) for one in range(number)]
    await eventually(lambda: same(root, *others))
    await eventually(lambda: all(len(node.replication.agreed) == number for node in (root, *others)))
    return root, others


async def listed(node):
    """What a node's list says of each file: the verdict and the tally."""
    found, _ = await node.validation.arrivals(0, 1000)
    return {one.row.path: (one.verdict, one.tally) for one in found}


async def test_what_a_node_posts_it_judges_when_it_is_asked(tmp_path):
    async with world(tmp_path) as nodes:
        root = await nodes.start("root", root=True)
        good, broken = await share(root, GOOD, "good.json"), await share(root, BROKEN, "broken.json")
        answer = await root.contributions.is_valid(good)
        assert (answer.record.verdict, answer.decided_by, answer.record.votes) == ("valid", "own", 0)
        answer = await root.contributions.is_valid(broken)
        assert (answer.record.valid, answer.record.verdict) == (False, "invalid")
        assert answer.record.reason.startswith("json/1: ")
        (said,) = answer.said
        assert {vote.validator: vote.verdict for vote in said.votes} == {
            "integrity/1": "valid",
            "size/1": "valid",
            "json/1": "invalid",
        }


async def test_more_than_half_of_the_peers_decide_without_a_judgement_here(tmp_path):
    async with world(tmp_path) as nodes:
        root, (a, b) = await cluster(nodes, 2)
        path = await share(root, BROKEN, "broken.json")
        await eventually(lambda: same(root, a, b))
        for node in (root, a):
            assert not (await node.contributions.validate(path)).record.valid

        async def has_both():
            return len(await b.votes._store.verdicts(path)) == 2

        await eventually(has_both)
        answer = await b.contributions.is_valid(path)
        assert (answer.record.verdict, answer.decided_by, answer.record.votes) == ("invalid", "votes", 2)
        assert (answer.tally.invalid, answer.tally.total) == (2, 2)
        assert {said.peer for said in answer.said} == {root.host.peer_id, a.host.peer_id}
        # What it took over from others it does not vote with.
        answer = await ask(a.host, b.host.peer_id, VALIDATION_PROTOCOL, VoteRequest(bytes(parse_path(path))))
        assert answer == VoteAnswer(b"")


async def test_without_a_quorum_the_node_judges_for_itself(tmp_path):
    async with world(tmp_path) as nodes:
        root, (a, b) = await cluster(nodes, 2)
        path = await share(root, BROKEN, "broken.json")
        await eventually(lambda: same(root, a, b))
        answer = await b.contributions.is_valid(path)  # one of two is not more than half
        assert (answer.record.verdict, answer.decided_by, answer.record.votes) == ("invalid", "own", 0)


async def test_named_voters_decide_by_their_weight_and_others_do_not_count(tmp_path):
    async with world(tmp_path) as nodes:
        root, (a, b) = await cluster(nodes, 2)
        voters = (f"{root.host.peer_id}=3", f"{a.host.peer_id}=1")
        judge = await nodes.start("judge", bootstrap=(address(root),), voters=voters, quorum=75)
        path = await share(root, BROKEN, "broken.json")
        await eventually(lambda: same(root, a, b, judge))
        await b.contributions.validate(path)
        await root.contributions.validate(path)

        async def known():
            return len(await judge.votes._store.verdicts(path)) == 2

        await eventually(known)
        verdict, tally = (await listed(judge))[path]
        assert (verdict, tally.invalid, tally.total, tally.voters) == (
            "",
            3,
            4,
            1,
        )  # 75 % is not more than 75 %
        await a.contributions.validate(path)

        async def decided():
            return (await listed(judge))[path][0] == "invalid"

        await eventually(decided)
        assert (await judge.contributions.is_valid(path)).decided_by == "votes"


async def test_a_peer_judges_what_it_posted_when_it_is_asked_for_its_vote(tmp_path, patient):
    async with world(tmp_path) as nodes:
        root, (a,) = await cluster(nodes, 1)
        await root.contributions.validate(await share(root, GOOD, "good.json"))  # its sandbox runs
        path = await share(root, BROKEN, "broken.json")
        await eventually(lambda: same(root, a))
        answer = await a.contributions.is_valid(path)
        assert (answer.record.verdict, answer.decided_by, answer.record.votes) == ("invalid", "votes", 1)
        # Who said it is told, also while the ballot has not come by itself.
        assert [said.peer for said in answer.said] == [root.host.peer_id]
        assert (answer.tally.invalid, answer.tally.voters) == (1, 1)


LIES = {
    "silent": lambda _node, _me, _root: b"",
    "no ballot": lambda _node, _me, _root: b"\xa0",
    "on another file": lambda node, me, _root: signed(
        node, me.signer, parse_path("bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku")
    ),
    "another's": lambda node, _me, root: signed(node, node._repo.signer, root),
    "of another log": lambda _node, me, root: signed(None, me.signer, root),
}


def pushed(*ballots):
    return Ballots(ballots, live=True, more=False)


def signed(node, signer, root, verdict="valid"):
    log = log_hash(node.replication.state.address if node else "/orbitdb/zdpuother")
    votes = [Vote(root, "json/1", b"\x02" * 32, verdict)]
    return create_ballot(signer, log, epoch=1, seq=1, prev=b"", ts=1, votes=votes).data


@pytest.mark.parametrize("kind", LIES)
async def test_an_answer_that_is_no_vote_of_the_peer_does_not_count(tmp_path, kind):
    async with world(tmp_path) as nodes, stranger() as liar:
        root = await nodes.start("root", root=True)
        path = await share(root, BROKEN, "broken.json")
        cid = parse_path(path)

        async def answer(_question):
            return VoteAnswer(LIES[kind](root, liar, cid))

        serve_answers(liar.host, VALIDATION_PROTOCOL, VoteRequest, answer)
        await liar.meet(root)
        await eventually(lambda: liar.host.peer_id in root.replication.agreed)
        answer = await root.validation._by_votes(cid)
        assert answer is None
        assert (await root.contributions.is_valid(path)).record.verdict == "invalid"


async def test_of_ten_voters_three_lie_each_in_another_way_and_the_outcome_is_right(tmp_path):
    async with world(tmp_path) as nodes, AsyncExitStack() as stack:
        root = await nodes.start("root", root=True)
        path = await share(root, BROKEN, "broken.json")
        cid = parse_path(path)
        voters = [await stack.enter_async_context(stranger(100 + number)) for number in range(10)]
        for voter in voters:
            await voter.meet(root)
        await eventually(lambda: len(root.replication.agreed) == 10)
        liar, twofold, silent, *honest = voters

        async def nothing(_question):
            await trio.sleep_forever()

        for voter in voters:  # who has voted is not asked
            serve_answers(voter.host, VALIDATION_PROTOCOL, VoteRequest, nothing)
        verdicts = [(voter, "invalid") for voter in honest] + [(liar, "valid"), (twofold, "valid")]
        for voter, verdict in verdicts:
            await voter.say(pushed(signed(root, voter.signer, cid, verdict)))
        await twofold.say(pushed(signed(root, twofold.signer, cid, "invalid")))
        # Who lies also votes for another, and says again what a voter has said.
        stolen = signed(root, liar.signer, cid, "valid").replace(
            liar.signer.public_key, silent.signer.public_key
        )
        await liar.say(pushed(stolen))
        await liar.say(pushed(signed(root, honest[0].signer, cid, "invalid")))

        async def all_said():
            return len(await root.votes._store.verdicts(path)) == 8 and root.votes.disqualified

        await eventually(all_said)
        found = await root.validation._by_votes(cid)
        assert (found.record.verdict, found.record.votes) == ("invalid", 8)
        assert (found.tally.invalid, found.tally.valid, found.tally.silent, found.tally.total) == (7, 1, 1, 9)
        status = (await root.status())["validation"]
        assert status["disqualified"] == [twofold.host.peer_id]


async def test_arrivals_are_judged_unasked_and_once_there_is_a_quorum_by_nobody_else(tmp_path):
    async with world(tmp_path) as nodes:
        root, others = await cluster(nodes, 3, validate=True)
        every = [root, *others]
        paths = [await share(root, json.dumps(number).encode(), f"{number}.json") for number in range(10)]
        paths.append(await share(root, BROKEN, "broken.json"))

        async def all_known():
            for node in every:
                found = await listed(node)
                if [found.get(path, ("",))[0] for path in paths] != ["valid"] * 10 + ["invalid"]:
                    return False
            return True

        await eventually(all_known)

        async def all_have_two():  # of three peers, which is more than half
            return all([len(await root.votes._store.verdicts(path)) >= 2 for path in paths])

        await eventually(all_have_two)
        # Of three peers two are more than half: hardly ever do all four have to judge a file.
        assert all([len(await root.votes._store.verdicts(path)) <= 4 for path in paths])


async def ballot_of(node, peer, path):
    """What a peer answers who asks it for its vote."""
    request = VoteRequest(bytes(parse_path(path)))
    return (await ask(node.host, peer.host.peer_id, VALIDATION_PROTOCOL, request)).ballot


async def test_who_judges_unasked_judges_at_once_what_it_is_asked_about(tmp_path, patient, monkeypatch):
    monkeypatch.setattr(unasked, "PATIENCE", 3600.0)  # what arrives waits for its turn
    async with world(tmp_path) as nodes:
        root = await nodes.start("root", root=True)
        judge, other = [
            await nodes.start(name, bootstrap=(address(root),), validate=validate)
            for name, validate in (("judge", True), ("other", False))
        ]
        await eventually(lambda: len(judge.host.connected) == len(other.host.connected) == 2)
        first, path = await share(root, GOOD, "good.json"), await share(root, BROKEN, "broken.json")
        await eventually(lambda: same(root, judge, other))
        await judge.contributions.validate(first)  # its sandbox runs
        unknown = "/ipfs/bafkreibyklockzfol3n4suwf34hrgptneg3lppbrqo5wrdussz7vw3sdx4"

        async def answered():  # not the first time where the sandbox still starts
            return await ballot_of(root, judge, path)

        await eventually(answered)
        ballot = await answered()
        assert {vote.validator: vote.verdict for vote in decode_ballot(ballot).votes} == {
            "integrity/1": "valid",
            "size/1": "valid",
            "json/1": "invalid",
        }
        assert len(await judge.votes._store.said_by(judge._repo.signer.public_key, "", 9)) == 2
        assert await ballot_of(root, judge, unknown) == b""
        assert await ballot_of(root, other, path) == b""
        assert await judge.validation._table.get(unknown) is None


async def test_votes_that_arrive_while_peers_are_asked_count(tmp_path, patient):
    async with world(tmp_path) as nodes:
        root, (a, b, c) = await cluster(nodes, 3)
        first, path = await share(root, GOOD, "good.json"), await share(root, BROKEN, "broken.json")
        await eventually(lambda: same(root, a, b, c))
        for node in (a, b):  # their sandboxes run
            await node.contributions.validate(first)

        async def no_answer(_):
            await trio.sleep_forever()

        serve_answers(a.host, VALIDATION_PROTOCOL, VoteRequest, no_answer)
        async with trio.open_nursery() as nursery:

            async def vote_meanwhile():
                await trio.sleep(0.3)
                for node in (a, b):
                    await node.contributions.validate(path)

            nursery.start_soon(vote_meanwhile)
            with trio.fail_after(10):
                answer = await c.contributions.is_valid(path)
        assert (answer.record.verdict, answer.decided_by) == ("invalid", "votes")


async def test_rules_choose_validators_and_other_rules_judge_anew(tmp_path):
    rules = tmp_path / "rules.json"
    rules.write_text(
        json.dumps([{"pattern": "*", "validators": [{"name": "size", "options": {"max_bytes": 4}}]}])
    )
    async with world(tmp_path) as nodes:
        root = await nodes.start("root", root=True)
        path = await share(root, GOOD, "good.json")
        assert (await root.contributions.is_valid(path)).record.valid
        await nodes.stop("root")
        root = await nodes.start("root", root=True, validators=str(rules))
        answer = await root.contributions.is_valid(path)
        assert not answer.record.valid
        assert answer.record.reason.startswith("size/1: ")


@pytest.mark.parametrize("text", ["{", '[{"pattern": "*", "validators": [{"name": "nobody"}]}]'])
async def test_rules_with_a_fault_are_told_at_the_start(tmp_path, text):
    rules = tmp_path / "rules.json"
    rules.write_text(text)
    async with world(tmp_path) as nodes:
        for name in (str(rules), str(tmp_path / "none.json")):
            with pytest.raises(SettingsError, match=r"flag -validators"):
                await nodes.start("root", root=True, validators=name)


async def test_status_tells_of_votes_and_of_the_sandbox(tmp_path):
    async with world(tmp_path) as nodes:
        root = await nodes.start("root", root=True)
        await root.contributions.validate(await share(root, GOOD, "good.json"))
        status = (await root.status())["validation"]
        assert (status["voters"], status["votes"], status["disqualified"]) == (1, 3, [])
        assert status["sandbox"]


async def test_where_validators_cannot_run_nothing_is_voted_until_they_can(tmp_path, monkeypatch):
    async with world(tmp_path) as nodes:
        root = await nodes.start("root", root=True)
        path = await share(root, BROKEN, "broken.json")
        monkeypatch.setattr("peersdb.validators.sandbox.COMMAND", ("/no/such/program",))
        with pytest.raises(SandboxUnavailable):
            await root.contributions.is_valid(path)
        assert (await root.status())["validation"]["votes"] == 0
        monkeypatch.undo()
        assert (await root.contributions.is_valid(path)).record.verdict == "invalid"
