"""The flags and the environment."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from peersdb import __version__
from peersdb.core import records
from peersdb.errors import SettingsError
from peersdb.settings import (
    MAX_ADDRESS,
    MAX_ANNOUNCE,
    MAX_REGION,
    HelpRequested,
    Settings,
    parse,
    split_host_port,
)
from peersdb.usage import flags_page, usage

#: The original's flags with their defaults, as its README has them.
ORIGINAL = {
    "shell": False,
    "http": False,
    "ipfs-port": 4001,
    "http-port": 8080,
    "experimental": True,
    "repo": "peersdb",
    "devlogs": False,
    "root": False,
    "download-dir": "~/Downloads/",
    "full-replica": False,
    "bootstrap": (),
    "benchmark": False,
    "region": "",
}
FLAGS = {field.name.replace("_", "-"): field for field in fields(Settings)}
BOOLEANS = sorted(name for name, field in FLAGS.items() if field.type == "bool")
#: A good value of each flag that takes one, other than its default.
VALUES = {
    "api-token-file": "token",
    "swarm-key-file": "swarm.key",
    "http-host": "::1",
    "http-port": "8001",
    "cors-origin": "http://ui.example",
    "max-body": "2048",
    "ipfs-host": "0.0.0.0",
    "ipfs-port": "4002",
    "announce": "/dns4/a/tcp/1,/dns4/b/tcp/2",
    "bootstrap": "10.0.0.1,/dns4/b/tcp/2/p2p/12D3KooW",
    "store": "/orbitdb/zdpu",
    "repo": "peersdb1",
    "download-dir": "/srv/",
    "profile": "unixfs-v0-2015",
    "validators": "rules.json",
    "voters": "12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5=3,"
    "12D3KooWJWoaqZhDaoEFshF7Rh1bpY9ohihFhzcW6d69Lr2NASuq",
    "quorum": "66",
    "region": "eu",
    "log-format": "json",
}


def value(settings: Settings, flag: str) -> object:
    return getattr(settings, flag.replace("-", "_"))


def typed(flag: str, text: str) -> object:
    kind = FLAGS[flag].type
    return int(text) if kind == "int" else tuple(text.split(",")) if kind.startswith("tuple") else text


def test_every_flag_is_a_boolean_or_has_a_value_here() -> None:
    assert set(BOOLEANS) | set(VALUES) == set(FLAGS)


def test_the_originals_flags_have_their_defaults() -> None:
    settings = parse([], {})
    assert {flag: value(settings, flag) for flag in ORIGINAL} == ORIGINAL


@pytest.mark.parametrize("dashes", ["-", "--"])
@pytest.mark.parametrize("flag", sorted(VALUES))
def test_a_value_comes_by_equals_or_as_the_next_word(flag: str, dashes: str) -> None:
    expected = typed(flag, VALUES[flag])
    assert value(parse([f"{dashes}{flag}={VALUES[flag]}"], {}), flag) == expected
    assert value(parse([f"{dashes}{flag}", VALUES[flag]], {}), flag) == expected


@pytest.mark.parametrize("dashes", ["-", "--"])
@pytest.mark.parametrize("flag", BOOLEANS)
def test_a_boolean_is_true_by_its_name_and_takes_a_value_by_equals_alone(flag: str, dashes: str) -> None:
    assert value(parse([f"{dashes}{flag}"], {}), flag) is True
    for text in ("1", "t", "T", "true", "True", "TRUE"):
        assert value(parse([f"{dashes}{flag}={text}"], {}), flag) is True
    for text in ("0", "f", "F", "false", "False", "FALSE"):
        assert value(parse([f"{dashes}{flag}={text}"], {}), flag) is False
    with pytest.raises(SettingsError, match="unexpected argument 'false'"):
        parse([f"{dashes}{flag}", "false"], {})


@pytest.mark.parametrize("flag", sorted(FLAGS))
def test_each_flag_has_a_variable(flag: str) -> None:
    text = VALUES.get(flag, "false" if flag == "experimental" else "true")
    expected = typed(flag, text) if flag in VALUES else text == "true"
    variable = "PEERSDB_" + flag.upper().replace("-", "_")
    assert value(parse([], {variable: text}), flag) == expected


def test_the_containers_variables_of_the_original_work() -> None:
    settings = parse(
        ["-benchmark", "-http"], {"ROOT": "true", "ROOTIP": "10.1.2.3", "REGION": "asia-east2-a"}
    )
    assert (settings.root, settings.bootstrap, settings.region) == (True, ("10.1.2.3",), "asia-east2-a")
    assert parse([], {"ROOT": "false", "ROOTIP": "", "REGION": ""}) == parse([], {})


def test_the_flag_wins_over_the_variable_and_ours_over_the_containers() -> None:
    env = {"PEERSDB_REGION": "b", "REGION": "c"}
    assert parse(["-region", "a"], env).region == "a"
    assert parse([], env).region == "b"
    assert parse([], {"REGION": "c"}).region == "c"


def test_the_last_of_one_flag_wins_but_lists_grow() -> None:
    assert parse(["-region", "a", "-region=b"], {}).region == "b"
    assert parse(["-bootstrap", "a", "-bootstrap", "b,c"], {}).bootstrap == ("a", "b", "c")


def test_a_value_may_be_empty_or_start_with_a_dash() -> None:
    assert parse(["-region", ""], {}).region == ""
    assert parse(["-region", "-http"], {}).region == "-http"
    assert parse(["-region=a=b"], {}).region == "a=b"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["-htp"], "unknown flag '-htp'; did you mean -http? "),
        (["-http_port", "1"], "unknown flag '-http_port'"),
        (["serve"], "unexpected argument 'serve'"),
        (["-"], "unexpected argument '-'"),
        (["--"], "unexpected argument '--'"),
        (["---http"], "unexpected argument '---http'"),
        (["-=x"], "unexpected argument '-=x'"),
        (["-http-port"], "flag -http-port needs a value"),
        (["-http=maybe"], "flag -http: 'maybe' is neither true nor false"),
        (["-http="], "flag -http: '' is neither true nor false"),
        (["-http-port", "http"], "flag -http-port: 'http' is not a number"),
        (["-http-port", "-1"], "flag -http-port: '-1' is not a number"),
        (["-http-port", "٣"], "is not a number"),
        (["-http-port", "0"], "flag -http-port: 0 is not a port"),
        (["-http-port", "65536"], "flag -http-port: 65536 is not a port"),
        (["-ipfs-port", "65536"], "flag -ipfs-port: 65536 is not a port"),
        (["-http", "-http-port", "4001"], "need two ports"),
        (["-http-host", "localhost"], "flag -http-host: 'localhost' is not an IP address"),
        (["-ipfs-host", "all"], "flag -ipfs-host: 'all' is not an IP address"),
        (["-profile", "v2"], "flag -profile: 'v2' is neither"),
        (["-log-format", "xml"], "flag -log-format: 'xml' is neither"),
        (["-max-body", "1023"], "flag -max-body: at least 1024 bytes"),
        (["-bootstrap", "http://root:8080"], "neither host[:port] nor a multiaddr"),
        (["-bootstrap", "root:0"], "neither host[:port] nor a multiaddr"),
        (["-repo", ""], "flag -repo: a directory is needed"),
        (["-repo", "~no-such-user/x"], "flag -repo: '~no-such-user/x' names no home directory"),
        (["-download-dir", "~no-such-user/"], "flag -download-dir: '~no-such-user/' names no home"),
        (["-swarm-key-file", "~no-such-user/k"], "flag -swarm-key-file: '~no-such-user/k' names no home"),
        (["-region", "münchen"], "flag -region: 'münchen' is not printable ASCII"),
        (["-region", "x" * 64], "of at most 63 characters"),
        (["-bootstrap", "/ip4/127.0.0.1/tcp/4001"], "is no multiaddr of the form"),
        (["-bootstrap", "/ip4/127.0.0.1/udp/4001/p2p/12D3KooW"], "is no multiaddr of the form"),
        (["-announce", "10.0.0.1:4001"], "flag -announce: '10.0.0.1:4001' is no multiaddr of the form"),
        (["-announce", "/dns4/" + "a" * 190 + "/tcp/1"], "is longer than 199 characters"),
        (["-announce", ",".join(["/dns4/a/tcp/1"] * 17)], "flag -announce: 17 addresses are given, 16"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(argv: list[str], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse(argv, {})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_bad_variable_is_named() -> None:
    with pytest.raises(SettingsError, match="environment variable PEERSDB_HTTP_PORT: 'x' is not a number"):
        parse([], {"PEERSDB_HTTP_PORT": "x"})
    with pytest.raises(SettingsError, match="environment variable ROOT: 'yes' is neither true nor false"):
        parse([], {"ROOT": "yes"})


words = st.one_of(
    st.text(max_size=20),
    st.builds(
        lambda dashes, flag, eq, text: f"{dashes}{flag}{eq}{text}",
        st.sampled_from(["-", "--"]),
        st.sampled_from(sorted(FLAGS)),
        st.sampled_from(["", "="]),
        st.text(max_size=10) | st.sampled_from(sorted(VALUES.values())),
    ),
)


@given(
    st.lists(words, max_size=5),
    st.dictionaries(st.sampled_from(["ROOT", "PEERSDB_BOOTSTRAP"]), st.text(max_size=9)),
)
@example(["-http-port", "²"], {})
@example(["-bootstrap", "a:²"], {})
def test_any_arguments_give_settings_help_or_one_plain_line(argv: list[str], env: dict[str, str]) -> None:
    line = ""
    try:
        settings = parse(argv, env)
    except SettingsError as error:
        line = str(error)
    except HelpRequested:
        assert any("h" in word or "version" in word for word in argv)
    else:
        line = "settings"
        assert 1 <= settings.http_port <= 65535
        assert settings.repo_dir.is_absolute()
        assert settings.download_path.is_absolute()
    assert len(line.splitlines()) <= 1


@given(st.fixed_dictionaries({}, optional={flag: st.just(text) for flag, text in VALUES.items()}), st.data())
def test_flags_and_variables_mean_the_same(given_: dict[str, str], data: st.DataObject) -> None:
    by_variable = {flag for flag in given_ if data.draw(st.booleans(), label=flag)}
    argv = [f"-{flag}={text}" for flag, text in given_.items() if flag not in by_variable]
    env = {"PEERSDB_" + flag.upper().replace("-", "_"): given_[flag] for flag in by_variable}
    expected = Settings(**{flag.replace("-", "_"): typed(flag, text) for flag, text in given_.items()})
    assert parse(argv, env) == expected


@pytest.mark.parametrize(
    ("peer", "expected"),
    [
        ("10.0.0.1", ("10.0.0.1", 8080)),
        ("root.example", ("root.example", 8080)),
        ("root:81", ("root", 81)),
        ("[::1]", ("::1", 8080)),
        ("[fe80::1]:81", ("fe80::1", 81)),
    ],
)
def test_a_bootstrap_host_has_the_originals_port_unless_it_names_one(
    peer: str, expected: tuple[str, int]
) -> None:
    assert split_host_port(peer) == expected


@pytest.mark.parametrize("word", ["-h", "-help", "--help"])
def test_help_lists_every_flag(word: str) -> None:
    with pytest.raises(HelpRequested) as caught:
        parse(["-http", word], {})
    listed = re.findall(r"^  -([a-z-]+)", str(caught.value), re.MULTILINE)
    assert sorted(listed) == sorted(FLAGS)
    assert str(caught.value) == usage()


def test_version() -> None:
    with pytest.raises(HelpRequested, match=f"^peersdb {re.escape(__version__)}$"):
        parse(["-version"], {})


def test_the_page_of_the_flags_is_up_to_date() -> None:
    page = Path(__file__).parents[2] / "docs" / "flags.md"
    assert page.read_text() == flags_page(), "run: python scripts/flags.py > docs/flags.md"


def test_limits_are_those_of_the_record_they_go_into() -> None:
    assert (MAX_REGION, MAX_ANNOUNCE, MAX_ADDRESS) == (
        records.MAX_REGION,
        records.MAX_ADDRS,
        records.MAX_ADDR,
    )


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("-quorum=49", "below half"),
        ("-quorum=100", "50 to 99 percent"),
        ("-voters=somebody", "'somebody' is not a peer id"),
        ("-voters=12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5=0", "is not a peer id"),
    ],
)
def test_an_electorate_that_cannot_decide_is_refused(flag: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        parse([flag], {})


def test_voters_have_the_weight_that_is_said_or_one() -> None:
    first, second = (voter.partition("=")[0] for voter in VALUES["voters"].split(","))
    assert parse(["-voters", VALUES["voters"]], {}).voter_weights == {first: 3, second: 1}
    assert parse([], {}).voter_weights == {}


def test_a_full_replica_judges_what_arrives_unless_it_is_told_not_to() -> None:
    assert parse(["-full-replica"], {}).validate
    assert parse(["-validate"], {}).validate
    assert not parse(["-full-replica", "-validate=false"], {}).validate
    assert not parse([], {}).validate
