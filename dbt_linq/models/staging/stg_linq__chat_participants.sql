{# made by `make docs` from the catalog of tap-linq #}
{{ linq.newest_rows(
    source('linq', 'chat_participants'),
    key=['chat_id', 'handle'],
    columns=[
        ['chat_id', 'string', 'chat_id'],
        ['handle', 'string', 'handle'],
        ['line', 'string', 'line'],
        ['id', 'string', 'id'],
        ['joined_at', 'timestamp', 'joined_at'],
        ['left_at', 'timestamp', 'left_at'],
        ['service', 'string', 'service'],
        ['is_me', 'boolean', 'is_me'],
        ['status', 'string', 'status'],
        ['line_type', 'string', 'line_type'],
        ['observed_at', 'timestamp', 'observed_at'],
        ['_extra', 'json', '_extra'],
    ],
) }}
