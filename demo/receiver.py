"""`linq-webhooks serve` beside an emulator: `python -m demo.receiver serve ...`.

The receiver refuses deliveries that are older than 5 minutes, or from the future. In the demo days pass in seconds, by
the emulator's clock and not by this machine's, so this check alone is off.
"""

from __future__ import annotations

from linq_client import webhooks
from linq_webhooks.__main__ import main

if __name__ == "__main__":
    webhooks.TOLERANCE_SECONDS = 10**9  # type: ignore[misc]
    main()
