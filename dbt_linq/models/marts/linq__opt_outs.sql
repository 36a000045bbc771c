with ranked as (
    select
        *,
        {# At the same moment, whoever has opted out stays out. -#}
        row_number() over (
            partition by source_relation, handle order by happened_at desc, case when opted_out then 0 else 1 end
        ) as recency_rank
    from {{ ref('linq__opt_out_events') }}
    where handle is not null
),

people as (
    select
        source_relation,
        handle,
        min(case when opted_out then happened_at end) as first_opted_out_at,
        max(case when opted_out then happened_at end) as last_opted_out_at,
        max(case when recency_rank = 1 and opted_out then 1 else 0 end) as is_out,
        max(case when recency_rank = 1 then evidence end) as evidence,
        max(case when recency_rank = 1 then chat_id end) as chat_id,
        max(case when recency_rank = 1 then line end) as line
    from ranked
    group by source_relation, handle
),

returns as (
    select people.source_relation, people.handle, min(ranked.happened_at) as opted_in_at
    from people
    inner join ranked
        on ranked.source_relation = people.source_relation
        and ranked.handle = people.handle
        and not ranked.opted_out
        and ranked.happened_at > people.last_opted_out_at
    group by people.source_relation, people.handle
)

select
    people.source_relation,
    people.handle,
    people.is_out = 1 as opted_out,
    people.evidence,
    people.first_opted_out_at,
    people.last_opted_out_at,
    returns.opted_in_at,
    people.chat_id,
    people.line
from people
left join returns on returns.source_relation = people.source_relation and returns.handle = people.handle
{# Whoever has only ever written was never out. #}
where people.first_opted_out_at is not null
