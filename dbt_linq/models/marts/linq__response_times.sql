with said as (
    select
        *,
        direction = 'inbound' as is_inbound
    from {{ ref('linq__messages') }}
    where not is_system_event
        and occurred_at is not null
        and chat_id is not null
        {# Nobody got a message that has failed, so it answers nothing. -#}
        and (direction = 'inbound' or (direction = 'outbound' and coalesce(status, '') <> 'failed'))
),

placed as (
    select
        *,
        {# Of the same moment, what was sent can't answer what came in. -#}
        row_number() over (
            partition by source_relation, chat_id
            order by occurred_at, case when is_inbound then 1 else 0 end, message_id
        ) as place
    from said
),

marked as (
    select
        *,
        case
            when is_inbound
                and not coalesce(lag(is_inbound) over (partition by source_relation, chat_id order by place), false)
            then 1 else 0
        end as begins
    from placed
),

numbered as (
    select *, sum(begins) over (partition by source_relation, chat_id order by place) as stretch from marked
),

stretches as (
    select
        source_relation,
        chat_id,
        stretch,
        max(line) as line,
        max(case when is_group then 1 else 0 end) = 1 as is_group,
        max(case when begins = 1 then message_id end) as first_message_id,
        min(case when is_inbound then occurred_at end) as first_inbound_at,
        max(case when is_inbound then occurred_at end) as last_inbound_at,
        count(case when is_inbound then 1 end) as inbound_count,
        min(case when not is_inbound then place end) as answer_place,
        min(case when not is_inbound then occurred_at end) as answered_at
    from numbered
    {# 0 is what was sent before anything came in. #}
    where stretch > 0
    group by source_relation, chat_id, stretch
),

opt_outs as (
    select distinct source_relation, message_id
    from {{ ref('linq__opt_out_events') }}
    where opted_out and message_id is not null
),

opted_out as (
    select distinct numbered.source_relation, numbered.chat_id, numbered.stretch
    from numbered
    inner join opt_outs
        on opt_outs.source_relation = numbered.source_relation and opt_outs.message_id = numbered.message_id
    inner join stretches
        on stretches.source_relation = numbered.source_relation
        and stretches.chat_id = numbered.chat_id
        and stretches.stretch = numbered.stretch
        and stretches.last_inbound_at = numbered.occurred_at
    where numbered.is_inbound
),

calendar as (
    {{ linq.business_calendar('stretches', 'first_inbound_at', 'answered_at') | indent }}
)

select
    stretches.source_relation,
    stretches.chat_id,
    stretches.first_message_id,
    stretches.line,
    stretches.is_group,
    stretches.inbound_count,
    stretches.first_inbound_at,
    stretches.last_inbound_at,
    answers.message_id as answer_message_id,
    stretches.answered_at,
    case
        when stretches.answered_at is not null then 'answered'
        when opted_out.stretch is not null then 'opted_out'
        else 'open'
    end as status,
    {{ linq.seconds_between('stretches.first_inbound_at', 'stretches.answered_at') }} as calendar_seconds,
    {{ linq.business_seconds_until('stretches.answered_at', 'day_of_answer') }}
    - {{ linq.business_seconds_until('stretches.first_inbound_at', 'first_day') }} as business_seconds
from stretches
left join numbered as answers
    on answers.source_relation = stretches.source_relation
    and answers.chat_id = stretches.chat_id
    and answers.place = stretches.answer_place
left join opted_out
    on opted_out.source_relation = stretches.source_relation
    and opted_out.chat_id = stretches.chat_id
    and opted_out.stretch = stretches.stretch
left join calendar as first_day on first_day.local_date = {{ linq.business_date('stretches.first_inbound_at') }}
left join calendar as day_of_answer on day_of_answer.local_date = {{ linq.business_date('stretches.answered_at') }}
