"""Users who ask whether files are valid."""

from loadtests.profiles.base import NodeUser, task


class Validator(NodeUser):
    """Asks one node of the files that it lists, whether they are valid; what it answers is checked for its form."""

    weight = 1

    @task(tag="isvalid")
    def isvalid(self) -> None:
        """Ask of one file; the first time, ask what there is."""
        path = self.run_.pick(self.node)
        if path is not None:
            self.api.isvalid(path, late=self.due())
            return
        entries = self.api.query(late=self.due())
        if entries:
            self.run_.known(self.api.node, [entry["path"] for entry in entries])
