"""For all tests: signals as a terminal gives them.

A shell that starts a program in the background lets it ignore SIGINT, and so would every process that a test starts
and then interrupts.
"""

import signal

for _number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _number == signal.SIGINT else signal.SIG_DFL)
