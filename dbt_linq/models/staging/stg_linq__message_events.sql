{# made by `make docs` from the catalog of tap-linq #}
{{ linq.newest_rows(
    source('linq', 'message_events'),
    key=['id'],
    columns=[
        ['id', 'string', 'id'],
        ['message_id', 'string', 'message_id'],
        ['chat_id', 'string', 'chat_id'],
        ['line', 'string', 'line'],
        ['change', 'string', 'change'],
        ['happened_at', 'timestamp', 'happened_at'],
        ['created_at', 'timestamp', 'created_at'],
        ['service', 'string', 'service'],
        ['code', 'integer', 'code'],
        ['detail_code', 'integer', 'detail_code'],
        ['reason', 'string', 'reason'],
        ['part_index', 'integer', 'part_index'],
        ['text', 'string', 'text'],
        ['text_before', 'string', 'text_before'],
        ['_extra', 'json', '_extra'],
    ],
) }}
