"""The dashboard and the alert rules: they can be loaded, and ask for what there is."""

import json
import re

import pytest
import yaml
from deploy_files import DEPLOY, ROOT, in_file, one, run, tool
from deploy_metrics import LABELS, MEMBER
from prometheus_client.parser import text_string_to_metric_families

from peersdb.api.metrics import Metrics

MONITORING = DEPLOY / "monitoring"
#: Words of PromQL that the files use; anything else that looks like a name must be a metric.
WORDS = {
    *(
        "absent",
        "and",
        "by",
        "count",
        "group_left",
        "histogram_quantile",
        "increase",
        "max",
        "min",
        "min_over_time",
    ),
    *("on", "or", "rate", "sum", "vector"),
}


def alerts():
    groups = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboard():
    return json.loads((MONITORING / "dashboard.json").read_text())


def panels():
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def dashboard_queries():
    found = {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in panels()
        for target in panel["targets"]
    }
    variables = [entry for entry in dashboard()["templating"]["list"] if entry["type"] == "query"]
    for variable in variables:
        (series, label) = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"]).groups()
        found[f"variable {variable['name']}"] = f"sum by ({label}) ({series})"
    return found


def queries():
    return dashboard_queries() | {rule["alert"]: rule["expr"] for rule in alerts()}


QUERIES = queries()


def selectors(query):
    """Each metric that a query names, with the labels that it is selected by."""
    for name, matchers in re.findall(r"\b(peersdb_\w+)(?:\{([^}]*)\})?", query):
        yield name, set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))


def bare(query):
    """A query without its texts, label lists, ranges and numbers."""
    query = re.sub(r'"[^"]*"', "", query)
    query = re.sub(r"\{[^}]*\}|\[[^\]]*\]", "", query)
    query = re.sub(r"\b(by|on|group_left)\s*\([^)]*\)", "", query)
    return re.sub(r"\b[0-9.]+\b", "", query)


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_a_query_names_metrics_that_there_are_by_labels_that_they_have(query):
    named = dict(selectors(query))
    assert named
    for name, labels in selectors(query):
        assert name in LABELS
        assert labels <= LABELS[name]
    grouped = {
        label
        for group in re.findall(r"\b(?:by|on|group_left)\s*\(([^)]*)\)", query)
        for label in re.split(r",\s*", group)
    }
    assert grouped <= set.union(*(LABELS[name] for name in named))


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_a_query_has_no_other_names(query):
    assert set(re.findall(r"[A-Za-z_]\w*", bare(query))) <= WORDS | set(LABELS)
    assert query.count("(") == query.count(")")


def test_members_export_the_metrics_that_are_listed():
    metrics = Metrics()
    metrics.answered("query", 200, 0.01)
    status = {
        "ready": True,
        "entries": 1,
        "heads": 1,
        "pending": 0,
        "peers": [],
        "members": 1,
        "version": "0.1.0",
        "region": "eu",
        "root": False,
        "pins": {"wanted": 0, "pinned": 1},
        "validation": {"voters": 1, "votes": 2, "disqualified": []},
        "process": {"memBytes": 1, "cpuSeconds": 1.0, "uptimeSeconds": 1.0},
    }
    families = text_string_to_metric_families(metrics.render(status).decode())
    exported = {sample.name: set(sample.labels) for family in families for sample in family.samples}
    for name, labels in MEMBER.items():
        # A histogram's sum and count have no bucket.
        assert exported[name] == labels - ({"le"} if name.endswith(("_sum", "_count")) else set()), name


def test_the_prometheus_operator_gets_the_same_rules():
    # rules.yaml is alerts.yaml below `spec:`, two columns further right.
    assert one(in_file("monitoring/rules.yaml"), "PrometheusRule")["spec"] == yaml.safe_load(
        (MONITORING / "alerts.yaml").read_text()
    )


def test_an_alert_says_what_is_wrong_how_bad_it_is_and_what_to_do():
    names = [rule["alert"] for rule in alerts()]
    assert len(set(names)) == len(names) >= 15
    for rule in alerts():
        assert rule["alert"].startswith("PeersDB")
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert set(rule["annotations"]) == {"summary", "description"}
        assert len(rule["annotations"]["description"]) > 40


def test_the_dashboards_panels_have_a_place_each():
    board = dashboard()
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    taken = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (place["x"] + column, place["y"] + line)
            for column in range(place["w"])
            for line in range(place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    for panel in panels():
        assert panel["description"]
        assert panel["datasource"]["uid"] == "${datasource}"


def test_the_dashboard_uses_each_of_its_variables_and_no_other():
    board = dashboard()
    variables = {entry["name"] for entry in board["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)\}?", json.dumps(board))) - {"__all", "__rate_interval"}
    assert used == variables


def test_the_dashboard_shows_every_metric_but_those_of_single_requests():
    shown = {name for query in dashboard_queries().values() for name, _ in selectors(query)}
    histograms = {name for name in LABELS if name.endswith(("_sum", "_count"))}
    assert set(LABELS) - histograms - shown <= {"peersdb_ready", "peersdb_members", "peersdb_files_pinned"}


def test_prometheus_takes_every_rule_and_every_query(tmp_path):
    promtool = tool("promtool")
    run(promtool, "check", "rules", "--lint=all", "--lint-fatal", MONITORING / "alerts.yaml")
    # A dashboard's queries, with Grafana's variables filled in, as rules that record.
    asked = [
        {"record": f"asked:{number}", "expr": re.sub(r"\$\w+", "5m", query)}
        for number, query in enumerate(dashboard_queries().values())
    ]
    (tmp_path / "asked.yaml").write_text(yaml.safe_dump({"groups": [{"name": "asked", "rules": asked}]}))
    done = run(promtool, "check", "rules", tmp_path / "asked.yaml")
    assert f"{len(asked)} rules found" in done.stdout


def test_alerts_fire_when_they_should_and_only_then():
    run(tool("promtool"), "test", "rules", ROOT / "tests" / "deploy" / "alerts.test.yaml")
