"""What the provider's own modules share. Nothing here is public: names and files may change with any release.

One rule in each module:

- `arguments`: what operators ask of their arguments.
- `idempotency`: which key a message is sent with. `at_most_once`: whether a request without a key may be made.
- `durable`: what outlives a process, and its format. `key_lifetimes`: how long keys are trusted.
- `in_doubt`: whether the platform has a message whose send was never answered.
- `fail_fast`: what ends a task without a retry.
- `uploads`: files in a message. `xcom`: results. `delivery`: how far a message has come.
- `inbound`: which messages are waited for. `polling`: how triggers ask.
"""
