"""A token file: looked at with each request, never a gap while a token is replaced, never an open door."""

import pytest
from structlog.testing import capture_logs

from peersdb.tokens import HOLD, MAX_TOKENS, Tokens

OLD, NEW = "old-token-of-some-length", "new-token-of-some-length"


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "token"
    path.write_text(f"{OLD}\n")
    path.chmod(0o600)
    return path


def replace(path, text):
    """As an editor does it: a new file under the same name."""
    other = path.with_name("next")
    other.write_text(text)
    other.replace(path)


class Secret:
    """A mounted Secret as Kubernetes keeps it: a link to a link to a directory that is swapped as a whole."""

    def __init__(self, folder):
        self.folder, self.count = folder, 0
        self.file = folder / "token"
        self.file.symlink_to("..data/token")

    def update(self, text):
        self.count += 1
        version = self.folder / f"..2025_{self.count}"
        version.mkdir()
        (version / "token").write_text(text)
        swapped = self.folder / "..data_tmp"
        swapped.symlink_to(version.name)
        swapped.rename(self.folder / "..data")


def test_only_a_token_of_the_file_is_accepted(file):
    tokens = Tokens(file)
    assert tokens.accepts(OLD)
    assert not tokens.none
    for wrong in ("", OLD[:-1], OLD + "x", NEW, "\n", "ü" * 20, "\udcff" * 20):
        assert not tokens.accepts(wrong)


def test_a_token_is_replaced_without_a_gap(file):
    tokens = Tokens(file)
    replace(file, f"{NEW}\n{OLD}\n")
    assert tokens.accepts(OLD)
    assert tokens.accepts(NEW)
    assert tokens.first == NEW
    replace(file, f"{NEW}\n")
    assert not tokens.accepts(OLD)
    assert tokens.accepts(NEW)


def test_a_secret_that_kubernetes_updates_is_taken_up(tmp_path):
    secret = Secret(tmp_path)
    secret.update(OLD)
    tokens = Tokens(secret.file)
    for text, accepted, first in (
        (f"{OLD}\n{NEW}", {OLD, NEW}, OLD),
        (f"{NEW}\n{OLD}", {OLD, NEW}, NEW),
        (NEW, {NEW}, NEW),
        (OLD, {OLD}, OLD),
    ):
        secret.update(text)
        assert {token for token in (OLD, NEW) if tokens.accepts(token)} == accepted
        assert tokens.first == first


def test_a_new_text_of_the_same_length_in_the_same_file_is_taken_up(file):
    tokens = Tokens(file)
    file.write_text(f"{NEW}\n")
    assert tokens.accepts(NEW)
    assert not tokens.accepts(OLD)


WRONG = {
    "empty": "",
    "blank": "\n \n",
    "short": "short\n",
    "many": "\n".join(f"token-number-{i:04}xx" for i in range(MAX_TOKENS + 1)),
    "one of two is short": f"{OLD}\nshort\n",
    "words": "these are words and not a token\n",
    "a header of two lines": f"{OLD}\x00{OLD}\n",
    "not text": b"\xff\xfe" * 16,
}


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.mark.parametrize("content", WRONG.values(), ids=WRONG)
def test_without_a_good_file_nobody_is_let_in_until_there_is_one(tmp_path, content):
    path = tmp_path / "token"
    with capture_logs() as lines:
        write(path, content)
        tokens = Tokens(path)
        assert tokens.none
        assert tokens.first == ""
        for guess in ("", "short", OLD, "x" * 20):
            assert not tokens.accepts(guess)
    (line,) = [line for line in lines if line["log_level"] == "error"]
    assert "every request is refused" in line["event"]
    assert line["reason"]
    assert OLD not in str(lines)
    write(path, f"{NEW}\n")
    assert tokens.accepts(NEW)
    assert not tokens.accepts("")


def test_a_file_that_comes_late_is_taken_up(tmp_path):
    path = tmp_path / "later" / "token"
    with capture_logs() as lines:
        tokens = Tokens(path)
        for _ in range(5):
            assert not tokens.accepts(OLD)
    assert [line["reason"] for line in lines] == ["No such file or directory"]  # told once
    path.parent.mkdir()
    path.write_text(OLD)
    with capture_logs() as lines:
        assert tokens.accepts(OLD)
    assert [(line["log_level"], line["tokens"]) for line in lines] == [("info", 1)]


def test_a_directory_is_no_token_file(tmp_path):
    assert Tokens(tmp_path).none


@pytest.mark.parametrize("how", ["emptied", "removed", "overwritten with another thing"])
def test_a_file_that_goes_bad_holds_for_a_moment_and_then_nobody_is_let_in(file, clock, how):
    tokens = Tokens(file, clock)
    if how == "removed":
        file.unlink()
    else:
        file.write_text("" if how == "emptied" else "nonsense")
    with capture_logs() as lines:
        assert tokens.accepts(OLD)
        clock.now += HOLD - 0.001
        assert tokens.accepts(OLD)
        assert tokens.first == OLD
        clock.now += 0.001
        assert not tokens.accepts(OLD)
        assert tokens.none
        clock.now += 1000
        assert not tokens.accepts(OLD)
    assert [line["log_level"] for line in lines] == ["warning", "error"]
    file.write_text(OLD)
    assert tokens.accepts(OLD)


def test_a_file_that_is_written_over_in_place_makes_no_gap(file, clock):
    tokens = Tokens(file, clock)
    for text in ("", "new-to", f"{NEW}\n"):
        file.write_text(text)
        clock.now += HOLD / 4
        assert tokens.accepts(NEW if text.endswith("\n") else OLD)
    assert not tokens.accepts(OLD)
    clock.now += 2 * HOLD
    assert tokens.accepts(NEW)


@pytest.mark.parametrize(("mode", "told"), [(0o600, 0), (0o640, 0), (0o644, 1)])
def test_tokens_that_everybody_can_read_are_told_with_what_to_do(file, mode, told):
    file.chmod(mode)
    with capture_logs() as lines:
        Tokens(file)
    assert [line["advice"] for line in lines if "secret" in line["event"]] == [
        f"every user of this machine can read it: chmod o-r {file}"
    ] * told
