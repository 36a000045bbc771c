"""The places where an archive can be, one module each; `linq_webhooks.archive.open_archive` chooses among them.

`files` keeps segments in a folder or an object store: `_segments` says how they are named and read, `_listings` how a
listing misses none, `_segment_writers` how they are written, `_positions` what a reader has read of them, `_compaction`
how many small ones become one.
`database` keeps one table. `brokers` publishes to a distributed log.
"""

from __future__ import annotations
