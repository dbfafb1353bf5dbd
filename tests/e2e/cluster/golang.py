"""Building the programs of a cluster through the Go module proxy alone.

Each program is built once into the build's ``bin/``: written beside and renamed, so that an interrupted build goes
on where it was. Nothing is compiled in C; modules are checked against Go's checksum database.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from cluster import versions
from cluster.commands import run, step
from cluster.errors import NotBuilt, Refused

#: kube-apiserver alone takes five minutes on two old cores.
COMPILE_TIMEOUT = 3600.0
#: What the module files of Kubernetes 1.34 ask for.
GO_NEEDED = (1, 24)

ENVIRONMENT = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=mod -buildvcs=false"}

#: What the API server alone needs; the rest is for nodes.
API_PROGRAMS = ("kube-apiserver", "kubectl", "etcd")
CONTROLLER_PROGRAMS = ("kube-controller-manager", "kube-scheduler", "kwok")
NODE_PROGRAMS = ("kubelet", "kube-proxy", "coredns", "local-path-provisioner", "delay")
ALL_PROGRAMS = (*API_PROGRAMS, *CONTROLLER_PROGRAMS, *NODE_PROGRAMS)

_VERSION_PACKAGE = "k8s.io/component-base/version"
_KUBERNETES_FLAGS = (
    "-s -w"
    f" -X {_VERSION_PACKAGE}.gitVersion={versions.KUBERNETES}"
    f" -X {_VERSION_PACKAGE}.gitMajor=1"
    f" -X {_VERSION_PACKAGE}.gitMinor={versions.KUBERNETES.split('.')[1]}"
    f" -X {_VERSION_PACKAGE}.gitTreeState=clean"
    f" -X {_VERSION_PACKAGE}.gitCommit={'0' * 40}"
    f" -X {_VERSION_PACKAGE}.buildDate=2026-01-01T00:00:00Z"
    f" -X k8s.io/client-go/pkg/version.gitVersion={versions.KUBERNETES}"
)
_STRIPPED = "-s -w"


def programs(names: tuple[str, ...]) -> Path:
    """Give the directory of programs that were built before.

    Raises:
        NotBuilt: one of them was not; nothing is compiled by surprise.
    """
    directory = versions.build_dir() / "bin"
    missing = [name for name in names if not (directory / file_name(name)).exists()]
    if missing:
        raise NotBuilt(
            f"{', '.join(missing)} not built in {directory}: `make cluster-build` does it once (about 10 minutes "
            "on two cores; it needs Go, and the network for its modules)"
        )
    return directory


def build(names: tuple[str, ...] = ALL_PROGRAMS) -> Path:
    """Build those programs that do not exist yet; returns their directory.

    Raises:
        Refused: there is no Go, or it is too old.
        CommandFailed: the compiler's own words.
    """
    directory = versions.build_dir()
    binaries = directory / "bin"
    missing = [name for name in names if not (binaries / file_name(name)).exists()]
    if not missing:
        return binaries
    check()
    binaries.mkdir(parents=True, exist_ok=True)
    work = directory / "work"
    for name in missing:
        with step(f"build {name}"):
            _RECIPES[name](name, work, binaries / file_name(name))
    return binaries


def file_name(name: str) -> str:
    """Name a program's file: one of our own sources has their digest in it, for they change on their own."""
    source = versions.SOURCES / name / "main.go"
    return f"{name}-{versions.digest(source.read_bytes())}" if source.exists() else name


def module_directory(module: str) -> Path:
    """Download a module, given as ``path@version``, and say where its sources are."""
    told = run(["go", "mod", "download", "-json", module], cwd=Path("/"), env=ENVIRONMENT, timeout=600)
    return Path(json.loads(told)["Dir"])


def check() -> None:
    """See that there is a Go that is new enough.

    Raises:
        Refused: there is none.
    """
    if shutil.which("go") is None:
        raise Refused(
            f"Go is not installed: the cluster's programs need version {GO_NEEDED[0]}.{GO_NEEDED[1]} or later "
            "(https://go.dev/dl/)"
        )
    told = run(["go", "env", "GOVERSION"]).strip()
    match = re.match(r"go(\d+)\.(\d+)", told)
    if match and (int(match[1]), int(match[2])) < GO_NEEDED:
        raise Refused(
            f"{told} is too old: the cluster's programs need {GO_NEEDED[0]}.{GO_NEEDED[1]} or later"
        )


