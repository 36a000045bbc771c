with chat_days as (
    select
        source_relation,
        line,
        chat_id,
        {{ linq.date_in('occurred_at') }} as day,
        count(case when direction = 'outbound' then 1 end) as sent_count,
        count(case when direction = 'inbound' then 1 end) as received_count,
        {# A message that has failed was not written to anybody. -#}
        min(case when direction = 'outbound' and coalesce(status, '') <> 'failed' then occurred_at end) as first_sent_at,
        max(case when direction = 'inbound' then occurred_at end) as last_received_at
    from {{ ref('linq__messages') }}
    where not is_system_event and occurred_at is not null and line is not null
    group by source_relation, line, chat_id, {{ linq.date_in('occurred_at') }}
),

days as (
    select
        source_relation,
        line,
        day,
        sum(sent_count) as sent_count,
        sum(received_count) as received_count
    from chat_days
    group by source_relation, line, day
),

{# The 7 days that end with each day. #}
weeks as (
    select
        days.source_relation,
        days.line,
        days.day,
        chat_days.chat_id,
        min(chat_days.first_sent_at) as first_sent_at,
        max(chat_days.last_received_at) as last_received_at
    from days
    inner join chat_days
        on chat_days.source_relation = days.source_relation
        and chat_days.line = days.line
        and chat_days.day <= days.day
        and chat_days.day > {{ linq.days_after('days.day', -7) }}
    group by days.source_relation, days.line, days.day, chat_days.chat_id
),

replies as (
    select
        source_relation,
        line,
        day,
        count(*) as written_to_count,
        count(case when last_received_at > first_sent_at then 1 end) as replied_count
    from weeks
    where first_sent_at is not null
    group by source_relation, line, day
),

opt_outs as (
    select
        days.source_relation,
        days.line,
        days.day,
        count(distinct coalesce(events.handle, events.chat_id)) as opt_out_count
    from days
    inner join {{ ref('linq__opt_out_events') }} as events
        on events.source_relation = days.source_relation
        and events.line = days.line
        and {{ linq.date_in('events.happened_at') }} <= days.day
        and {{ linq.date_in('events.happened_at') }} > {{ linq.days_after('days.day', -7) }}
    where events.opted_out
    group by days.source_relation, days.line, days.day
),

new_chats as (
    select
        source_relation,
        line,
        {{ linq.date_in('coalesce(created_at, first_message_at)') }} as day,
        count(*) as new_chat_count
    from {{ ref('linq__conversations') }}
    where began_with = 'outbound'
    group by source_relation, line, {{ linq.date_in('coalesce(created_at, first_message_at)') }}
)

select
    days.source_relation,
    days.line,
    days.day,
    days.sent_count,
    days.received_count,
    coalesce(new_chats.new_chat_count, 0) as new_chat_count,
    coalesce(new_chats.new_chat_count, 0) > {{ var('linq_new_chats_per_day') }} as has_too_many_new_chats,
    coalesce(replies.written_to_count, 0) as written_to_7d,
    coalesce(replies.replied_count, 0) as replied_7d,
    1.0 * replies.replied_count / replies.written_to_count as reply_rate_7d,
    coalesce(1.0 * replies.replied_count / replies.written_to_count < {{ var('linq_reply_rate') }}, false) as is_below_reply_rate,
    coalesce(opt_outs.opt_out_count, 0) as opted_out_7d,
    1.0 * coalesce(opt_outs.opt_out_count, 0) / replies.written_to_count as opt_out_rate_7d,
    {{ linq.json_text('lines.reputation', 'status') }} as reputation_now
from days
left join replies
    on replies.source_relation = days.source_relation and replies.line = days.line and replies.day = days.day
left join opt_outs
    on opt_outs.source_relation = days.source_relation and opt_outs.line = days.line and opt_outs.day = days.day
left join new_chats
    on new_chats.source_relation = days.source_relation and new_chats.line = days.line and new_chats.day = days.day
left join {{ ref('stg_linq__phone_numbers') }} as lines
    on lines.source_relation = days.source_relation and lines.phone_number = days.line
