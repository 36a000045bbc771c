"""An emulator that ends with the process that has started it: `python -m linq_emulator._test_process <options>`.

Its standard input says when: nothing is ever written to that, and it is closed when the other process ends, however it
does.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

from linq_emulator.__main__ import main

__all__: list[str] = []


def _end_with_starter() -> None:
    # Not `sys.stdin`, whose lock a thread would hold when the interpreter ends.
    os.read(sys.stdin.fileno(), 1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_end_with_starter, daemon=True).start()
    main()
