"""A load test's master: the control API of a run, as the operator meets it."""

import contextlib
import json

from aiohttp import web

SUMMARY = {
    "passed": True,
    "headline": {
        "requests.rate": {"value": 120.5, "ci95": None, "repeats": 1},
        "post.p50": {"value": 0.0042, "ci95": None, "repeats": 1},
        "replication.p99": {"value": 0.0313, "ci95": None, "repeats": 1},
        "join.max": {"value": 4.5, "ci95": None, "repeats": 1},
    },
    "thresholds": [{"metric": "replication.p99", "limit": "500ms", "value": 0.0313, "passed": True}],
}
RUNNING = {
    "state": "running", "passed": None, "stage": "repeat 1/1", "done": 0.37, "elapsed": 22.0, "users": 6,
    "workers": 1, "expectedWorkers": 1, "requests": 810, "failures": 0,
    "replication": {"p50": 0.01, "p99": 0.04, "count": 70}, "wants": None, "problems": [],
}  # fmt: skip


class Master:
    """One master.

    Attributes:
        progress: what it says of the run.
        files: the results.
        token: that it wants; None: any.
        events: what it was told.
        collected: whether it may end.
        deaf: whether it answers nobody.
    """

    def __init__(self):
        self.progress = {**RUNNING, "state": "waiting", "done": 0.0}
        self.files = {
            "summary.json": json.dumps(SUMMARY).encode(),
            "run.json": b'{"seed": 1}',
            "report.html": b"<html>" + b"x" * 50_000,
            "samples.csv": b"kind,seconds\npost,0.1\n" * 2000,
            "plots/cdf.png": b"\x89PNG",
        }
        self.token, self.events, self.collected, self.deaf = None, [], 0, False
        self.tokens = set()

    def runs(self, **fields):
        self.progress = {**RUNNING, **fields}

    def ends(self, *, passed=True, summary=None, **fields):
        if summary is not None:
            self.files["summary.json"] = json.dumps(summary).encode()
        self.progress = {**RUNNING, "state": "done", "done": 1.0, "passed": passed, **fields}

    def told(self, kind):
        return [event for event in self.events if event["kind"] == kind]

    @contextlib.asynccontextmanager
    async def served(self):
        """Serve on loopback; gives the port."""
        app = web.Application(middlewares=[self._judge])
        app.router.add_get("/v1/progress", self._progress)
        app.router.add_post("/v1/events", self._event)
        app.router.add_get("/v1/results/", self._listing)
        app.router.add_get("/v1/results/{name:.+}", self._file)
        app.router.add_post("/v1/collected", self._collected)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield runner.addresses[0][1]
        finally:
            await runner.cleanup()

    @web.middleware
    async def _judge(self, request, handler):
        if self.deaf:
            raise web.HTTPServiceUnavailable
        sent = request.headers.get("Authorization", "")
        self.tokens.add(sent)
        if self.token is not None and sent != f"Bearer {self.token}":
            raise web.HTTPUnauthorized
        return await handler(request)

    async def _progress(self, _request):
        return web.json_response(self.progress)

    async def _event(self, request):
        self.events.append(await request.json())
        return web.Response(status=204)

    async def _listing(self, _request):
        if self.progress["state"] != "done":
            raise web.HTTPConflict
        return web.json_response({"files": {name: len(content) for name, content in self.files.items()}})

    async def _file(self, request):
        if request.match_info["name"] not in self.files:
            raise web.HTTPNotFound
        return web.Response(body=self.files[request.match_info["name"]])

    async def _collected(self, _request):
        self.collected += 1
        return web.Response(status=204)
