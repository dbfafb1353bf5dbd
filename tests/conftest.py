"""For all tests: signals as a terminal gives them, examples that may take their time, and which process runs what.

A shell that starts a program in the background lets it ignore SIGINT, and so would every process that a test starts
and then interrupts.
"""

import signal

import pytest
from hypothesis import settings
from xdist.scheduler import LoadFileScheduling

for _number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _number == signal.SIGINT else signal.SIG_DFL)

# How long an example takes says more of the machine's other work than of the code.
settings.register_profile("peersdb", deadline=None)
settings.load_profile("peersdb")


#: Tests that share a server (see its conftest.py): it takes seconds to start, and a tenth of a core at rest.
SHARING = "tests/operator_api/"


class OneServer(LoadFileScheduling):
    """A file is one process's; and of all that share the server the quick tests are one's, first, as they wait most."""

    def _split_scope(self, nodeid):
        return SHARING if nodeid.startswith(SHARING) else super()._split_scope(nodeid)


def _shares(config):
    # The long ones are too many for one process.
    return config.getoption("dist", "no") == "loadfile" and config.getoption("markexpr") == "not slow"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    return OneServer(config, log) if _shares(config) else None


def pytest_collection_modifyitems(config, items):
    if config.getoption("markexpr") == "not slow":
        items.sort(key=lambda item: not item.nodeid.startswith(SHARING))
