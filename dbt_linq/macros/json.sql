{# The text at a path such as 'handle.id' of a JSON column; null if there is none. #}
{% macro json_text(value, path) %}
    {{ return(adapter.dispatch('json_text', 'linq')(value, path)) }}
{% endmacro %}

{% macro default__json_text(value, path) %}
    {{ return('(' ~ value ~ " #>> '{" ~ path | replace('.', ',') ~ "}')") }}
{% endmacro %}

{% macro duckdb__json_text(value, path) %}
    {{ return('(' ~ value ~ " ->> '$." ~ path ~ "')") }}
{% endmacro %}

{% macro snowflake__json_text(value, path) %}
    {{ return('cast(get_path(' ~ value ~ ", '" ~ path ~ "') as varchar)") }}
{% endmacro %}

{% macro bigquery__json_text(value, path) %}
    {{ return('json_value(' ~ value ~ ", '$." ~ path ~ "')") }}
{% endmacro %}


{# The instant at a path of a JSON column. #}
{% macro json_instant(value, path) %}
    {{ return(adapter.dispatch('json_instant', 'linq')(linq.json_text(value, path))) }}
{% endmacro %}

{% macro default__json_instant(text) %}
    {{ return('cast(' ~ text ~ ' as ' ~ linq.type_of('timestamp') ~ ')') }}
{% endmacro %}

{# DuckDB may have found out that it is a time when it read the files; as JSON again it has lost its zone, which was UTC. #}
{% macro duckdb__json_instant(text) %}
    {{ return(
        'cast(case when regexp_matches(' ~ text ~ ", '(Z|[+-][0-9]{2}(:?[0-9]{2})?)$') then " ~ text
        ~ ' else ' ~ text ~ " || 'Z' end as timestamp with time zone)"
    ) }}
{% endmacro %}


{# A join with a row `flattened` (value, index from 0) for each item of a JSON array; none for what is no array. #}
{% macro flatten(value) %}
    {{ return(adapter.dispatch('flatten', 'linq')(value)) }}
{% endmacro %}

{% macro default__flatten(value) -%}
cross join lateral (
    select item.value, item.place - 1 as index
    from jsonb_array_elements(case when jsonb_typeof({{ value }}) = 'array' then {{ value }} end)
        with ordinality as item (value, place)
) as flattened
{%- endmacro %}

{% macro duckdb__flatten(value) -%}
cross join lateral (
    select item.value, cast(item.key as bigint) as index
    from json_each(case when json_type({{ value }}) = 'ARRAY' then {{ value }} end) as item
) as flattened
{%- endmacro %}

{% macro snowflake__flatten(value) -%}
cross join lateral flatten(input => case when is_array({{ value }}) then {{ value }} end) as flattened
{%- endmacro %}

{% macro bigquery__flatten(value) -%}
cross join unnest(array(
    select as struct item as value, place as index
    from unnest(json_query_array({{ value }})) as item with offset as place
)) as flattened
{%- endmacro %}
