{# made by `make docs` from the catalog of tap-linq #}
{{ linq.newest_rows(
    source('linq', 'campaign_outcomes'),
    key=[],
    columns=[
        ['campaign', 'string', 'campaign'],
        ['row', 'integer', 'input_row'],
        ['to', 'list', 'recipients'],
        ['status', 'string', 'status'],
        ['reason', 'string', 'reason'],
        ['detail', 'string', 'detail'],
        ['code', 'integer', 'code'],
        ['idempotency_key', 'string', 'idempotency_key'],
        ['line', 'string', 'line'],
        ['chat_id', 'string', 'chat_id'],
        ['message_id', 'string', 'message_id'],
        ['created_at', 'timestamp', 'created_at'],
        ['replaces', 'string', 'replaces'],
    ],
) }}
