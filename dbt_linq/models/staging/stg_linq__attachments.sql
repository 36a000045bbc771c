{# made by `make docs` from the catalog of tap-linq #}
{{ linq.newest_rows(
    source('linq', 'attachments'),
    key=['message_id', 'part_index'],
    columns=[
        ['message_id', 'string', 'message_id'],
        ['part_index', 'integer', 'part_index'],
        ['chat_id', 'string', 'chat_id'],
        ['line', 'string', 'line'],
        ['observed_at', 'timestamp', 'observed_at'],
        ['attachment_id', 'string', 'attachment_id'],
        ['filename', 'string', 'filename'],
        ['mime_type', 'string', 'mime_type'],
        ['size_bytes', 'integer', 'size_bytes'],
        ['url', 'string', 'url'],
        ['stored_at', 'string', 'stored_at'],
        ['stored_bytes', 'integer', 'stored_bytes'],
        ['sha256', 'string', 'sha256'],
        ['error', 'string', 'error'],
        ['_extra', 'json', '_extra'],
    ],
) }}
