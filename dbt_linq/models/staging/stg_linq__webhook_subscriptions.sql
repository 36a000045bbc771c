{# made by `make docs` from the catalog of tap-linq #}
{{ linq.newest_rows(
    source('linq', 'webhook_subscriptions'),
    key=['id'],
    columns=[
        ['id', 'string', 'id'],
        ['target_url', 'string', 'target_url'],
        ['subscribed_events', 'json', 'subscribed_events'],
        ['is_active', 'boolean', 'is_active'],
        ['phone_numbers', 'json', 'phone_numbers'],
        ['routing_key_header', 'string', 'routing_key_header'],
        ['routing_id_header', 'string', 'routing_id_header'],
        ['created_at', 'timestamp', 'created_at'],
        ['updated_at', 'timestamp', 'updated_at'],
        ['_extra', 'json', '_extra'],
    ],
) }}
