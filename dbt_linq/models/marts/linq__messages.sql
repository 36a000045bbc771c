{# A message without parts is an event of the system: somebody joined, or a message was deleted. Nobody can say so of a
   table whose `parts` were not loaded. #}
{% set has_parts = linq.is_loaded('messages', 'parts') if execute else true %}

with parts as (
    select
        source_relation,
        message_id,
        count(*) as part_count,
        count(case when type = 'text' then 1 end) as text_part_count,
        count(case when type = 'media' then 1 end) as media_part_count,
        count(case when type = 'link' then 1 end) as link_part_count
    from {{ ref('linq__message_parts') }}
    group by source_relation, message_id
),

reactions as (
    select source_relation, message_id, count(*) as reaction_count
    from {{ ref('stg_linq__reactions') }}
    where removed_at is null
    group by source_relation, message_id
),

{# What webhooks told may be later than what the API last showed of a message that has expired since. #}
events as (
    select
        source_relation,
        message_id,
        min(case when change = 'sent' then happened_at end) as sent_at,
        min(case when change = 'delivered' then happened_at end) as delivered_at,
        min(case when change = 'read' then happened_at end) as read_at,
        max(case when change = 'failed' then happened_at end) as failed_at,
        max(case when change = 'failed' then code end) as failure_code
    from {{ ref('stg_linq__message_events') }}
    where message_id is not null
    group by source_relation, message_id
),

joined as (
    select
        messages.source_relation,
        messages.id as message_id,
        messages.chat_id,
        messages.line,
        messages.direction,
        chats.is_group,
        coalesce({{ linq.json_text('messages.from_handle', 'handle') }}, messages.sender) as sender,
        messages.text,
        parts.part_count,
        parts.text_part_count,
        parts.media_part_count,
        parts.link_part_count,
        {% if has_parts %}messages.parts is null and messages.text is null{% else %}false{% endif %} as is_system_event,
        reactions.reaction_count,
        messages.delivery_status,
        messages.service,
        messages.preferred_service,
        coalesce(chats.service = 'iMessage', false) or coalesce(
            max(case when messages.service = 'iMessage' then 1 else 0 end) over (
                partition by messages.source_relation, messages.chat_id
                order by coalesce(messages.created_at, messages.sent_at)
                rows between unbounded preceding and 1 preceding
            ) = 1,
            false
        ) as is_imessage_chat,
        {{ linq.json_text('messages.reply_to', 'message_id') }} as reply_to_message_id,
        coalesce(messages.created_at, messages.sent_at) as occurred_at,
        messages.created_at,
        coalesce(messages.sent_at, events.sent_at) as sent_at,
        coalesce(messages.delivered_at, events.delivered_at) as delivered_at,
        coalesce(messages.read_at, events.read_at) as read_at,
        events.failed_at,
        events.failure_code,
        messages.reconciled_at,
        messages.expires_at,
        coalesce(messages.source, 'api') as source
    from {{ ref('stg_linq__messages') }} as messages
    left join {{ ref('stg_linq__chats') }} as chats
        on chats.source_relation = messages.source_relation and chats.id = messages.chat_id
    left join parts on parts.source_relation = messages.source_relation and parts.message_id = messages.id
    left join reactions on reactions.source_relation = messages.source_relation and reactions.message_id = messages.id
    left join events on events.source_relation = messages.source_relation and events.message_id = messages.id
)

select
    source_relation,
    message_id,
    chat_id,
    line,
    direction,
    is_group,
    sender,
    text,
    {% for kind in ['part', 'text_part', 'media_part', 'link_part'] -%}
    {# Unknown without `parts`, and none of a line that keeps no content. -#}
    {{ 'coalesce(' ~ kind ~ '_count, 0)' if has_parts else kind ~ '_count' }} as {{ kind }}_count,
    {% endfor -%}
    coalesce(reaction_count, 0) as reaction_count,
    is_system_event,
    {# A delivery can follow a failure; nothing follows that somebody has read it. -#}
    case
        when direction = 'inbound' then delivery_status
        when read_at is not null or delivery_status = 'read' then 'read'
        when delivered_at is not null or delivery_status = 'delivered' then 'delivered'
        when failed_at is not null or delivery_status = 'failed' then 'failed'
        when sent_at is not null and coalesce(delivery_status, 'pending') in ('pending', 'queued') then 'sent'
        else delivery_status
    end as status,
    failure_code,
    service,
    preferred_service,
    coalesce(
        direction = 'outbound'
        and is_imessage_chat
        and service <> 'iMessage'
        and coalesce(preferred_service, 'auto') not in ('RCS', 'SMS'),
        false
    ) as is_downgraded,
    reply_to_message_id,
    occurred_at,
    created_at,
    sent_at,
    delivered_at,
    read_at,
    failed_at,
    reconciled_at,
    expires_at,
    coalesce(expires_at <= {{ linq.as_of() }}, false) as is_expired,
    source
from joined
