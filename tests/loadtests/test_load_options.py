"""The options: typed, from the command line or the environment, wrong ones said in one line."""

import configargparse
import pytest

from loadtests.errors import OptionsError
from loadtests.options import add_arguments, find_nodes, read_options


def parse(*arguments, env=None):
    parser = configargparse.ArgumentParser()
    parser.add_argument("--profile")  # locust's own
    parser.add_argument("--host")
    add_arguments(parser)
    return read_options(parser.parse_args(list(arguments), env_vars=env or {}))


def test_with_no_options_one_local_node_gets_the_mixed_profile():
    options = parse()
    assert (options.profile, options.payload_size, options.report, options.seed) == (
        "mixed",
        None,
        None,
        None,
    )
    assert [node.url for node in find_nodes(options)] == ["http://127.0.0.1:8080"]


def test_locusts_host_is_a_node():
    assert [node.url for node in find_nodes(parse("--host", "http://10.0.0.1:8080/"))] == [
        "http://10.0.0.1:8080"
    ]


def test_every_option_can_come_from_the_environment():
    options = parse(
        env={"LOADTEST_NODES": "http://a:1=eu", "LOADTEST_PAYLOAD_SIZE": "1024", "LOADTEST_RATE": "5"}
    )
    assert (options.payload_size, options.rate) == (1024, 5.0)
    assert [node.region for node in find_nodes(options)] == ["eu"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--profile", "soak"], "no profile 'soak'"),
        (["--payload-size", "1k"], "whole number"),
        (["--payload-size", "5"], "between 66 and"),
        (["--seed", "-1"], "whole number"),
        (["--nodes", "http://a:1", "--cluster-status", "x"], "not both"),
    ],
)
def test_a_wrong_option_is_said_in_one_line(arguments, message):
    with pytest.raises(OptionsError, match=message) as raised:
        parse(*arguments)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "arguments", [["--rate", "0"], ["--rate", "inf"], ["--newcomers", "-1"], ["--join-timeout", "x"]]
)
def test_a_wrong_number_is_refused_by_the_parser(arguments, capsys):
    with pytest.raises(SystemExit):
        parse(*arguments)
    assert arguments[0] in capsys.readouterr().err


def test_a_directory_without_a_cluster_is_refused(tmp_path):
    with pytest.raises(OptionsError, match="no status of the cluster"):
        find_nodes(parse("--cluster-status", str(tmp_path)))
