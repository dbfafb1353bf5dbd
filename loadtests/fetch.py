"""``python -m loadtests.fetch URL SHA256 DIR``: get a data set, check that it is the one that is meant, unpack it.

A zip or tar archive is unpacked into the directory; any other file is put there as it is.
"""

import hashlib
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from typing import IO
from urllib.parse import unquote, urlsplit

from loadtests.errors import LoadTestError, WorkloadError
from loadtests.workload import MAX_FILES

# What a load pod's disk and patience hold; a data set of test files is far smaller.
MAX_DOWNLOAD = 4 << 30
MAX_UNPACKED = 16 << 30
# A server that says nothing for so long is not there.
SOCKET_SECONDS = 60
PIECE = 1 << 20


def fetch(url: str, sha256: str, directory: Path) -> None:
    """Get the file at ``url`` and put what is in it into ``directory``.

    Raises:
        WorkloadError: it cannot be had, is another one, or cannot be unpacked.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise WorkloadError(f"{url} is no http or https address")
    with tempfile.TemporaryFile() as file:
        try:
            found = _download(url, file)
        except (OSError, ValueError, urllib.error.URLError) as error:
            raise WorkloadError(f"cannot get {url}: {error}") from error
        if found != sha256.lower():
            raise WorkloadError(f"{url} has the SHA-256 {found}, not {sha256}: it is another file")
        try:
            directory.mkdir(parents=True, exist_ok=True)
            _unpack(file, directory, Path(unquote(urlsplit(url).path)).name or "data")
        except (OSError, tarfile.TarError, zipfile.BadZipFile, RuntimeError) as error:
            raise WorkloadError(f"cannot unpack {url}: {error}") from error


def _download(url: str, file: IO[bytes]) -> str:
    digest, size = hashlib.sha256(), 0
    with urllib.request.urlopen(url, timeout=SOCKET_SECONDS) as response:  # noqa: S310  # the scheme was checked
        while piece := response.read(PIECE):
            size += len(piece)
            if size > MAX_DOWNLOAD:
                raise WorkloadError(f"{url} has more than {MAX_DOWNLOAD >> 30} GiB")
            digest.update(piece)
            file.write(piece)
    file.seek(0)
    return digest.hexdigest()


def _unpack(file: IO[bytes], directory: Path, name: str) -> None:
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            _check([one.file_size for one in archive.infolist()])
            archive.extractall(directory)  # noqa: S202  # names are cleaned by it, and sizes were checked
        return
    file.seek(0)
    try:
        with tarfile.open(fileobj=file) as tar:
            _check([one.size for one in tar])
            if not hasattr(tarfile, "data_filter"):
                raise WorkloadError("tar archives are unpacked safely since Python 3.11.4: make it a zip")
            tar.extractall(directory, filter="data")
    except tarfile.ReadError:
        file.seek(0)
        with (directory / name).open("wb") as out:
            while piece := file.read(PIECE):
                out.write(piece)


def _check(sizes: list[int]) -> None:
    if len(sizes) > 2 * MAX_FILES or sum(sizes) > MAX_UNPACKED:  # files and their folders
        raise WorkloadError(f"a data set has at most {MAX_FILES} files and {MAX_UNPACKED >> 30} GiB")


def main(arguments: list[str]) -> int:
    """The command. Returns 0, or 2 with the reason in one line."""
    if len(arguments) != 3:
        sys.stderr.write("use: python -m loadtests.fetch URL SHA256 DIR\n")
        return 2
    try:
        fetch(arguments[0], arguments[1], Path(arguments[2]))
    except LoadTestError as error:
        sys.stderr.write(f"fetch: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
