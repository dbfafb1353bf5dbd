"""Installs rivals into a throw-away directory and runs them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
#: The last release whose Python package has documents and blobs; the later ones are connections alone.
IROH = "0.35.0"
#: A network with loopback alone, in which the rest of the command runs, and processes that end with it.
ALONE = (
    "unshare",
    "-rnpf",
    "--kill-child",
    "--mount-proc",
    "sh",
    "-c",
    'ip link set lo up && exec "$@"',
    "sh",
)
#: An installation, and a rival's measures, may take so long (seconds).
INSTALL_TIMEOUT, RUN_TIMEOUT = 600, 1800


class Skipped(Exception):
    """A rival that cannot be measured here; the message says why."""


@dataclass(frozen=True)
class Rival:
    """One rival's figures of this run.

    Attributes:
        name: as it is shown.
        version: what was installed.
        figures: by the keys of our rows, in their units.
        skipped: why there are none, or empty.
    """

    name: str
    version: str
    figures: dict[str, float] = field(default_factory=dict)
    skipped: str = ""


def run_all(directory: Path, entries: int) -> list[Rival]:
    """Installs and measures each rival; one that cannot be is skipped, with its reason."""
    found = []
    for name, version, files, install in (
        ("iroh", IROH, True, _install_iroh),
        ("OrbitDB JS", _orbitdb_version(), False, _install_orbitdb),
    ):
        print(f"{name} {version}: installing and measuring", flush=True)
        place = directory / name.split()[0].lower()
        place.mkdir()
        try:
            figures = _measure(install(place), place, entries, files=files)
            found.append(Rival(name, version, figures))
        except Skipped as reason:
            print(f"{name}: skipped: {reason}", flush=True)
            found.append(Rival(name, version, skipped=str(reason)))
    return found


def _measure(command: list[str], place: Path, entries: int, *, files: bool) -> dict[str, float]:
    nodes = place / "nodes"
    nodes.mkdir()
    driver = [sys.executable, str(HERE / "drive.py"), str(nodes), str(entries), "files" if files else "no"]
    figures: dict[str, float] = json.loads(
        _run([*ALONE, *driver, *command], place, RUN_TIMEOUT).splitlines()[-1]
    )
    return figures


def _install_iroh(place: Path) -> list[str]:
    python = place / "venv" / "bin" / "python"
    _run([sys.executable, "-m", "venv", str(place / "venv")], place, INSTALL_TIMEOUT)
    install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"]
    _run([str(python), *install, f"iroh=={IROH}"], place, INSTALL_TIMEOUT)
    return [str(python), str(HERE / "iroh_node.py")]


def _install_orbitdb(place: Path) -> list[str]:
    for name in ("package.json", "orbitdb_node.mjs"):
        shutil.copy(HERE / name, place)
    _run(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"], place, INSTALL_TIMEOUT)
    return ["node", str(place / "orbitdb_node.mjs")]


def _orbitdb_version() -> str:
    packages: dict[str, str] = json.loads((HERE / "package.json").read_text())["dependencies"]
    return packages["@orbitdb/core"]


def _run(command: list[str], place: Path, timeout: float) -> str:
    """What a command printed.

    Raises:
        Skipped: it is not there, failed, or took too long.
    """
    shown = Path(command[0]).name
    try:
        done = subprocess.run(
            command,
            cwd=place,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=True,
            stdin=subprocess.DEVNULL,
        )
    except FileNotFoundError:
        raise Skipped(f"there is no {shown} on this machine") from None
    except subprocess.TimeoutExpired:
        raise Skipped(f"{shown} took longer than {timeout:.0f} s") from None
    except subprocess.CalledProcessError as error:
        said = [line for line in (error.stderr + error.stdout).splitlines() if line.strip()]
        raise Skipped(
            f"{shown} failed with status {error.returncode}: {' / '.join(said[-3:])[-300:]}"
        ) from None
    return done.stdout
