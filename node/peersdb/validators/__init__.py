"""Validators: what judges a file, and the sandbox in which it does.

A validator is a function ``check(file, options) -> Finding`` that a package names in the entry-point group
``peersdb.validators``. It runs in a process of its own, forked for one file (`peersdb.validators.sandbox`); which
validators look at which file is told by rules (`peersdb.validators.rules`).

What a validator needs is here, and importing it costs nothing else: ``from peersdb.validators import File, Finding``.
"""

from peersdb.validators.api import File, Finding, OptionsError, abstain, invalid, valid

__all__ = ["File", "Finding", "OptionsError", "abstain", "invalid", "valid"]
