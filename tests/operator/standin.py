"""A stand-in for a node, for the faults that a real one does not make on demand.

It takes a node's flags and serves what a supervisor asks for. Before its flags come ``--faults FILE``: JSON,
by the last part of the member's directory, read at start: ``crash`` (ends with code 3), ``deaf`` (never
ready), ``stubborn`` (ignores SIGTERM).
"""

import hashlib
import json
import os
import signal
import sys
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

BOOLEANS = {"-http", "-root", "-full-replica", "-benchmark"}


def flags(arguments):
    found = {}
    rest = iter(arguments)
    for flag in rest:
        found[flag.lstrip("-")] = True if flag in BOOLEANS else next(rest)
    return found


def store_of(options, repo):
    """The store this node has: the one it is given, kept, or finds; a root makes one."""
    kept = repo / "store"
    if "store" in options:
        kept.write_text(options["store"])
    elif not kept.exists() and options.get("bootstrap"):
        address = options["bootstrap"].split(",")[0]
        with urllib.request.urlopen(f"http://{address}/peersdb/status", timeout=5) as answer:
            kept.write_text(json.load(answer)["storeAddress"])
    elif not kept.exists() and options.get("root"):
        kept.write_text("/orbitdb/" + hashlib.sha256(os.urandom(8)).hexdigest())
    return kept.read_text() if kept.exists() else None


def main():
    sys.stdout.reconfigure(line_buffering=True)
    fault = ""
    arguments = sys.argv[1:]
    if arguments[0] == "--faults":
        faults = Path(arguments[1])
        arguments = arguments[2:]
        fault = json.loads(faults.read_text()).get(Path.cwd().name, "") if faults.exists() else ""
    options = flags(arguments)
    repo = Path(options["repo"])
    repo.mkdir(parents=True, exist_ok=True)
    sys.stdout.write(f"standin: starts as {Path.cwd().name}" + "\n")
    if fault == "crash":
        sys.stdout.write("standin: the flux capacitor is empty" + "\n")
        sys.exit(3)
    store = store_of(options, repo)
    ready = fault != "deaf" and store is not None

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            code, value = 200, {}
            if self.path == "/readyz":
                code = 200 if ready else 503
                value = {"ready": ready} if ready else {"ready": False, "reason": "hears nobody"}
            elif self.path == "/peersdb/status":
                value = {"storeAddress": store, "entries": 0, "process": {"pid": os.getpid()}}
            body = json.dumps(value).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer((options["http-host"], int(options["http-port"])), Handler)
    stop = threading.Event()
    if fault == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: stop.set())
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    stop.wait()
    server.shutdown()


main()
