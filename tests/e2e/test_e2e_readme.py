"""What README.md says of Kubernetes, run as it is written, in the order in which it stands."""

import os
import re
import subprocess
from pathlib import Path

from e2e_peers import Peers, eventually

ROOT = Path(__file__).parents[2]


def commands():
    """The blocks of the README that call kubectl."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    return [block for block in blocks if "kubectl" in block]


def test_the_readme_s_commands_share_a_file_between_regions(kubectl):
    environment = {
        **os.environ,
        "KUBECONFIG": str(kubectl.kubeconfig),
        "PATH": f"{Path(kubectl.program).parent}:{os.environ['PATH']}",
    }

    def run(script):
        return subprocess.run(
            ["bash", "-euc", script], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        ).stdout

    install, share = commands()
    peers = Peers(kubectl, "default", "quickstart")
    try:
        assert "quickstart" in run(install)
        peers.wait("Ready", seconds=150)
        rows = eventually(
            lambda: (printed := run(share)) and "runtimes.csv" in printed and printed,
            "the other region lists it",
        )
        assert rows.count("/ipfs/") >= 2
        assert run("kubectl get peersdbclusters").splitlines()[1].split()[:2] == ["quickstart", "True"]
    finally:
        peers.delete()
        kubectl("delete", "pvc", "-l", "app.kubernetes.io/instance=quickstart", "--wait=false")
