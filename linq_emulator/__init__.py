"""A stateful emulator of the Linq Partner API v3, in memory, on loopback.

Nothing here is imported by a client of the API: the only way in is HTTP. Start it with
``python -m linq_emulator`` or ``linq-emulator``; ``docs/emulator.md`` says how to use it.
"""

from __future__ import annotations
