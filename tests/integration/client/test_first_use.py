"""What is imported at its first use is the same for all threads that use it first together."""

from __future__ import annotations

import subprocess
import sys

THREADS = """
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import linq_client
from linq_client import models, webhooks

COUNT = 16
names = [(module, name) for module in (linq_client, models, webhooks) for name in module.__all__]
together = Barrier(COUNT)

def use(number):
    start = number * len(names) // COUNT
    together.wait()
    return {(module.__name__, name): getattr(module, name) for module, name in names[start:] + names[:start]}

with ThreadPoolExecutor(COUNT) as pool:
    first, *others = pool.map(use, range(COUNT))
assert all(one[name] is found for one in others for name, found in first.items())
print(len(first))
"""


def test_threads_that_use_names_first_together() -> None:
    done = subprocess.run([sys.executable, "-c", THREADS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100
