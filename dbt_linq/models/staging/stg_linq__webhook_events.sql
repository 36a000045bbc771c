{# made by `make docs` from the catalog of tap-linq #}
{{ linq.newest_rows(
    source('linq', 'webhook_events'),
    key=['id'],
    columns=[
        ['id', 'string', 'id'],
        ['event_type', 'string', 'event_type'],
        ['message_id', 'string', 'message_id'],
        ['chat_id', 'string', 'chat_id'],
        ['line', 'string', 'line'],
        ['data', 'json', 'data'],
        ['created_at', 'timestamp', 'created_at'],
        ['received_at', 'timestamp', 'received_at'],
        ['subscription_id', 'string', 'subscription_id'],
        ['webhook_version', 'string', 'webhook_version'],
        ['api_version', 'string', 'api_version'],
        ['trace_id', 'string', 'trace_id'],
        ['partner_id', 'string', 'partner_id'],
        ['error', 'string', 'error'],
        ['body', 'string', 'body'],
        ['_extra', 'json', '_extra'],
    ],
) }}
