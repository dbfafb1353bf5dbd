"""Users who share files."""

from loadtests.profiles.base import NodeUser, task

# What is large: several blocks, and more than a node holds for all its peers at once.
LARGE_BYTES = 8 << 20


class Contributor(NodeUser):
    """Posts files, on each node in turn, so that every region is a source; their replication is measured."""

    weight = 1

    @task(tag="post")
    def post(self) -> None:
        """Post the next file."""
        payload = self.run_.payload()
        late = self.due()
        self.api.node = self.run_.deal("post") or self.node
        if self.api.post(payload, late=late):
            self.run_.posted(payload, self.api.node)


class LargeContributor(NodeUser):
    """Posts large files as they are, by ``/peersdb/files``."""

    weight = 1

    @task(tag="post")
    def post(self) -> None:
        """Post the next large file."""
        payload = self.run_.payload(LARGE_BYTES)
        late = self.due()
        self.api.node = self.run_.deal("post") or self.node
        if self.api.upload(payload, late=late):
            self.run_.posted(payload, self.api.node)
