{#
    The kinds of columns: string, timestamp (an instant), boolean, integer, number, json, list (texts joined by commas).

    `typed` makes a column of whatever type a loader has chosen into one of a kind. `column` is {name, type}: the name is
    quoted, the type in lower case.
#}
{% macro type_of(kind) %}
    {{ return(adapter.dispatch('type_of', 'linq')(kind)) }}
{% endmacro %}

{% macro default__type_of(kind) %}
    {{ return({
        'string': 'text', 'list': 'text', 'timestamp': 'timestamp with time zone', 'boolean': 'boolean',
        'integer': 'bigint', 'number': 'double precision', 'json': 'jsonb',
    }[kind]) }}
{% endmacro %}

{% macro duckdb__type_of(kind) %}
    {{ return('json' if kind == 'json' else linq.default__type_of(kind)) }}
{% endmacro %}

{% macro snowflake__type_of(kind) %}
    {{ return({'timestamp': 'timestamp_tz', 'number': 'float', 'json': 'variant'}[kind] or linq.default__type_of(kind)) }}
{% endmacro %}

{% macro bigquery__type_of(kind) %}
    {{ return({
        'string': 'string', 'list': 'string', 'timestamp': 'timestamp', 'boolean': 'bool',
        'integer': 'int64', 'number': 'float64', 'json': 'json',
    }[kind]) }}
{% endmacro %}


{% macro typed_null(kind) %}
    {{ return('cast(null as ' ~ linq.type_of(kind) ~ ')') }}
{% endmacro %}


{% macro typed(column, kind) %}
    {% if column.type == linq.type_of(kind) and kind != 'json' %}
        {{ return(column.name) }}
    {% elif kind == 'timestamp' %}
        {{ return(linq.typed_timestamp(column)) }}
    {% elif kind == 'json' %}
        {{ return(linq.typed_json(column)) }}
    {% elif kind == 'list' %}
        {{ return(linq.typed_list(column)) }}
    {% elif kind == 'string' %}
        {{ return(linq.scalar_text(column)) }}
    {% endif %}
    {{ return('cast(nullif(' ~ linq.scalar_text(column) ~ ", '') as " ~ linq.type_of(kind) ~ ')') }}
{% endmacro %}


{# The text of a scalar, which may lie in JSON. #}
{% macro scalar_text(column) %}
    {{ return(adapter.dispatch('scalar_text', 'linq')(column)) }}
{% endmacro %}

{% macro default__scalar_text(column) %}
    {{ return('(to_jsonb(' ~ column.name ~ ") #>> '{}')" if column.type in ['json', 'jsonb'] else 'cast(' ~ column.name ~ ' as text)') }}
{% endmacro %}

{% macro duckdb__scalar_text(column) %}
    {{ return('(' ~ column.name ~ " ->> '$')" if column.type == 'json' else 'cast(' ~ column.name ~ ' as varchar)') }}
{% endmacro %}

{% macro snowflake__scalar_text(column) %}
    {{ return('cast(' ~ column.name ~ ' as varchar)') }}
{% endmacro %}

{% macro bigquery__scalar_text(column) %}
    {{ return('json_value(' ~ column.name ~ ')' if column.type == 'json' else 'cast(' ~ column.name ~ ' as string)') }}
{% endmacro %}


{# Instants. The tap writes UTC, so a time without a zone is UTC. #}
{% macro typed_timestamp(column) %}
    {{ return(adapter.dispatch('typed_timestamp', 'linq')(column)) }}
{% endmacro %}

{% macro default__typed_timestamp(column) %}
    {% if column.type.startswith('timestamp') %}
        {{ return('(' ~ column.name ~ " at time zone 'UTC')") }}
    {% endif %}
    {{ return("cast(nullif(" ~ linq.scalar_text(column) ~ ", '') as timestamp with time zone)") }}
{% endmacro %}

{% macro duckdb__typed_timestamp(column) %}
    {% if column.type.startswith('timestamp') %}
        {# Also those of other precisions. #}
        {{ return('(cast(' ~ column.name ~ " as timestamp) at time zone 'UTC')") }}
    {% endif %}
    {{ return(linq.default__typed_timestamp(column)) }}
{% endmacro %}

{% macro snowflake__typed_timestamp(column) %}
    {% if column.type in ['timestamp_tz', 'timestamp_ltz'] %}
        {{ return('cast(' ~ column.name ~ ' as timestamp_tz)') }}
    {% elif column.type.startswith('timestamp') or column.type == 'datetime' %}
        {{ return(linq.snowflake__utc_instant(column.name)) }}
    {% endif %}
    {{ return('try_to_timestamp_tz(' ~ linq.scalar_text(column) ~ ')') }}
{% endmacro %}

{% macro bigquery__typed_timestamp(column) %}
    {% if column.type in ['timestamp', 'datetime'] %}
        {{ return('timestamp(' ~ column.name ~ ')') }}
    {% endif %}
    {{ return('safe_cast(' ~ linq.scalar_text(column) ~ ' as timestamp)') }}
{% endmacro %}


{# Objects and arrays: loaders make jsonb, arrays of jsonb or text, structs, or text of them. #}
{% macro typed_json(column) %}
    {{ return(adapter.dispatch('typed_json', 'linq')(column)) }}
{% endmacro %}

{% macro default__typed_json(column) %}
    {% if column.type in ['json', 'jsonb', 'array'] or column.type.endswith('[]') %}
        {{ return('nullif(to_jsonb(' ~ column.name ~ "), 'null')") }}
    {% endif %}
    {{ return("nullif(cast(nullif(" ~ column.name ~ ", '') as jsonb), 'null')") }}
{% endmacro %}

{% macro duckdb__typed_json(column) %}
    {% if column.type == 'varchar' %}
        {% set value = 'cast(nullif(' ~ column.name ~ ", '') as json)" %}
    {% elif column.type == 'json' %}
        {% set value = column.name %}
    {% else %}
        {% set value = 'to_json(' ~ column.name ~ ')' %}
    {% endif %}
    {{ return('case when json_type(' ~ value ~ ") <> 'NULL' then " ~ value ~ ' end') }}
{% endmacro %}

{% macro snowflake__typed_json(column) %}
    {% set value = 'try_parse_json(' ~ column.name ~ ')' if column.type in ['text', 'varchar', 'string'] else 'to_variant(' ~ column.name ~ ')' %}
    {{ return('strip_null_value(' ~ value ~ ')') }}
{% endmacro %}

{% macro bigquery__typed_json(column) %}
    {% if column.type in ['string', 'text'] %}
        {% set value = 'safe.parse_json(' ~ column.name ~ ')' %}
    {% else %}
        {% set value = column.name if column.type == 'json' else 'to_json(' ~ column.name ~ ')' %}
    {% endif %}
    {{ return('if(json_type(' ~ value ~ ") = 'null', null, " ~ value ~ ')') }}
{% endmacro %}


{# Texts, joined by commas, of a list, or of a text that is so already. #}
{% macro typed_list(column) %}
    {{ return(adapter.dispatch('typed_list', 'linq')(column)) }}
{% endmacro %}

{% macro default__typed_list(column) %}
    {% if column.type in ['json', 'jsonb'] %}
        {{ return("(select string_agg(one, ',') from jsonb_array_elements_text(to_jsonb(" ~ column.name ~ ')) as one)') }}
    {% elif column.type == 'array' or column.type.endswith('[]') %}
        {{ return('array_to_string(' ~ column.name ~ ", ',')") }}
    {% endif %}
    {{ return(linq.scalar_text(column)) }}
{% endmacro %}

{% macro duckdb__typed_list(column) %}
    {% if column.type == 'json' %}
        {{ return("array_to_string(from_json(" ~ column.name ~ ", '[\"varchar\"]'), ',')") }}
    {% endif %}
    {{ return(linq.default__typed_list(column)) }}
{% endmacro %}

{% macro snowflake__typed_list(column) %}
    {{ return('array_to_string(' ~ column.name ~ ", ',')" if column.type in ['array', 'variant'] else linq.scalar_text(column)) }}
{% endmacro %}

{% macro bigquery__typed_list(column) %}
    {% if column.type.startswith('array') %}
        {{ return('array_to_string(' ~ column.name ~ ", ',')") }}
    {% elif column.type == 'json' %}
        {{ return('array_to_string(json_value_array(' ~ column.name ~ "), ',')") }}
    {% endif %}
    {{ return(linq.scalar_text(column)) }}
{% endmacro %}
