with gaps as (
    select * from {{ ref('stg_linq__extraction_gaps') }}
),

covered as (
    select
        gaps.source_relation,
        gaps.id,
        sum({{ linq.seconds_between(
            linq.json_instant('flattened.value', 'start'), linq.json_instant('flattened.value', 'end')
        ) }}) as covered_seconds
    from gaps
    {{ linq.flatten('gaps.covered') }}
    group by gaps.source_relation, gaps.id
),

recovered as (
    select gaps.source_relation, gaps.id, count(*) as message_count
    from gaps
    inner join {{ ref('linq__messages') }} as messages
        on messages.source_relation = gaps.source_relation
        and messages.line = gaps.line
        and messages.source = 'webhook'
        and messages.occurred_at < gaps.gap_end
        and (gaps.gap_start is null or messages.occurred_at >= gaps.gap_start)
    group by gaps.source_relation, gaps.id
)

select
    gaps.source_relation,
    gaps.id as gap_id,
    gaps.line,
    gaps.gap_start,
    gaps.gap_end,
    gaps.detected_at,
    gaps.reason,
    {{ linq.seconds_between('gaps.gap_start', 'gaps.gap_end') }} as gap_seconds,
    coalesce(gaps.archive_coverage, 'none') as archive_coverage,
    case
        when gaps.archive_coverage = 'full' then {{ linq.seconds_between('gaps.gap_start', 'gaps.gap_end') }}
        else coalesce(covered.covered_seconds, 0)
    end as covered_seconds,
    coalesce(recovered.message_count, 0) as recovered_message_count,
    coalesce(gaps.archive_coverage, 'none') <> 'full' as may_lack_messages
from gaps
left join covered on covered.source_relation = gaps.source_relation and covered.id = gaps.id
left join recovered on recovered.source_relation = gaps.source_relation and recovered.id = gaps.id
