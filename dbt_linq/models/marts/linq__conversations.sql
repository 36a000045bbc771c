with messages as (
    select * from {{ ref('linq__messages') }} where not is_system_event and chat_id is not null
),

counts as (
    select
        source_relation,
        chat_id,
        max(line) as line,
        max(case when direction = 'inbound' then sender end) as sender,
        min(occurred_at) as first_message_at,
        max(occurred_at) as last_message_at,
        count(case when direction = 'inbound' then 1 end) as inbound_count,
        count(case when direction = 'outbound' then 1 end) as outbound_count,
        count(case when direction = 'outbound' and status = 'failed' then 1 end) as failed_count
    from messages
    group by source_relation, chat_id
),

ranked as (
    select
        source_relation,
        chat_id,
        direction,
        row_number() over (
            partition by source_relation, chat_id
            order by occurred_at, case when direction = 'outbound' then 0 else 1 end, message_id
        ) as place
    from messages
    where direction is not null
),

stretches as (
    select
        source_relation,
        chat_id,
        max(case when status = 'open' then first_inbound_at end) as open_since
    from {{ ref('linq__response_times') }}
    group by source_relation, chat_id
),

participants as (
    select
        source_relation,
        chat_id,
        count(*) as participant_count,
        max(handle) as handle
    from {{ ref('stg_linq__chat_participants') }}
    where not coalesce(is_me, false)
    group by source_relation, chat_id
),

chats as (
    {# A message by webhook may be in a chat that no run has listed. #}
    select distinct source_relation, chat_id
    from (
        select source_relation, id as chat_id from {{ ref('stg_linq__chats') }}
        union all
        select source_relation, chat_id from counts
    ) as named
)

select
    chats.source_relation,
    chats.chat_id,
    coalesce(details.line, counts.line) as line,
    details.is_group,
    case when not details.is_group then coalesce(participants.handle, counts.sender) end as contact,
    participants.participant_count,
    details.display_name,
    details.service,
    {{ linq.json_text('details.health_status', 'status') }} as health_status,
    details.created_at,
    counts.first_message_at,
    counts.last_message_at,
    ranked.direction as began_with,
    coalesce(counts.inbound_count, 0) as inbound_count,
    coalesce(counts.outbound_count, 0) as outbound_count,
    coalesce(counts.failed_count, 0) as failed_count,
    case
        when coalesce(counts.inbound_count, 0) + coalesce(counts.outbound_count, 0) = 0 then 'empty'
        when not details.is_group and opt_outs.opted_out then 'opted_out'
        when stretches.open_since is not null then 'open'
        when coalesce(counts.inbound_count, 0) = 0 then 'no_reply'
        else 'answered'
    end as status,
    stretches.open_since
from chats
left join {{ ref('stg_linq__chats') }} as details
    on details.source_relation = chats.source_relation and details.id = chats.chat_id
left join counts on counts.source_relation = chats.source_relation and counts.chat_id = chats.chat_id
left join ranked
    on ranked.source_relation = chats.source_relation and ranked.chat_id = chats.chat_id and ranked.place = 1
left join stretches on stretches.source_relation = chats.source_relation and stretches.chat_id = chats.chat_id
left join participants
    on participants.source_relation = chats.source_relation and participants.chat_id = chats.chat_id
left join {{ ref('linq__opt_outs') }} as opt_outs
    on opt_outs.source_relation = chats.source_relation and opt_outs.handle = coalesce(participants.handle, counts.sender)
