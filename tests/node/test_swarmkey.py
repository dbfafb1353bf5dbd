"""The file of the swarm key: IPFS's format or 64 digits, and nothing else."""

import pytest
from structlog.testing import capture_logs

from peersdb.errors import SettingsError
from peersdb.swarmkey import read_swarm_key

DIGITS = "00112233445566778899aabbccddeeff" * 2
IPFS = f"/key/swarm/psk/1.0.0/\n/base16/\n{DIGITS}\n"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "swarm.key"

    def write(content, mode=0o600):
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(mode)
        return path

    return write


@pytest.mark.parametrize(
    "text", [IPFS, IPFS.rstrip("\n"), IPFS.replace("\n", "\r\n"), DIGITS, f"\n {DIGITS.upper()} \n"]
)
def test_a_key_is_read(file, text):
    assert read_swarm_key(file(text)) == bytes.fromhex(DIGITS)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "\n\n",
        DIGITS[:-2],
        DIGITS + "00",
        DIGITS[:-1] + "g",
        f"{DIGITS}\n{DIGITS}",
        IPFS.replace("base16", "base64"),
        IPFS.replace("1.0.0", "2.0.0"),
        f"/base16/\n{DIGITS}",
        "/key/swarm/psk/1.0.0/\n/base16/\n",
        b"\xff" * 64,
        "x" * 100_000,
    ],
)
def test_what_holds_no_key_is_refused_without_showing_it(file, content):
    with pytest.raises(SettingsError, match=r"flag -swarm-key-file: .*swarm\.key") as caught:
        read_swarm_key(file(content))
    assert DIGITS[:16] not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r"cannot read .*nothing: No such file or directory"):
        read_swarm_key(tmp_path / "nothing")
    with pytest.raises(SettingsError, match="Is a directory"):
        read_swarm_key(tmp_path)


@pytest.mark.parametrize(("mode", "told"), [(0o600, 0), (0o640, 0), (0o644, 1), (0o604, 1)])
def test_a_key_that_everybody_can_read_is_told_with_what_to_do(file, mode, told):
    with capture_logs() as lines:
        path = file(IPFS, mode)
        read_swarm_key(path)
    assert [line["advice"].endswith(f"chmod o-r {path}") for line in lines] == [True] * told
