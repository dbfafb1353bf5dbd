"""Laws of the validators of documents and archives: size, json, archive."""

import bz2
import gzip
import io
import json
import lzma
import stat
import sys
import tarfile
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judging import found

from peersdb.validators import OptionsError
from peersdb.validators.builtin import archive, json_document, size

MIB = 1024 * 1024
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("documents")


@pytest.fixture
def write(tmp_path):
    def written(data, name="file"):
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return written


def test_size_and_kind_are_those_of_the_content(write):
    path = write(b"\x89PNG\r\n\x1a\n" + bytes(100), "table.csv")
    assert found(size.check, path).reason == "108 bytes of image/png"
    assert found(size.check, path, media_types=["text/*"]).verdict == "invalid"
    assert found(size.check, path, media_types=["text/*", "image/*"]).verdict == "valid"
    assert found(size.check, path, max_bytes=108).verdict == "valid"
    assert found(size.check, path, max_bytes=107).verdict == "invalid"
    assert found(size.check, path, min_bytes=109).verdict == "invalid"
    assert found(size.check, write(b"")).reason == "it is empty"
    assert found(size.check, write(b""), min_bytes=0).verdict == "valid"


@settings(deadline=None)
@given(value=values, cut=st.integers(1, 5))
def test_json_is_valid_and_half_of_it_is_not(place, value, cut):
    path = place / "any.json"
    path.write_text(json.dumps([value]))
    assert found(json_document.check, path).verdict == "valid"
    path.write_bytes(path.read_bytes()[:-cut])
    assert found(json_document.check, path).verdict == "invalid"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'{"a": 1,}', "line 1 column 9"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": "\xff"}', "UTF-8: byte 7"),
        (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
        (b"1 2", "Extra data"),
        (b"", "Expecting value"),
    ],
)
def test_what_is_no_json_is_told_with_its_place(write, data, reason):
    finding = found(json_document.check, write(data, "a.json"))
    assert finding.verdict == "invalid"
    assert reason in finding.reason


def test_lines_are_judged_one_by_one(write):
    assert found(json_document.check, write(b'{"a":1}\n\n{"a":2}\n', "a.jsonl")).reason == "2 lines"
    assert found(json_document.check, write(b'{"a":1}\n{"a":\n', "a.jsonl")).reason.startswith("line 2: ")
    assert found(json_document.check, write(b"\n", "a.jsonl")).verdict == "invalid"


def test_a_json_schema_says_what_and_where(write):
    schema = {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "integer"}}}}
    assert found(json_document.check, write(b'{"a": [1, 2]}', "a.json"), schema=schema).verdict == "valid"
    finding = found(json_document.check, write(b'{"a": [1, "x"]}', "a.json"), schema=schema)
    assert (finding.verdict, finding.reason[:8]) == ("invalid", "$.a[1]: ")
    finding = found(json_document.check, write(b'{"a": [1]}\n{"a": 1}\n', "a.jsonl"), schema=schema)
    assert finding.reason.startswith("line 2: $.a: ")


def test_a_wrong_json_schema_is_the_options_fault(write):
    with pytest.raises(OptionsError, match="schema"):
        found(json_document.check, write(b"1", "a.json"), schema={"type": "nonsense"})


def test_without_jsonschema_a_schema_is_abstained_from(write, monkeypatch):
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    assert found(json_document.check, write(b"1", "a.json")).verdict == "valid"
    finding = found(json_document.check, write(b"1", "a.json"), schema={})
    assert (finding.verdict, "peersdb[validators]" in finding.reason) == ("abstain", True)


def zipped(entries, **settings_):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, **settings_) as target:
        for name, data in entries.items():
            target.writestr(name, data)
    return out.getvalue()


def tarred(entries, mode="w"):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as target:
        for name, data in entries.items():
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(data)
            target.addfile(info, io.BytesIO(data))
    return out.getvalue()


def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


GOOD = {"data/a.csv": b"a,b\n1,2\n", "data/b.txt": b"text" * 1000, "./c": b""}
MAKE = {
    "zip": zipped,
    "tar": tarred,
    "tar.gz": lambda entries: tarred(entries, "w:gz"),
    "tar.bz2": lambda entries: tarred(entries, "w:bz2"),
    "tar.xz": lambda entries: tarred(entries, "w:xz"),
}


