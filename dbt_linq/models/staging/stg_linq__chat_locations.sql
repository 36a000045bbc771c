{# made by `make docs` from the catalog of tap-linq #}
{{ linq.newest_rows(
    source('linq', 'chat_locations'),
    key=['chat_id', 'handle'],
    columns=[
        ['chat_id', 'string', 'chat_id'],
        ['handle', 'string', 'handle'],
        ['line', 'string', 'line'],
        ['geometry', 'json', 'geometry'],
        ['address', 'string', 'address'],
        ['locality', 'string', 'locality'],
        ['updated_at', 'timestamp', 'updated_at'],
        ['observed_at', 'timestamp', 'observed_at'],
        ['_extra', 'json', '_extra'],
    ],
) }}
