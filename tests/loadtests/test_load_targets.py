"""Which nodes are tested: as typed, or as the local cluster's status says."""

import json

import pytest

from loadtests.errors import OptionsError
from loadtests.targets import Node, parse_nodes, parse_status, read_status, regions_of


def test_nodes_are_urls_with_an_optional_region():
    nodes = parse_nodes("http://127.0.0.1:8080=eu, http://127.0.0.1:8081/ 127.0.0.1:8082=us")
    assert [(node.name, node.url, node.region) for node in nodes] == [
        ("127.0.0.1:8080", "http://127.0.0.1:8080", "eu"),
        ("127.0.0.1:8081", "http://127.0.0.1:8081", ""),
        ("127.0.0.1:8082", "http://127.0.0.1:8082", "us"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no node to test"),
        (" , ", "no node to test"),
        ("ftp://host:1", "is no node"),
        ("http://:80", "is no node"),
        ("http://a:1,http://a:1", "named twice: a:1"),
        (",".join(f"http://h:{port}" for port in range(1, 600)), "599 nodes"),
    ],
)
def test_what_is_no_list_of_nodes_is_refused(text, message):
    with pytest.raises(OptionsError, match=message):
        parse_nodes(text)


def test_a_status_names_its_members(tmp_path):
    members = [
        {"name": "root-0", "role": "root", "region": "eu", "http": "http://127.0.0.1:8080"},
        {"name": "us-0", "role": "peer", "region": "us", "http": "127.0.0.1:8081"},
        {"name": "us-1", "role": "peer", "region": "us", "http": ""},
    ]
    path = tmp_path / "status.json"
    path.write_text(json.dumps({"status": {}, "local": {"members": members}}))
    nodes = read_status(path)
    assert nodes == [
        Node("root-0", "http://127.0.0.1:8080", "eu", root=True),
        Node("us-0", "http://127.0.0.1:8081", "us"),
    ]
    assert regions_of(nodes) == ["eu", "us"]


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"local": {"members": [{}]}}', '{"local": {"members": 3}}']
)
def test_what_is_no_status_is_refused(text):
    with pytest.raises(OptionsError, match="local status -o json"):
        parse_status(text)


def test_a_status_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(OptionsError, match="cannot read the cluster status"):
        read_status(tmp_path / "missing.json")
