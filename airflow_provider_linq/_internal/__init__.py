"""What the provider's own modules share. Nothing here is public: names and files may change with any release.

One rule in each module:

- `operator`: what operators share; `send_operator`: what those share that send; `sensor`: what sensors share.
  `arguments`: what they ask of their arguments. `rendering`: which of these are templates. `branching`: results that
  decide how the run continues.
- `idempotency`: which key a message is sent with, if it is sent at all. `keyed_send`: how it is sent. `destination`:
  where to, and whose message a response is about. `not_after`: until when.
- `at_most_once`: whether a request without a key may be made.
- `once`: what is on record around a request, and what tells a clear from a retry. `run_start`: since when there may
  have been requests of which nothing is on record.
- `durable`: what outlives a process, and its format. `key_lifetimes`: how long keys are trusted.
- `in_doubt`: whether the platform has a message whose send got no response.
- `fail_fast`: what ends a task without a retry.
- `uploads`: files in a message. `files`: files that are written. `xcom`: results. `delivery`: how far a message has
  come.
- `inbound`: how messages are waited for. `archive`: the same without the API. `message_filter`: which match.
  `text_search`: what they say. `inbound_watch`: what a watcher does at each poll. `inbound_cursor`: how far it has
  come. `polling`: how triggers poll.
- `tap_process`: the tap, as a process. `secret_variable`: signing secrets of webhooks in a Variable.
  `mounted_receiver`: the receiver of webhooks in the API server. `mounted_outcomes`: outcomes of campaigns there.
- `version_compat`: what differs between versions of Airflow.
"""
