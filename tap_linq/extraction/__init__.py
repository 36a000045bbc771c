"""How messages get out of the API before they expire there, and none is missed.

`plan` has the decisions, as pure functions over plain values: which pass, what is new, what was lost. `state` is what
a run hands on to the next. `line_pass` reads all chats of one line, `chat_reader` one chat, both in the threads of
`worker_pool`; `records` is what comes out, and `conform` makes it fit the schemas. `masking` then takes out of it who
people are and what they wrote, by the rule that `mask_rules` has for each field, where that is asked for.
`shown_reactions` knows which reactions were emitted, `media` stores files, `file_source` knows whether they can be had,
`locations` asks where people are. `chat_lines` says which line a chat or an event is of,
`progress` is for the log. `session` holds what the streams of one run share: the client, the lines, and what failed.
How one list is read to its end although it shifts meanwhile is in `linq_client.sync`.

With `seen_path`, `seen` says which records are new or have changed since earlier runs emitted them, `seen_files` which
files may be believed about that, and `seen_table` what an entry in them looks like.

Where there is a webhook archive, `archive_reader` opens it, `archive_pass` reads on in it after the passes over the
lines, and `archive_state` says how far that has come. `webhook_records` is what comes out of single events,
`opt_outs` says who is out. `archived_messages` says what comes out of messages, `message_fold` puts the events of one
together, `sightings` knows which messages the API has shown in this run, `coverage` what the archive proves about a
gap, and `comparison` where API and events do not agree.
"""
