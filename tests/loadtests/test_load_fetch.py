"""A data set by its address: the one that was meant, whole, and nowhere else than where it belongs."""

import hashlib
import io
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from loadtests import fetch as module
from loadtests.errors import WorkloadError
from loadtests.fetch import fetch, main


@pytest.fixture
def serve():
    """A server of one file; gives its address."""
    content = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path in content else 404)
            self.end_headers()
            self.wfile.write(content.get(self.path, b""))

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()

        def add(name, data):
            content[f"/{name}"] = data
            return f"http://127.0.0.1:{server.server_port}/{name}", hashlib.sha256(data).hexdigest()

        yield add
        server.shutdown()
        thread.join()


def zipped():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("grep/runs.csv", "a,b\n")
        archive.writestr("../../outside.csv", "x")
    return out.getvalue()


needs_filter = pytest.mark.skipif(
    not hasattr(tarfile, "data_filter"), reason="tar archives are refused before Python 3.11.4"
)


def tarred(name="sort/runs.csv"):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        info = tarfile.TarInfo(name)
        info.size = 4
        archive.addfile(info, io.BytesIO(b"a,b\n"))
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "found"),
    [
        ("c3o.zip", zipped(), {"grep/runs.csv", "outside.csv"}),
        pytest.param("c3o.tar.gz", tarred(), {"sort/runs.csv"}, marks=needs_filter),
        ("one%20file.csv", b"a,b\n1,2\n", {"one file.csv"}),
    ],
)
def test_what_is_there_is_put_below_the_directory_alone(serve, tmp_path, name, data, found):
    target = tmp_path / "data"
    fetch(*serve(name, data), target)
    assert {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()} == found
    assert list(tmp_path.iterdir()) == [target]


def test_another_file_than_was_meant_is_refused(serve, tmp_path):
    url, _ = serve("c3o.zip", zipped())
    with pytest.raises(WorkloadError, match="another file"):
        fetch(url, "0" * 64, tmp_path / "data")
    assert not (tmp_path / "data").exists()


@needs_filter
def test_an_archive_that_points_elsewhere_is_refused(serve, tmp_path):
    with pytest.raises(WorkloadError, match="cannot unpack"):
        fetch(*serve("bad.tar.gz", tarred("../outside.csv")), tmp_path / "data")
    assert not (tmp_path / "outside.csv").exists()


def test_sizes_are_bounded_before_anything_is_unpacked(serve, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_UNPACKED", 3)
    with pytest.raises(WorkloadError, match="at most"):
        fetch(*serve("c3o.tar.gz", tarred()), tmp_path / "data")
    monkeypatch.setattr(module, "MAX_DOWNLOAD", 3)
    with pytest.raises(WorkloadError, match="more than"):
        fetch(*serve("c3o.tar.gz", tarred()), tmp_path / "data")
    assert not list((tmp_path / "data").iterdir())


def test_the_command_says_in_one_line_what_is_wrong(serve, tmp_path, capsys):
    url, digest = serve("one.csv", b"a\n")
    assert main([url, digest, str(tmp_path / "data")]) == 0
    assert main([f"{url}x", digest, str(tmp_path / "other")]) == 2
    assert main(["file:///etc/passwd", digest, str(tmp_path / "other")]) == 2
    assert main([]) == 2
    assert "HTTP Error 404" in capsys.readouterr().err
