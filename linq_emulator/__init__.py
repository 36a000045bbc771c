"""A stateful emulator of the Linq Partner API v3, in memory, on loopback.

Clients of the API import nothing of this package; they reach it over HTTP. Public are the command line
(``linq-emulator`` or ``python -m linq_emulator``), the control API and `linq_emulator.testing` for tests; every other
module may change. ``docs/emulator.md`` says how to use it.
"""

from __future__ import annotations