@pytest.mark.parametrize("kind", MAKE)
def test_a_good_archive_is_valid_and_a_cut_one_is_not(write, kind):
    data = MAKE[kind](GOOD)
    finding = found(archive.check, write(data))
    assert (finding.verdict, finding.reason[:9]) == ("valid", "3 entries")
    assert found(archive.check, write(data[: len(data) // 2])).verdict == "invalid"


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_packed_file_is_read_to_its_end(write, pack):
    data = pack(bytes(range(256)) * 1000)
    assert found(archive.check, write(data)).reason == "1 entries, 256000 bytes"
    assert found(archive.check, write(data[:-20])).verdict == "invalid"


@pytest.mark.parametrize("kind", MAKE)
@pytest.mark.parametrize("name", ["../up", "/root", "a/../../b", "C:\\x", "..\\up", "\\\\host\\x"])
def test_a_name_that_leads_out_is_invalid(write, kind, name):
    finding = found(archive.check, write(MAKE[kind]({"fine": b"x", name: b"x"})))
    assert (finding.verdict, "leads out" in finding.reason) == ("invalid", True)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_are_refused_unless_allowed_and_devices_always(write, kind):
    path = write(tarred({"a": b"x", special("b", kind, "a"): b""}))
    assert found(archive.check, path).verdict == "invalid"
    allowed = "valid" if kind in {tarfile.SYMTYPE, tarfile.LNKTYPE} else "invalid"
    assert found(archive.check, path, links=True).verdict == allowed


def test_a_symlink_in_a_zip_is_refused(write):
    info = zipfile.ZipInfo("link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    assert "is a link" in found(archive.check, write(zipped({info: b"/etc/passwd"}))).reason


@pytest.mark.parametrize("kind", MAKE)
def test_a_bomb_is_found_by_what_comes_out_of_it(write, kind):
    finding = found(archive.check, write(MAKE[kind]({"zeros": bytes(32 * MIB)})))
    ratio = kind != "tar"  # it packs nothing
    assert (finding.verdict, "times its size" in finding.reason) == ("invalid" if ratio else "valid", ratio)
    finding = found(archive.check, write(MAKE[kind]({"zeros": bytes(2 * MIB)})), max_total_bytes=MIB)
    assert (finding.verdict, "more than 1048576 bytes" in finding.reason) == ("invalid", True)


def test_entries_that_share_their_bytes_are_counted_each(write):
    """As in D. Fifield's bomb: a directory that names the same bytes many times."""
    data = bytearray(zipped({"a": bytes(4 * MIB)}))
    directory = data.index(b"PK\x01\x02")
    end = data.index(b"PK\x05\x06")
    entry = bytes(data[directory:end])
    count = 20
    tail = bytearray(data[end:])
    tail[8:12] = count.to_bytes(2, "little") * 2
    tail[12:16] = (len(entry) * count).to_bytes(4, "little")
    finding = found(archive.check, write(bytes(data[:directory]) + entry * count + tail))
    assert finding.verdict == "invalid"
    # Newer releases of Python see it before the bytes are counted.
    assert "times its size" in finding.reason or "Overlapped" in finding.reason


def test_archives_in_archives_are_looked_into_and_not_too_deep(write):
    inner = zipped({"../x": b"x"})
    assert "leads out" in found(archive.check, write(tarred({"inner": inner}))).reason
    data = b"text"
    for _ in range(4):
        data = zipped({"inner": data})
    assert "nested deeper than 2" in found(archive.check, write(data)).reason
    assert found(archive.check, write(data), max_depth=3).verdict == "valid"
    bomb = zipped({f"{n}": gzip.compress(bytes(8 * MIB)) for n in range(10)})
    assert "times its size" in found(archive.check, write(bomb)).reason


def test_too_many_entries(write):
    path = write(zipped({str(n): b"" for n in range(11)}))
    assert found(archive.check, path, max_entries=11).verdict == "valid"
    assert found(archive.check, path, max_entries=10).verdict == "invalid"


@settings(deadline=None, max_examples=100)
@given(at=st.integers(0, 400), value=st.integers(0, 255), kind=st.sampled_from(sorted(MAKE)))
def test_no_damage_makes_it_fail_otherwise_than_by_a_verdict(place, at, value, kind):
    data = bytearray(MAKE[kind](GOOD))
    data[at % len(data)] = value
    path = place / "damaged"
    path.write_bytes(data)
    assert found(archive.check, path).verdict in {"valid", "invalid", "abstain"}


def test_what_is_no_archive_is_invalid(write):
    assert found(archive.check, write(b"text", "a.zip")).verdict == "invalid"
    assert found(archive.check, write(b"7z\xbc\xaf\x27\x1c" + bytes(50))).verdict == "abstain"
