{# made by `make docs` from the catalog of tap-linq #}
{{ linq.newest_rows(
    source('linq', 'opt_outs'),
    key=['id'],
    columns=[
        ['id', 'string', 'id'],
        ['handle', 'string', 'handle'],
        ['opted_out', 'boolean', 'opted_out'],
        ['evidence', 'string', 'evidence'],
        ['happened_at', 'timestamp', 'happened_at'],
        ['chat_id', 'string', 'chat_id'],
        ['line', 'string', 'line'],
        ['message_id', 'string', 'message_id'],
        ['event_id', 'string', 'event_id'],
        ['_extra', 'json', '_extra'],
    ],
) }}
