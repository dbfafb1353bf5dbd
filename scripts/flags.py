"""Prints docs/flags.md: `python scripts/flags.py > docs/flags.md`."""

import sys

from peersdb.usage import flags_page

sys.stdout.write(flags_page())
