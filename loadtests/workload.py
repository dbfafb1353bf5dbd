"""What is posted: real files, each made unique, and the archives of the original's evaluation.

The same bytes always have the same CID, so a file that is posted twice would be "replicated" before it
was sent. Each payload therefore ends in a line of 64 blanks and tabs that encode a number: it differs
every time, and stays the same JSON or CSV for those who read it.
"""

import importlib.util
import io
import random
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtests.cid import file_cid
from loadtests.errors import WorkloadError

# A command's body may have 64 MiB by default, and base64 makes 4 bytes of 3.
MAX_FILE = 47 << 20
# Names and sizes are kept in memory, and the report lists the total.
MAX_FILES = 10_000
# Files are read once and kept up to this many bytes in all; larger data sets are read again at each use.
CACHE_BYTES = 256 << 20

SALT_BITS = 64
# The salt line: a line feed, one blank or tab per bit, a line feed.
SALT_BYTES = SALT_BITS + 2


@dataclass(frozen=True)
class DataFile:
    """A file of the data set."""

    name: str
    """Path below the data set's directory, with slashes."""

    path: Path
    size: int


@dataclass(frozen=True)
class Payload:
    """What one ``post`` sends, and the CID that the node will give it."""

    name: str
    data: bytes
    cid: str


@dataclass(frozen=True)
class Dataset:
    """A directory's files."""

    name: str
    root: Path
    files: tuple[DataFile, ...]
    skipped: tuple[str, ...]
    """Files that are too large for a command's body."""

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    def groups(self) -> list[tuple[str, list[DataFile]]]:
        """The first level of folders, each with its files; where there are no folders, each file by
        itself.
        """
        folders: dict[str, list[DataFile]] = {}
        for file in self.files:
            folder, slash, _ = file.name.partition("/")
            if slash:
                folders.setdefault(folder, []).append(file)
        if folders:
            return sorted(folders.items())
        return [(Path(file.name).stem, [file]) for file in self.files]


def default_dataset() -> Dataset:
    """The public CSV and JSON data sets that the package ``vega_datasets`` installs.

    Raises:
        WorkloadError: the package is not installed.
    """
    spec = importlib.util.find_spec("vega_datasets")  # found, not imported: the import would load pandas
    if spec is None or spec.origin is None:
        raise WorkloadError("no default data sets: install peersdb[loadtests], or give --dataset DIR")
    return read_dataset(Path(spec.origin).parent / "_data", name="vega_datasets")


def read_dataset(root: Path, *, name: str = "") -> Dataset:
    """List a directory's files, in the order of their names; hidden ones and empty ones are left out.

    Args:
        root: the directory.
        name: of the data set; the directory's, if none is given.

    Raises:
        WorkloadError: it is no directory, holds no usable file, or too many.
    """
    if not root.is_dir():
        raise WorkloadError(f"the data set {root} is no directory")
    files, skipped = [], []
    for path in sorted(root.rglob("*")):
        inside = path.relative_to(root).as_posix()
        if any(part.startswith(".") for part in inside.split("/")) or not path.is_file():
            continue
        size = path.stat().st_size
        if size > MAX_FILE:
            skipped.append(inside)
        elif size:
            files.append(DataFile(inside, path, size))
        if len(files) > MAX_FILES:
            raise WorkloadError(f"the data set {root} has more than {MAX_FILES} files: name a folder of it")
    if not files:
        raise WorkloadError(f"the data set {root} has no file of 1 byte to {MAX_FILE >> 20} MiB")
    return Dataset(name or root.resolve().name, root, tuple(files), tuple(skipped))


def generate(root: Path, files: int, size: int) -> Dataset:
    """Make up a data set: CSV files of about ``size`` bytes in ``root``, the same ones every time.

    Raises:
        WorkloadError: they are too many, or cannot be written.
    """
    if not 1 <= files <= MAX_FILES:
        raise WorkloadError(f"a data set has 1 to {MAX_FILES} files, not {files}")
    try:
        for number in range(files):
            rng = random.Random(number)  # noqa: S311  # data, no secret
            lines = ["machines,minutes,bytes"]
            length = len(lines[0])
            while length < size - 40:
                lines.append(f"{rng.randrange(1, 65)},{rng.random() * 600:.6f},{rng.getrandbits(32)}")
                length += len(lines[-1]) + 1
            (root / f"runs-{number:05}.csv").write_text("\n".join(lines) + "\n", encoding="ascii")
    except OSError as error:
        raise WorkloadError(f"cannot write the generated data set: {error.strerror}") from error
    return read_dataset(root, name=f"generated, {files} files of {size} bytes")


def salt(number: int) -> bytes:
    """A line of blanks (0) and tabs (1) for the lowest 64 bits of a number."""
    bits = format(number & (1 << SALT_BITS) - 1, f"0{SALT_BITS}b")
    return b"\n" + bits.translate({ord("0"): " ", ord("1"): "\t"}).encode("ascii") + b"\n"


class Payloads:
    """An endless supply of unique payloads made of a data set's files."""

    def __init__(self, dataset: Dataset, rng: random.Random, *, size: int | None = None) -> None:
        """Take files at random; with ``size`` each payload has exactly that many bytes of them.

        Raises:
            WorkloadError: ``size`` leaves no room for what makes a payload unique, or is too large.
        """
        if size is not None and not SALT_BYTES <= size <= MAX_FILE:
            raise WorkloadError(f"a payload has {SALT_BYTES} to {MAX_FILE} bytes, not {size}")
        self._dataset = dataset
        self._rng = rng
        self._size = size
        self._cache: dict[str, bytes] = {}
        self._cached = 0

    def next(self, size: int | None = None) -> Payload:
        """The next payload, of exactly ``size`` bytes if they are given.

        Raises:
            WorkloadError: a file went away.
        """
        file = self._rng.choice(self._dataset.files)
        data = self._read(file)
        size = size or self._size
        if size is not None:
            room = size - SALT_BYTES
            data = (data * (room // len(data) + 1))[:room]
        data += salt(self._rng.getrandbits(SALT_BITS))
        return Payload(file.name, data, file_cid(data))

    def _read(self, file: DataFile) -> bytes:
        data = self._cache.get(file.name)
        if data is None:
            data = read_file(file)
            if self._cached + len(data) <= CACHE_BYTES:
                self._cache[file.name] = data
                self._cached += len(data)
        return data


def archives(dataset: Dataset, rng: random.Random) -> Iterator[Payload]:
    """The original's evaluation: the whole data set as one zip, then each group as a zip, made as it is asked
    for.

    A random comment in each archive makes it unique.

    Raises:
        WorkloadError: an archive is too large for a command's body, or a file went away.
    """
    yield _archive(dataset.name, dataset.files, rng)
    for group, files in dataset.groups():
        yield _archive(f"{dataset.name}-{group}", files, rng)


def _archive(name: str, files: Sequence[DataFile], rng: random.Random) -> Payload:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            archive.writestr(zipfile.ZipInfo(file.name), read_file(file), zipfile.ZIP_DEFLATED)
        archive.comment = rng.randbytes(8).hex().encode("ascii")
    data = out.getvalue()
    if len(data) > MAX_FILE:
        raise WorkloadError(
            f"{name}.zip has {len(data)} bytes, more than the {MAX_FILE} that a command carries"
        )
    return Payload(f"{name}.zip", data, file_cid(data))


def read_file(file: DataFile) -> bytes:
    """A file's content.

    Raises:
        WorkloadError: it cannot be read.
    """
    try:
        return file.path.read_bytes()
    except OSError as error:
        raise WorkloadError(f"cannot read {file.path}: {error.strerror}") from error
