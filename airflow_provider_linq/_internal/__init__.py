"""What the provider's own modules share. Nothing here is public: names and files may change with any release.

One rule in each module:

- `operator`: what operators share. `arguments`: what they ask of their arguments.
- `idempotency`: which key a message is sent with, if it is sent at all. `keyed_send`: how it is sent. `destination`:
  where to, and whose message a response is about.
- `at_most_once`: whether a request without a key may be made.
- `once`: what is on record around a request, and what tells a clear from a retry.
- `durable`: what outlives a process, and its format. `key_lifetimes`: how long keys are trusted.
- `in_doubt`: whether the platform has a message whose send got no response.
- `fail_fast`: what ends a task without a retry.
- `uploads`: files in a message. `xcom`: results. `delivery`: how far a message has come.
- `inbound`: which messages are waited for. `polling`: how triggers poll.
- `version_compat`: what differs between versions of Airflow.
"""
