"""``peersdb-loadtest``: locust with the load tests' own file; all of locust's options, and ours, follow."""

import sys
from pathlib import Path

FILE = Path(__file__).with_name("locustfile.py")


def main() -> None:
    """Run locust; it ends the process with the run's exit code."""
    from locust.main import main as locust  # noqa: PLC0415  # it patches the standard library as it comes

    if not {"-f", "--locustfile"} & set(sys.argv):
        sys.argv[1:1] = ["-f", str(FILE)]
    locust()


if __name__ == "__main__":
    main()
