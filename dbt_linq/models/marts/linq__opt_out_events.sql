with contacts as (
    select
        participants.source_relation,
        participants.chat_id,
        max(participants.handle) as handle
    from {{ ref('stg_linq__chat_participants') }} as participants
    inner join {{ ref('stg_linq__chats') }} as chats
        on chats.source_relation = participants.source_relation and chats.id = participants.chat_id
    where not chats.is_group and not coalesce(participants.is_me, false)
    group by participants.source_relation, participants.chat_id
),

from_webhooks as (
    select
        source_relation,
        handle,
        opted_out,
        evidence,
        happened_at,
        chat_id,
        line,
        message_id
    from {{ ref('stg_linq__opt_outs') }}
),

{# Without a webhook archive, or for what came before there was one. A text that was not loaded, or
   is encrypted, says nothing. #}
from_messages as (
    select
        source_relation,
        sender as handle,
        is_word as opted_out,
        case when is_word then 'keyword' else 'message' end as evidence,
        occurred_at as happened_at,
        chat_id,
        line,
        message_id
    from (
        select
            *,
            coalesce(
                {{ linq.is_opt_out_word('text') }} and coalesce(part_count, 1) = 1 and coalesce(text_part_count, 1) = 1,
                false
            ) as is_word
        from {{ ref('linq__messages') }}
        where direction = 'inbound'
            and not is_system_event
            and (
                (text is not null and not {{ linq.is_encrypted('text') }})
                or (text is null and part_count > 0 and text_part_count = 0)
            )
    ) as received
    {# In a group nobody opts out with a word. #}
    where not (is_word and coalesce(is_group, false))
),

from_chats as (
    select
        source_relation,
        cast(null as {{ linq.type_of('string') }}) as handle,
        true as opted_out,
        'health_status' as evidence,
        {{ linq.json_instant('health_status', 'updated_at') }} as happened_at,
        id as chat_id,
        line,
        cast(null as {{ linq.type_of('string') }}) as message_id
    from {{ ref('stg_linq__chats') }}
    where {{ linq.json_text('health_status', 'status') }} = 'OPTED_OUT'
),

combined as (
    select *, 1 as preference from from_webhooks
    union all
    select *, 2 as preference from from_messages
    union all
    select *, 2 as preference from from_chats
),

{# What an event does not tell, its chat does. #}
named as (
    select
        combined.source_relation,
        coalesce(combined.handle, contacts.handle) as handle,
        combined.opted_out,
        combined.evidence,
        combined.happened_at,
        combined.chat_id,
        coalesce(combined.line, chats.line) as line,
        combined.message_id,
        combined.preference
    from combined
    left join contacts on contacts.source_relation = combined.source_relation and contacts.chat_id = combined.chat_id
    left join {{ ref('stg_linq__chats') }} as chats
        on chats.source_relation = combined.source_relation and chats.id = combined.chat_id
    where combined.happened_at is not null
),

ranked as (
    select
        *,
        row_number() over (
            partition by
                source_relation,
                opted_out,
                evidence,
                message_id,
                {# What a message says, it says once, whatever the times of API and events. -#}
                case when message_id is null then happened_at end,
                case when message_id is null then chat_id end,
                case when message_id is null then handle end
            order by preference, happened_at
        ) as occurrence
    from named
)

select
    source_relation,
    handle,
    opted_out,
    evidence,
    happened_at,
    chat_id,
    line,
    message_id
from ranked
where occurrence = 1
