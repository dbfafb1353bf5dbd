"""The options: typed, from the command line or the environment, wrong ones said in one line."""

import configargparse
import pytest

from loadtests.arguments import add_arguments
from loadtests.errors import OptionsError
from loadtests.options import Options, find_nodes, read_options
from loadtests.segments import Cell


def parse(*arguments, env=None):
    parser = configargparse.ArgumentParser()
    parser.add_argument("--profile")  # locust's own
    parser.add_argument("--host")
    parser.add_argument("--run-time", type=int)
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
        (["--profile", "storm"], "no profile 'storm'"),
        (["--payload-size", "1 kB"], "whole number"),
        (["--payload-size", "5"], "between 66 and"),
        (["--seed", "-1"], "whole number"),
        (["--nodes", "http://a:1", "--cluster-status", "x"], "not both"),
        (["--nodes", "http://a:1", "--targets", "x"], "not both"),
        (["--dataset", "x", "--generated-files", "3"], "not both"),
        (["--repeats", "2"], "need --run-time"),
        (["--matrix", '{"regions": [1, 2]}'], "need --run-time"),
        (["--repeats", "0"], "1 or more"),
        (["--profile", "evaluation", "--warmup", "1"], "leave out"),
        (["--profile", "evaluation", "--payload-size", "4Ki"], "leave out"),
        (["--profile", "evaluation", "--matrix", '{"payloadSizes": ["4Ki"]}'], "leave out"),
        (["--run-time", "10", "--warmup", "10"], "shorter than --run-time"),
        (["--control", "nowhere"], "HOST:PORT"),
        (["--control", "127.0.0.1:80"], "--control-token-file"),
        (["--control", "127.0.0.1:80", "--control-token-file", "x"], "--report"),
        (["--join-timeout", "x"], "above 0"),
        (["--thresholds", "[]x"], "must be JSON"),
        (["--thresholds", '[{"metric": "post.p99"}]'], "must be JSON"),
        (["--thresholds", '[{"metric": "post.p99", "max": 5}]'], "must be JSON"),
    ],
)
def test_a_wrong_option_is_said_in_one_line(arguments, message):
    with pytest.raises(OptionsError, match=message) as raised:
        parse(*arguments)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "arguments",
    [["--rate", "0"], ["--rate", "inf"], ["--newcomers", "-1"], ["--warmup", "-1"], ["--warmup", "."]],
)
def test_a_wrong_number_is_refused_by_the_parser(arguments, capsys):
    with pytest.raises(SystemExit):
        parse(*arguments)
    assert arguments[0] in capsys.readouterr().err


def test_a_directory_without_a_cluster_is_refused(tmp_path):
    with pytest.raises(OptionsError, match="no status of the cluster"):
        find_nodes(parse("--cluster-status", str(tmp_path)))


def test_a_token_comes_with_each_node_and_is_shown_nowhere(tmp_path):
    file = tmp_path / "token"
    file.write_text("s3cret-s3cret-s3cret\nolder\n")
    options = parse("--nodes", "http://a:1", "--api-token-file", str(file))
    (node,) = find_nodes(options)
    assert node.token == file.read_text().splitlines()[0]
    assert "s3cret" not in f"{options}{node}{node.public()}"


@pytest.mark.parametrize("content", ["", "\n", "two words\n", "ümlaut\n"])
def test_a_file_without_a_token_is_refused(tmp_path, content):
    file = tmp_path / "token"
    file.write_text(content)
    with pytest.raises(OptionsError, match="no token"):
        find_nodes(parse("--nodes", "http://a:1", "--api-token-file", str(file)))


def test_where_something_is_broken_on_purpose_entries_may_take_longer():
    assert parse("--profile", "steady").replication_timeout == 10
    assert (
        parse("--profile", "churn").replication_timeout
        == parse("--profile", "partition").replication_timeout
        == 60
    )
    assert parse("--profile", "churn", "--replication-timeout", "5").replication_timeout == 5
    assert parse("--profile", "bootstrap").join_timeout > parse().join_timeout


def test_a_worker_takes_the_profile_from_its_master():
    parser = configargparse.ArgumentParser()
    for name in ("--profile", "--host"):
        parser.add_argument(name)
    add_arguments(parser)
    parsed = parser.parse_args([])
    parsed.peersdb_profile = "soak"
    assert isinstance(read_options(parsed), Options)
    assert read_options(parsed).profile == "soak"


def test_sizes_may_be_quantities():
    options = parse("--payload-size", "64Ki", "--matrix", '{"payloadSizes": [100, "1Ki"]}', "--run-time", "5")
    assert options.payload_size == 65536
    assert options.cells == (Cell(payload_size=100), Cell(payload_size=1024))
