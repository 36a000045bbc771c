with outcomes as (
    select * from {{ ref('stg_linq__campaign_outcomes') }}
),

{# A retry, or another run of the campaign, has written another file about the same recipients. #}
ranked as (
    select
        *,
        row_number() over (
            partition by
                source_relation,
                campaign,
                idempotency_key,
                {# What is invalid or repeated has no key, and is the same row in each file. -#}
                case when idempotency_key is null then input_row end,
                case when idempotency_key is null then recipients end
            order by
                case status when 'sent' then 1 when 'failed' then 2 when 'skipped' then 3 when 'unknown' then 4 else 5 end,
                created_at desc nulls last,
                message_id,
                reason
        ) as preference
    from outcomes
),

{# The platform names the key in events of the message, also where its answer was lost. #}
announced as (
    select source_relation, idempotency_key, min(message_id) as message_id
    from (
        select
            source_relation,
            coalesce({{ linq.json_text('data', 'idempotency_key') }}, {{ linq.json_text('data', 'message.idempotency_key') }})
                as idempotency_key,
            message_id
        from {{ ref('stg_linq__webhook_events') }}
    ) as events
    where idempotency_key is not null and message_id is not null
    group by source_relation, idempotency_key
),

results as (
    select
        ranked.source_relation,
        ranked.campaign,
        ranked.input_row,
        ranked.recipients,
        ranked.status as outcome,
        ranked.reason,
        ranked.detail,
        ranked.code,
        ranked.idempotency_key,
        ranked.replaces,
        ranked.line,
        ranked.chat_id,
        ranked.created_at,
        coalesce(ranked.message_id, announced.message_id) as message_id
    from ranked
    left join announced
        on announced.source_relation = ranked.source_relation and announced.idempotency_key = ranked.idempotency_key
    where ranked.preference = 1
),

messages as (
    select * from {{ ref('linq__messages') }}
),

sent as (
    select
        results.source_relation,
        results.campaign,
        results.input_row,
        results.recipients,
        case when results.message_id is not null then 'sent' else results.outcome end as status,
        results.outcome,
        results.reason,
        results.detail,
        results.code,
        results.idempotency_key,
        results.replaces,
        results.message_id,
        coalesce(results.line, messages.line) as line,
        coalesce(results.chat_id, messages.chat_id) as chat_id,
        coalesce(results.created_at, messages.occurred_at) as sent_at,
        messages.status as delivery_status,
        messages.service,
        messages.is_downgraded,
        messages.delivered_at,
        messages.read_at,
        messages.failure_code
    from results
    left join messages
        on messages.source_relation = results.source_relation and messages.message_id = results.message_id
),

replies as (
    select sent.source_relation, sent.message_id, min(messages.occurred_at) as replied_at
    from sent
    inner join messages
        on messages.source_relation = sent.source_relation
        and messages.chat_id = sent.chat_id
        and messages.occurred_at > sent.sent_at
    where messages.direction = 'inbound' and not messages.is_system_event and sent.message_id is not null
    group by sent.source_relation, sent.message_id
),

opt_outs as (
    select sent.source_relation, sent.message_id, min(events.happened_at) as opted_out_at
    from sent
    inner join {{ ref('linq__opt_out_events') }} as events
        on events.source_relation = sent.source_relation
        and events.chat_id = sent.chat_id
        and events.happened_at > sent.sent_at
    where events.opted_out and sent.message_id is not null
    group by sent.source_relation, sent.message_id
)

select
    sent.*,
    replies.replied_at,
    opt_outs.opted_out_at
from sent
left join replies on replies.source_relation = sent.source_relation and replies.message_id = sent.message_id
left join opt_outs on opt_outs.source_relation = sent.source_relation and opt_outs.message_id = sent.message_id
