"""All that leans on internals of the Singer SDK, and why; `test_sdk.py` fails where an update changes them.

What the tap needs beyond the SDK's documented face:

- streams whose records come in whatever order, one SCHEMA for each, and records that fit it (`SdkStream`,
  `PushStream`);
- replication methods that are what the streams do (`SdkStream`, `SdkTap`);
- STATE that is ours alone, written when a line is done (`SdkTap`);
- a run that ends with a word and an exit code, and never within a line of output (`SdkTap`, `writer`, `termination`).
"""

from tap_linq.sdk._streams import FULL_TABLE, INCREMENTAL, Context, PushStream, SdkStream, output_names
from tap_linq.sdk._tap import SdkTap

__all__ = ["FULL_TABLE", "INCREMENTAL", "Context", "PushStream", "SdkStream", "SdkTap", "output_names"]
