{# made by `make docs` from the catalog of tap-linq #}
{{ linq.newest_rows(
    source('linq', 'chats'),
    key=['id'],
    columns=[
        ['id', 'string', 'id'],
        ['line', 'string', 'line'],
        ['display_name', 'string', 'display_name'],
        ['service', 'string', 'service'],
        ['is_group', 'boolean', 'is_group'],
        ['is_archived', 'boolean', 'is_archived'],
        ['group_chat_icon', 'string', 'group_chat_icon'],
        ['handles', 'json', 'handles'],
        ['health_status', 'json', 'health_status'],
        ['created_at', 'timestamp', 'created_at'],
        ['updated_at', 'timestamp', 'updated_at'],
        ['_extra', 'json', '_extra'],
    ],
) }}
