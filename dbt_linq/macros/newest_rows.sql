{#
    The newest row of each key of a stream, in the columns and types that all models rely on, whatever the loader made
    of them. A column or table that was not loaded is empty.

    source: the table of a single account; with `linq_sources`, the table of that name in each of them.
    key: columns that identify a row; all rows count if there are none.
    columns: [name in the table, kind, name in the model]; `typed` knows the kinds.
#}
{% macro newest_rows(source, key, columns) -%}
{% set tables = linq.loaded_tables(source.identifier) if execute else [] %}
with loaded as (
    {%- for table in tables %}
    {%- set found = linq.columns_by_name(table.relation, columns) %}
    select
        {%- for name, kind, alias in columns + linq.recency_columns() %}
        {{ linq.typed(found[name | lower], kind) if name | lower in found else linq.typed_null(kind) }} as {{ alias }},
        {%- endfor %}
        {{ dbt.string_literal(table.name) }} as source_relation
    from {{ table.relation }}
    {{ 'union all' if not loop.last }}
    {%- else %}
    select
        {%- for name, kind, alias in columns + linq.recency_columns() %}
        {{ linq.typed_null(kind) }} as {{ alias }},
        {%- endfor %}
        cast(null as {{ linq.type_of('string') }}) as source_relation
    from (select 1 as nothing) as no_table
    where false
    {%- endfor %}
),

ranked as (
    select
        *,
        {% if key -%}
        row_number() over (
            partition by source_relation, {{ key | join(', ') }}
            order by
                {%- for _, _, alias in linq.recency_columns() %}
                {{ alias }} desc nulls last,
                {%- endfor %}
                {{ linq.own_time(columns) }} desc nulls last
        )
        {%- else -%}
        1
        {%- endif %} as recency_rank
    from loaded
)

select
    source_relation,
    {%- for _, _, alias in columns %}
    {{ alias }}{{ ',' if not loop.last }}
    {%- endfor %}
from ranked
where recency_rank = 1
{%- endmacro %}


{# What loaders say of when a row came, as far as they do. `filename` is that of target-jsonl, with the time of the run. #}
{% macro recency_columns() %}
    {{ return([
        ['_sdc_extracted_at', 'timestamp', 'loader_extracted_at'],
        ['_sdc_sequence', 'integer', 'loader_sequence'],
        ['_sdc_batched_at', 'timestamp', 'loader_batched_at'],
        ['filename', 'string', 'loader_file'],
    ]) }}
{% endmacro %}


{# What the stream itself says of it, for loaders that say nothing. #}
{% macro own_time(columns) %}
    {% set names = columns | map(attribute=2) | list %}
    {% for name in ['observed_at', 'detected_at', 'received_at', 'updated_at', 'created_at', 'happened_at'] if name in names %}
        {{ return(name) }}
    {% endfor %}
    {{ return('source_relation') }}
{% endmacro %}


{# The accounts as {name, database, schema}. #}
{% macro accounts() %}
    {% set found = [] %}
    {% for one in var('linq_sources') or [{'schema': var('linq_schema')}] %}
        {% if not one.schema %}
            {% do exceptions.raise_compiler_error('linq_sources: each entry needs a schema, got ' ~ one) %}
        {% endif %}
        {% do found.append({
            'name': one.name or one.schema,
            'schema': one.schema,
            'database': one.database or var('linq_database') or target.database,
        }) %}
    {% endfor %}
    {% set names = found | map(attribute='name') | list %}
    {% if names | unique | list | length < names | length %}
        {% do exceptions.raise_compiler_error('linq_sources: each name must occur once, got ' ~ names | join(', ')) %}
    {% endif %}
    {{ return(found) }}
{% endmacro %}


{# The tables of a stream that exist, as {name, relation}. Without a connection, all are taken to exist. #}
{% macro loaded_tables(identifier) %}
    {% set found = [] %}
    {% for account in linq.accounts() %}
        {% if flags.INTROSPECT %}
            {% set relation = adapter.get_relation(account.database, account.schema, identifier) %}
        {% else %}
            {% set relation = api.Relation.create(database=account.database, schema=account.schema, identifier=identifier) %}
        {% endif %}
        {% if relation %}
            {% do found.append({'name': account.name, 'relation': relation}) %}
        {% endif %}
    {% endfor %}
    {{ return(found) }}
{% endmacro %}


{# The columns that a table has, by their names in lower case. Without a connection, all are there, as text. #}
{% macro columns_by_name(relation, columns) %}
    {% set found = {} %}
    {% if flags.INTROSPECT %}
        {% for column in adapter.get_columns_in_relation(relation) %}
            {% do found.update({column.name | lower: {'name': adapter.quote(column.name), 'type': column.dtype | lower}}) %}
        {% endfor %}
    {% else %}
        {% for name, _, _ in columns %}
            {% do found.update({name: {'name': adapter.quote(name), 'type': 'text'}}) %}
        {% endfor %}
    {% endif %}
    {{ return(found) }}
{% endmacro %}


{# Whether any account has this column of a stream. #}
{% macro is_loaded(identifier, name) %}
    {% for table in linq.loaded_tables(identifier) if name in linq.columns_by_name(table.relation, [[name, none, none]]) %}
        {{ return(true) }}
    {% endfor %}
    {{ return(false) }}
{% endmacro %}
