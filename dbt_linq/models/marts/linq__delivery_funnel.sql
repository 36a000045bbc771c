with sent as (
    select
        *,
        {{ linq.date_in('occurred_at') }} as day,
        status in ('sent', 'delivered', 'read') or (status = 'failed' and sent_at is not null) as is_sent,
        {# SMS ends at sent, and no receipt ever comes from a group. -#}
        service in ('iMessage', 'RCS') and not coalesce(is_group, false) as has_receipts
    from {{ ref('linq__messages') }}
    where direction = 'outbound' and not is_system_event and occurred_at is not null
)

select
    source_relation,
    line,
    day,
    service,
    count(*) as message_count,
    count(case when status in ('pending', 'queued') then 1 end) as waiting_count,
    count(case when is_sent then 1 end) as sent_count,
    count(case when status in ('delivered', 'read') then 1 end) as delivered_count,
    count(case when status = 'read' then 1 end) as read_count,
    count(case when status = 'failed' then 1 end) as failed_count,
    count(case when is_downgraded then 1 end) as downgraded_count,
    count(case when has_receipts and is_sent then 1 end) as sent_with_receipts_count,
    1.0 * count(case when has_receipts and status in ('delivered', 'read') then 1 end)
        / nullif(count(case when has_receipts and is_sent then 1 end), 0) as delivered_rate,
    1.0 * count(case when has_receipts and status = 'read' then 1 end)
        / nullif(count(case when has_receipts and status in ('delivered', 'read') then 1 end), 0) as read_rate,
    1.0 * count(case when status = 'failed' then 1 end) / count(*) as failed_rate
from sent
group by source_relation, line, day, service
