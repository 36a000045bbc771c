"""How long the platform is assumed to know an idempotency key, and how late it is assumed to act on a request.

The API documents neither. All rules that depend on them take them from here. Ages are by the API's clock.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

#: A send in doubt is repeated with its key for so long; after that, the chat is read first. It is short, because a look
#: costs a few requests and a forgotten key costs somebody a second message.
KEY_TRUST: Final = timedelta(minutes=30)

#: A request that got no answer may be accepted for so long after it was made: gateways and queues hold requests for
#: minutes. A message that is missing from its chat counts as not sent only if its last request is older.
LATE_ACCEPTANCE: Final = timedelta(minutes=5)

#: A message that was accepted may be missing from lists for so long. Where the next request may be made from another
#: line, on which the platform may not know the key, nothing is sent again before.
LIST_LAG: Final = timedelta(seconds=10)

#: How far `created_at` of a message may be behind the `Date` of the response that accepted it.
CLOCK_SKEW: Final = timedelta(minutes=2)
