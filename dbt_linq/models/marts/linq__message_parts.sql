with parts as (
    select
        messages.source_relation,
        messages.id as message_id,
        messages.chat_id,
        cast(flattened.index as {{ linq.type_of('integer') }}) as part_index,
        {{ linq.json_text('flattened.value', 'type') }} as type,
        {{ linq.json_text('flattened.value', 'value') }} as value,
        {{ linq.json_text('flattened.value', 'id') }} as attachment_id,
        {{ linq.json_text('flattened.value', 'filename') }} as filename,
        {{ linq.json_text('flattened.value', 'mime_type') }} as mime_type,
        cast({{ linq.json_text('flattened.value', 'size_bytes') }} as {{ linq.type_of('integer') }}) as size_bytes
    from {{ ref('stg_linq__messages') }} as messages
    {{ linq.flatten('messages.parts') }}
)

select
    parts.source_relation,
    parts.message_id,
    parts.part_index,
    parts.chat_id,
    parts.type,
    parts.value,
    parts.attachment_id,
    parts.filename,
    parts.mime_type,
    parts.size_bytes,
    attachments.stored_at
from parts
left join {{ ref('stg_linq__attachments') }} as attachments
    on attachments.source_relation = parts.source_relation
    and attachments.message_id = parts.message_id
    and attachments.part_index = parts.part_index
