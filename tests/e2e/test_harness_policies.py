"""What NetworkPolicies mean, as the harness enforces them: the API's own words, one law each."""

import pytest

from cluster.policies import Pod, rules, selects

DB = Pod("shop", "10.0.0.1", {"app": "db"}, {("sql", "tcp"): 5432})
WEB = Pod("shop", "10.0.0.2", {"app": "web"}, {("http", "tcp"): 80})
PROBE = Pod("watch", "10.0.0.3", {"app": "probe"})
PODS = [DB, WEB, PROBE]
NAMESPACES = {"shop": {"team": "a"}, "watch": {"team": "b"}}


def allowed(spec, namespace="shop", direction="Ingress"):
    """The matches of one direction, of one policy."""
    policy = {"metadata": {"namespace": namespace}, "spec": spec}
    text = rules(PODS, NAMESPACES, [policy])
    chain = text.partition(f"chain {direction} {{\n")[2].partition("    counter drop")[0]
    return [line.strip().removesuffix(" return") for line in chain.splitlines()]


def jumps(spec, namespace="shop"):
    text = rules(PODS, NAMESPACES, [{"metadata": {"namespace": namespace}, "spec": spec}])
    return [line.strip() for line in text.splitlines() if "jump" in line]


def test_without_policies_nothing_is_dropped():
    text = rules(PODS, NAMESPACES, [])
    assert "jump" not in text


def test_a_policy_isolates_the_pods_of_its_namespace_that_it_selects_and_no_others():
    assert jumps({"podSelector": {}}) == ["ip daddr { 10.0.0.1, 10.0.0.2 } jump Ingress"]
    assert jumps({"podSelector": {"matchLabels": {"app": "probe"}}}) == []
    assert jumps({"podSelector": {}}, "watch") == ["ip daddr { 10.0.0.3 } jump Ingress"]


def test_egress_is_isolated_when_it_is_named_or_ruled():
    both = ["ip daddr { 10.0.0.1 } jump Ingress", "ip saddr { 10.0.0.1 } jump Egress"]
    db = {"matchLabels": {"app": "db"}}
    assert jumps({"podSelector": db, "egress": []}) == both
    assert jumps({"podSelector": db, "policyTypes": ["Egress"]}) == both[1:]


def test_an_isolated_pod_still_reaches_itself():
    text = rules(PODS, NAMESPACES, [{"metadata": {"namespace": "shop"}, "spec": {"podSelector": {}}}])
    before = text.partition(" jump ")[0]
    assert "ip saddr 10.0.0.1 ip daddr 10.0.0.1 accept" in before


DB_ONLY = {"podSelector": {"matchLabels": {"app": "db"}}}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({}, ["ip daddr { 10.0.0.1 }"]),
        ({"from": [{"podSelector": {}}]}, ["ip daddr { 10.0.0.1 } ip saddr { 10.0.0.1, 10.0.0.2 }"]),
        (
            {"from": [{"podSelector": {"matchLabels": {"app": "web"}}}]},
            ["ip daddr { 10.0.0.1 } ip saddr { 10.0.0.2 }"],
        ),
        (
            {"from": [{"namespaceSelector": {"matchLabels": {"team": "b"}}}]},
            ["ip daddr { 10.0.0.1 } ip saddr { 10.0.0.3 }"],
        ),
        (
            {"from": [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "web"}}}]},
            ["ip daddr { 10.0.0.1 } ip saddr { 10.0.0.2 }"],
        ),
        ({"from": [{"podSelector": {"matchLabels": {"app": "none"}}}]}, []),
        (
            {"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16", "10.2.0.0/16"]}}]},
            ["ip daddr { 10.0.0.1 } ip saddr 10.0.0.0/8 ip saddr != { 10.1.0.0/16, 10.2.0.0/16 }"],
        ),
        ({"ports": [{"port": 53, "protocol": "UDP"}]}, ["ip daddr { 10.0.0.1 } udp dport 53"]),
        ({"ports": [{"port": 1, "endPort": 9}]}, ["ip daddr { 10.0.0.1 } tcp dport 1-9"]),
        ({"ports": [{"protocol": "SCTP"}]}, ["ip daddr { 10.0.0.1 } meta l4proto sctp"]),
        ({"ports": [{"port": "sql"}]}, ["ip daddr { 10.0.0.1 } ip daddr 10.0.0.1 tcp dport 5432"]),
        ({"ports": [{"port": "http"}]}, []),
    ],
)
def test_a_rule_lets_in_what_it_names(rule, expected):
    assert allowed({**DB_ONLY, "ingress": [rule]}) == expected


def test_a_named_port_of_egress_is_the_targets():
    spec = {**DB_ONLY, "policyTypes": ["Egress"], "egress": [{"ports": [{"port": "http"}]}]}
    assert allowed(spec, direction="Egress") == ["ip saddr { 10.0.0.1 } ip daddr 10.0.0.2 tcp dport 80"]


def test_policies_add_up():
    one = {**DB_ONLY, "ingress": [{"ports": [{"port": 1}]}]}
    two = {**DB_ONLY, "ingress": [{"ports": [{"port": 2}]}]}
    text = rules(PODS, NAMESPACES, [{"metadata": {"namespace": "shop"}, "spec": spec} for spec in (one, two)])
    assert "dport 1 return" in text
    assert "dport 2 return" in text


@pytest.mark.parametrize(
    ("operator", "values", "labels", "expected"),
    [
        ("In", ["a"], {"k": "a"}, True),
        ("In", ["a"], {}, False),
        ("NotIn", ["a"], {"k": "a"}, False),
        ("NotIn", ["a"], {"k": "b"}, True),
        ("NotIn", ["a"], {}, True),
        ("Exists", None, {"k": ""}, True),
        ("Exists", None, {}, False),
        ("DoesNotExist", None, {"k": "a"}, False),
        ("DoesNotExist", None, {}, True),
    ],
)
def test_expressions_are_kubernetes(operator, values, labels, expected):
    expression = {"key": "k", "operator": operator, **({"values": values} if values else {})}
    assert selects({"matchExpressions": [expression]}, labels) is expected


def test_pods_without_an_address_of_their_own_are_nobodys_business():
    pod = {
        "metadata": {"name": "p", "namespace": "n"},
        "spec": {"containers": []},
        "status": {"podIP": "10.0.0.9"},
    }
    assert Pod.read(pod) == Pod("n", "10.0.0.9")
    assert Pod.read({**pod, "status": {}}) is None
    assert Pod.read({**pod, "spec": {"containers": [], "hostNetwork": True}}) is None
    assert Pod.read({**pod, "status": {"podIP": "10.0.0.9", "phase": "Succeeded"}}) is None
