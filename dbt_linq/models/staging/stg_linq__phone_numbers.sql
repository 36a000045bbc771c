{# made by `make docs` from the catalog of tap-linq #}
{{ linq.newest_rows(
    source('linq', 'phone_numbers'),
    key=['id'],
    columns=[
        ['id', 'string', 'id'],
        ['phone_number', 'string', 'phone_number'],
        ['reputation', 'json', 'reputation'],
        ['forwarding_number', 'string', 'forwarding_number'],
        ['line_type', 'string', 'line_type'],
        ['_extra', 'json', '_extra'],
    ],
) }}
