{# The moment for which the models speak. #}
{% macro as_of() %}
    {% if var('linq_as_of') %}
        {{ return('cast(' ~ dbt.string_literal(var('linq_as_of')) ~ ' as ' ~ linq.type_of('timestamp') ~ ')') }}
    {% endif %}
    {{ return('current_timestamp') }}
{% endmacro %}


{# Seconds from one instant to a later one, with fractions. #}
{% macro seconds_between(start, end) %}
    {{ return(adapter.dispatch('seconds_between', 'linq')(start, end)) }}
{% endmacro %}

{% macro default__seconds_between(start, end) %}
    {{ return('cast(extract(epoch from ' ~ end ~ ') - extract(epoch from ' ~ start ~ ') as double precision)') }}
{% endmacro %}

{% macro snowflake__seconds_between(start, end) %}
    {{ return('(timestampdiff(microsecond, ' ~ start ~ ', ' ~ end ~ ') / 1e6)') }}
{% endmacro %}

{% macro bigquery__seconds_between(start, end) %}
    {{ return('(timestamp_diff(' ~ end ~ ', ' ~ start ~ ', microsecond) / 1e6)') }}
{% endmacro %}


{# The date of an instant in a time zone, whatever the zone of the session. #}
{% macro date_in(instant, time_zone='UTC') %}
    {{ return(adapter.dispatch('date_in', 'linq')(instant, dbt.string_literal(time_zone))) }}
{% endmacro %}

{% macro default__date_in(instant, time_zone) %}
    {{ return('cast((' ~ instant ~ ' at time zone ' ~ time_zone ~ ') as date)') }}
{% endmacro %}

{% macro snowflake__date_in(instant, time_zone) %}
    {{ return('to_date(convert_timezone(' ~ time_zone ~ ', ' ~ instant ~ '))') }}
{% endmacro %}

{% macro bigquery__date_in(instant, time_zone) %}
    {{ return('date(' ~ instant ~ ', ' ~ time_zone ~ ')') }}
{% endmacro %}


{# The instant so many minutes after midnight of a local date, by the clock on the wall. #}
{% macro local_instant(date, minutes, time_zone) %}
    {{ return(adapter.dispatch('local_instant', 'linq')(date, minutes, dbt.string_literal(time_zone))) }}
{% endmacro %}

{% macro default__local_instant(date, minutes, time_zone) %}
    {{ return('((cast(' ~ date ~ " as timestamp) + interval '" ~ minutes ~ " minutes') at time zone " ~ time_zone ~ ')') }}
{% endmacro %}

{% macro snowflake__local_instant(date, minutes, time_zone) %}
    {% set wall = 'dateadd(minute, ' ~ minutes ~ ', cast(' ~ date ~ ' as timestamp_ntz))' %}
    {{ return(linq.snowflake__utc_instant('convert_timezone(' ~ time_zone ~ ", 'UTC', " ~ wall ~ ')')) }}
{% endmacro %}

{% macro bigquery__local_instant(date, minutes, time_zone) %}
    {{ return('timestamp(datetime_add(datetime(' ~ date ~ '), interval ' ~ minutes ~ ' minute), ' ~ time_zone ~ ')') }}
{% endmacro %}

{# A time without a zone, taken as UTC. #}
{% macro snowflake__utc_instant(wall) %}
    {{ return("to_timestamp_tz(to_varchar(" ~ wall ~ ", 'YYYY-MM-DD HH24:MI:SS.FF9') || ' +00:00', 'YYYY-MM-DD HH24:MI:SS.FF9 TZH:TZM')") }}
{% endmacro %}


{# Monday is 1, Sunday 7. #}
{% macro weekday(date) %}
    {{ return(adapter.dispatch('weekday', 'linq')(date)) }}
{% endmacro %}

{% macro default__weekday(date) %}
    {{ return('extract(isodow from ' ~ date ~ ')') }}
{% endmacro %}

{% macro snowflake__weekday(date) %}
    {{ return('dayofweekiso(' ~ date ~ ')') }}
{% endmacro %}

{% macro bigquery__weekday(date) %}
    {{ return('(mod(extract(dayofweek from ' ~ date ~ ') + 5, 7) + 1)') }}
{% endmacro %}


{# A date so many days later. #}
{% macro days_after(date, days) %}
    {{ return('cast(' ~ dbt.dateadd('day', days, date) ~ ' as date)') }}
{% endmacro %}


{# One row (`local_date`) for each date from `first_date` to `last_date` of the only row of a relation. #}
{% macro dates_within(bounds) %}
    {{ return(adapter.dispatch('dates_within', 'linq')(bounds)) }}
{% endmacro %}

{% macro default__dates_within(bounds) -%}
select cast(generate_series(cast(first_date as timestamp), cast(last_date as timestamp), interval '1 day') as date) as local_date
from {{ bounds }}
{%- endmacro %}

{% macro duckdb__dates_within(bounds) -%}
select cast(unnest(generate_series(cast(first_date as timestamp), cast(last_date as timestamp), interval '1 day')) as date) as local_date
from {{ bounds }}
{%- endmacro %}

{% macro snowflake__dates_within(bounds) -%}
{# A hundred years, of which those within are kept: the number of rows has to be a constant. #}
select dateadd(day, numbered.number, {{ bounds }}.first_date) as local_date
from {{ bounds }}
cross join (select row_number() over (order by seq4()) - 1 as number from table(generator(rowcount => 36525))) as numbered
where dateadd(day, numbered.number, {{ bounds }}.first_date) <= {{ bounds }}.last_date
{%- endmacro %}

{% macro bigquery__dates_within(bounds) -%}
select local_date
from {{ bounds }}
cross join unnest(generate_date_array(first_date, last_date)) as local_date
{%- endmacro %}
