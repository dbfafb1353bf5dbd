"""A token file: checked at the start, read again when it changes, never a gap."""

import pytest

from peersdb.errors import SettingsError
from peersdb.tokens import Tokens

OLD, NEW = "old-token-of-some-length", "new-token-of-some-length"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "token"
    path.write_text(f"{OLD}\n")
    return path


def replace(path, text):
    """As Kubernetes does it: a new file under the same name."""
    other = path.with_name("next")
    other.write_text(text)
    other.replace(path)


def test_only_a_token_of_the_file_is_accepted(file):
    tokens = Tokens(file)
    assert tokens.accepts(OLD)
    for wrong in ("", OLD[:-1], OLD + "x", NEW, "\n", "ü" * 20):
        assert not tokens.accepts(wrong)


def test_a_token_is_replaced_without_a_gap(file):
    tokens = Tokens(file)
    replace(file, f"{NEW}\n{OLD}\n")
    assert tokens.accepts(OLD)
    assert tokens.accepts(NEW)
    assert tokens.first == NEW
    replace(file, f"{NEW}\n")
    assert not tokens.accepts(OLD)


@pytest.mark.parametrize(
    "text", ["", "\n \n", "short\n", "\n".join(f"token-number-{i:04}xx" for i in range(9))]
)
def test_a_file_without_good_tokens_is_refused_at_the_start(tmp_path, text):
    path = tmp_path / "token"
    path.write_text(text)
    with pytest.raises(SettingsError, match="api-token-file"):
        Tokens(path)


def test_a_missing_file_is_refused_at_the_start(tmp_path):
    with pytest.raises(SettingsError, match="api-token-file"):
        Tokens(tmp_path / "nothing")


def test_a_file_that_goes_bad_leaves_the_tokens_as_they_were(file):
    tokens = Tokens(file)
    for text in ("", "short\n"):
        replace(file, text)
        assert tokens.accepts(OLD)
    file.unlink()
    assert tokens.accepts(OLD)
