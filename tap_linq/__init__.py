"""tap-linq: a Singer tap for the Linq Partner API, where messages may expire at the source.

`tap` lists settings and streams, `streams` says what each stream's records are, `extraction` is how nothing gets lost.
The API itself is `linq_client`'s business.
"""
