"""The end of a process: it comes within a time, whatever the process waits for."""

import faulthandler
import signal

_SAYING_SECONDS = 1.0
_STANDARD_ERROR = 2


def end_within(seconds: float) -> None:
    """See to it that this process is gone after so long, and a second; it says before where each thread of it stands.

    May be called from a signal handler.
    """
    # Neither needs anything of Python's to go on, nor does the alarm need a reader of what is said.
    faulthandler.dump_traceback_later(seconds, file=_STANDARD_ERROR)
    signal.setitimer(signal.ITIMER_REAL, seconds + _SAYING_SECONDS)
