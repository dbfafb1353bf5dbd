"""For all tests: signals as a terminal gives them, and examples that may take their time.

A shell that starts a program in the background lets it ignore SIGINT, and so would every process that a test starts
and then interrupts.
"""

import signal

from hypothesis import settings

for _number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _number == signal.SIGINT else signal.SIG_DFL)

# How long an example takes says more of the machine's other work than of the code.
settings.register_profile("peersdb", deadline=None)
settings.load_profile("peersdb")
