"""tap-linq: a Singer tap for the Linq Partner API, where messages may expire at the source.

`tap` lists settings and streams, `streams` says what each stream's records are, `sdk` holds what leans on internals of
the Singer SDK, `extraction` is how nothing gets lost. The API itself is `linq_client`'s business.

Stable are the command `tap-linq`, the class `tap_linq.tap.TapLinq`, settings, streams and STATE. All else may change.
"""
