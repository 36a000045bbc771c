"""`python -m benchmarks.slow_disk SECONDS MODULE [ARGUMENT ...]`: a program on a disk whose syncs take so much longer.

What many disks of the cloud take for an fsync is milliseconds; that of a workstation takes a fraction of one.
"""

from __future__ import annotations

import os
import runpy
import sys
import time

seconds, module = float(sys.argv[1]), sys.argv[2]
fsync = os.fsync


def slow_fsync(descriptor: int) -> None:
    time.sleep(seconds)
    fsync(descriptor)


os.fsync = slow_fsync
sys.argv[:3] = [module]
runpy.run_module(module, run_name="__main__", alter_sys=True)
