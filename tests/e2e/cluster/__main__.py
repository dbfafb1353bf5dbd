"""The harness's command line: ``python -m cluster --help``."""

import sys

from cluster.cli import main

sys.exit(main())
