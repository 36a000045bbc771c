{# made by `make docs` from the catalog of tap-linq #}
{{ linq.newest_rows(
    source('linq', 'extraction_gaps'),
    key=['id'],
    columns=[
        ['id', 'string', 'id'],
        ['line', 'string', 'line'],
        ['gap_start', 'timestamp', 'gap_start'],
        ['gap_end', 'timestamp', 'gap_end'],
        ['last_complete_pass', 'timestamp', 'last_complete_pass'],
        ['window_hours', 'number', 'window_hours'],
        ['detected_at', 'timestamp', 'detected_at'],
        ['reason', 'string', 'reason'],
        ['archive_coverage', 'string', 'archive_coverage'],
        ['covered', 'json', 'covered'],
        ['_extra', 'json', '_extra'],
    ],
) }}
