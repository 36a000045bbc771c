{# made by `make docs` from the catalog of tap-linq #}
{{ linq.newest_rows(
    source('linq', 'webhook_gaps'),
    key=['id'],
    columns=[
        ['id', 'string', 'id'],
        ['line', 'string', 'line'],
        ['compared_from', 'timestamp', 'compared_from'],
        ['compared_until', 'timestamp', 'compared_until'],
        ['detected_at', 'timestamp', 'detected_at'],
        ['shown', 'integer', 'shown'],
        ['unannounced', 'integer', 'unannounced'],
        ['unannounced_ids', 'json', 'unannounced_ids'],
        ['announced', 'integer', 'announced'],
        ['unlisted', 'integer', 'unlisted'],
        ['unlisted_ids', 'json', 'unlisted_ids'],
        ['_extra', 'json', '_extra'],
    ],
) }}
