"""Runs one program as its only child and tells what that took: `launcher.py FD PROGRAM [ARGUMENT ...]`.

The kernel counts the memory of a parent, at the moment of the start, into the peak of its child. So this is a process
of its own that imports next to nothing: its few megabytes are always less than what is measured. To the file descriptor
FD it writes status, seconds from start to end, seconds of CPU (user and system), and the peak as the kernel counts it.
"""

from __future__ import annotations

import os
import sys
from time import perf_counter

started = perf_counter()
child = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(child, 0)
seconds = perf_counter() - started
code = os.waitstatus_to_exitcode(status)
report = f"{code} {seconds} {usage.ru_utime + usage.ru_stime} {usage.ru_maxrss}"
os.write(int(sys.argv[1]), report.encode())
