"""Users who look for files and get them."""

from loadtests.profiles.base import NodeUser, task


class Reader(NodeUser):
    """Asks what there is, and gets some of it."""

    weight = 2

    @task(1, tag="query")
    def query(self) -> None:
        """Ask for all contributions."""
        entries = self.api.query(late=self.due())
        if entries:
            self.run_.known(self.api.node, [entry["path"] for entry in entries])

    @task(3, tag="get")
    def get(self) -> None:
        """Get a file that this node is known to list; the first time, ask."""
        path = self.run_.pick(self.node)
        if path is None:
            self.query()
        else:
            self.api.get(path, late=self.due(), size=self.run_.size_of(path))


class LargeReader(NodeUser):
    """Gets the large files that were posted from here, on each node in turn."""

    weight = 1

    @task(tag="get")
    def get(self) -> None:
        """Get one of the newest files; before there is one, let the moment pass."""
        late = self.due()
        if self.run_.recent:
            path = self.run_.rng.choice(self.run_.recent)
            self.api.node = self.run_.deal("get") or self.node
            self.api.get(path, late=late, size=self.run_.size_of(path))
