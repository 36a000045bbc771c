{# made by `make docs` from the catalog of tap-linq #}
{{ linq.newest_rows(
    source('linq', 'reactions'),
    key=['id'],
    columns=[
        ['id', 'string', 'id'],
        ['message_id', 'string', 'message_id'],
        ['part_index', 'integer', 'part_index'],
        ['chat_id', 'string', 'chat_id'],
        ['line', 'string', 'line'],
        ['observed_at', 'timestamp', 'observed_at'],
        ['type', 'string', 'type'],
        ['custom_emoji', 'string', 'custom_emoji'],
        ['is_me', 'boolean', 'is_me'],
        ['handle', 'json', 'handle'],
        ['sticker', 'json', 'sticker'],
        ['removed_at', 'timestamp', 'removed_at'],
        ['_extra', 'json', '_extra'],
    ],
) }}
