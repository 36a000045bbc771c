"""How messages get out of the API before they expire there, and none is missed.

`decisions` are pure functions over plain values: what is new, where the bookmark goes, what was lost. `line_pass` reads
all chats of one line. `run` holds what the streams of one run share: the client, the lines, the listings of chats, and
what failed. How one list is read to its end although it shifts meanwhile is in `linq_client.sync`.
"""