def _compile(package: str, out: Path, cwd: Path, flags: str) -> None:
    partial = out.with_suffix(".partial")
    argv = ["go", "build", "-trimpath", "-ldflags", flags, "-o", str(partial), package]
    run(argv, cwd=cwd, env=ENVIRONMENT, timeout=COMPILE_TIMEOUT)
    partial.rename(out)


def _kubernetes(name: str, work: Path, out: Path) -> None:
    package = "go.etcd.io/etcd/server/v3" if name == "etcd" else f"k8s.io/kubernetes/cmd/{name}"
    _compile(package, out, _kubernetes_module(work / "kubernetes"), _KUBERNETES_FLAGS)


def _kubernetes_module(directory: Path) -> Path:
    """Write a module that requires what Kubernetes' own does, so that its commands build by the proxy alone.

    Kubernetes replaces its staging modules by directories, which counts in the main module only and is not in
    the module's archive: here they are pinned to the versions published with it.
    """
    if (directory / "go.mod").exists():
        return directory
    sources = module_directory(f"k8s.io/kubernetes@{versions.KUBERNETES}")
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "go.sum").write_text((sources / "go.sum").read_text())
    # `go build` wants a package in the module's own directory.
    (directory / "tools.go").write_text("//go:build tools\n\npackage cluster\n")
    (directory / "go.mod").write_text(
        kubernetes_requirements((sources / "go.mod").read_text(), versions.KUBERNETES)
    )
    return directory


def kubernetes_requirements(text: str, version: str) -> str:
    """Make of Kubernetes' own ``go.mod`` one for a module that uses it. Pure.

    Args:
        text: its ``go.mod``.
        version: its version, ``v1.34.4``; the staging modules of that release are ``v0.34.4``.
    """
    staging_version = "v0." + version.removeprefix("v1.")
    staging = re.findall(r"^\t(\S+) => \./staging/src/", text, re.MULTILINE)
    text = re.sub(r"^replace \(.*?^\)\n", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"^module .*$", "module k8sbuild", text, flags=re.MULTILINE)
    for module in staging:
        pattern = rf"^(\t{re.escape(module)}) v0\.0\.0$"
        text = re.sub(pattern, rf"\1 {staging_version}", text, flags=re.MULTILINE)
    replaced = "".join(f"\t{module} => {module} {staging_version}\n" for module in staging)
    return f"{text}\nrequire k8s.io/kubernetes {version}\n\nreplace (\n{replaced})\n"


def _coredns(name: str, work: Path, out: Path) -> None:
    directory = _own_module(name, work)
    if not (directory / "go.sum").exists():
        for arguments in (["get", f"github.com/coredns/coredns@{versions.COREDNS}"], ["mod", "tidy"]):
            run(["go", *arguments], cwd=directory, env=ENVIRONMENT, timeout=600)
    _compile(".", out, directory, _STRIPPED)


def _own(name: str, work: Path, out: Path) -> None:
    _compile(".", out, _own_module(name, work), _STRIPPED)


def _own_module(name: str, work: Path) -> Path:
    directory = work / file_name(name)
    directory.mkdir(parents=True, exist_ok=True)
    shutil.copy(versions.SOURCES / name / "main.go", directory / "main.go")
    if not (directory / "go.mod").exists():
        (directory / "go.mod").write_text(f"module {name}\n\ngo {GO_NEEDED[0]}.{GO_NEEDED[1]}\n")
    return directory


def _installed(package: str) -> Callable[[str, Path, Path], None]:
    def install(name: str, work: Path, out: Path) -> None:
        # `go install` takes no -o: it writes into a directory of its own, from where the program moves.
        place = work / f"install-{name}"
        argv = ["go", "install", "-trimpath", "-ldflags", _STRIPPED, package]
        run(argv, env={**ENVIRONMENT, "GOFLAGS": "", "GOBIN": str(place)}, timeout=COMPILE_TIMEOUT)
        (place / name).rename(out)

    return install


_RECIPES: dict[str, Callable[[str, Path, Path], None]] = {
    "kube-apiserver": _kubernetes,
    "kubectl": _kubernetes,
    "etcd": _kubernetes,
    "kube-controller-manager": _kubernetes,
    "kube-scheduler": _kubernetes,
    "kubelet": _kubernetes,
    "kube-proxy": _kubernetes,
    "kwok": _installed(f"sigs.k8s.io/kwok/cmd/kwok@{versions.KWOK}"),
    "coredns": _coredns,
    "local-path-provisioner": _installed(
        f"github.com/rancher/local-path-provisioner@{versions.LOCAL_PATH_PROVISIONER}"
    ),
    "delay": _own,
}
