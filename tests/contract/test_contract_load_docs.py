"""Every command of docs/benchmarks.md, docs/loadtests.md and docs/reports.md is run as it is written there.

Those for Kubernetes are run against an API server by tests/operator_api and on a cluster by tests/e2e.
"""

import json
import re
import shutil

import contract_documents
import pytest
import yaml
from contract_documents import ROOT, blocks, with_word

BENCHMARKS, LOADTESTS, REPORTS = (f"docs/{name}.md" for name in ("benchmarks", "loadtests", "reports"))
#: Words of the blocks that are run here.
RUN_HERE = ["--report demo-run/report", "--nodes", "MASTER", "-m loadtests.report", "--cluster quickstart"]
ON_KUBERNETES = ["benchmark watch", "kubectl delete"]
SHORT = {"runTime": "3s", "warmup": "1s", "users": 3, "repeats": 1}


@pytest.fixture
def clone(tmp_path):
    """A clone with samples as they are, but of a few seconds and with limits that a busy machine keeps."""
    made = tmp_path / "clone"
    (made / "deploy").mkdir(parents=True)
    shutil.copytree(ROOT / "deploy" / "samples", made / "deploy" / "samples")
    for name in ("loadtests", "crds"):
        (made / name).symlink_to(ROOT / name)
    for file in (made / "deploy" / "samples").glob("benchmark*.yaml"):
        value = yaml.safe_load(file.read_text())
        value["spec"] |= SHORT
        for threshold in value["spec"]["thresholds"]:
            if threshold["metric"] != "errors.ratio":
                threshold["max"] = "50s"
        file.write_text(yaml.safe_dump(value))
    return made


def script(place, *steps):
    """Steps whose output is told apart, on a cluster that ends with them."""
    return "\n".join(
        [
            f"trap 'peersdb-operator local down {place} >/dev/null' EXIT",
            *(f"{it}\necho =====" for it in steps),
        ]
    )


@pytest.mark.processes
@pytest.mark.slow
def test_a_load_test_by_hand_its_report_and_several_processes(clone, tmp_path):
    shell = contract_documents.shell(clone, tmp_path)
    (targets,) = re.findall(r"```json\n(.*?)```", contract_documents.text(LOADTESTS), re.DOTALL)
    here = targets.replace("10.0.0.1:8080", "127.0.0.1:8080").replace("10.0.1.1:8080", "127.0.0.1:8081")
    (clone / "targets.json").write_text(here)
    (clone / "latency.json").write_text(json.dumps({"europe-west3/us-central1": 100.0}))
    master, *workers = with_word(LOADTESTS, "MASTER").replace("MASTER", "127.0.0.1").splitlines()
    reports = with_word(REPORTS, "-m loadtests.report")
    files = "mkdir before after; cp -r demo-run/report before; cp -r demo-run/report after"
    out = shell(
        script(
            "--dir demo-run/cluster",
            with_word(LOADTESTS, "--report demo-run/report"),
            with_word(LOADTESTS, "--nodes"),
            f"{files}\ncp demo-run/report/benchmark.json contribution_benchmark.json\n{reports}",
            "\n".join([f"{worker} >/dev/null 2>&1 &" for worker in workers])
            + f"\n{master.replace('60s', '5s')}\nwait",
        ),
        timeout=300,
    )
    _, _, drawn, _, _ = out.split("=====")
    assert drawn.count("passed: demo-run/report/report.html") == 2
    assert "no change beyond noise" in drawn
    assert (clone / "compared" / "compare.html").exists()
    assert "the original" in (clone / "demo-run" / "report" / "report.html").read_text()
    summary = json.loads((clone / "report" / "summary.json").read_text())
    assert summary["passed"], summary["problems"]


@pytest.mark.processes
@pytest.mark.slow
def test_a_benchmark_on_a_laptop(clone, tmp_path):
    shell = contract_documents.shell(clone, tmp_path)
    out = shell(
        script("--cluster quickstart", *with_word(BENCHMARKS, "--cluster quickstart").splitlines()),
        timeout=300,
    )
    _, first, report, again, compared, bootstrap, _ = [part.strip() for part in out.split("=====")]
    assert "quickstart-contribution: passed" in first
    assert report == first.splitlines()[-1]
    assert report.endswith("benchmarks/quickstart-contribution/report.html")
    assert again.splitlines()[-1] == str(clone / "again" / "report.html")
    assert "replication.p99" in compared
    assert (clone / "compared" / "compare.html").exists()
    assert "quickstart-bootstrap: passed" in bootstrap


def test_no_command_of_the_documents_is_left_out():
    for name in (BENCHMARKS, LOADTESTS, REPORTS):
        for block in blocks(name):
            run = sum(word in block for word in [*RUN_HERE, *ON_KUBERNETES])
            assert run == 1, f"{name}: {run} tests run\n{block}"
