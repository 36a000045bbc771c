{#
    Business hours, defined here alone: on each local date that is one of `linq_business_weekdays` and none of
    `linq_business_holidays`, from `linq_business_hours_start` to `linq_business_hours_end` by the clock on the wall in
    `linq_business_time_zone`. If the end is not after the start, it is on the next day, holiday or not.

    To count the seconds of them between two instants takes two rows of the calendar, and not all days between: each date
    knows how many seconds were open before it. A query joins `business_calendar` by the `business_date` of each instant,
    and subtracts one `business_seconds_until` from the other.
#}

{# One row a local date, for all instants in two columns of a relation; the second may be null. #}
{% macro business_calendar(relation, start, end) -%}
{% set opens = linq.minutes_of_day('linq_business_hours_start') %}
{% set closes = linq.minutes_of_day('linq_business_hours_end') %}
{% set closes = closes + 24 * 60 if closes <= opens else closes %}
{% set zone = var('linq_business_time_zone') %}
{% set weekdays, holidays = linq.business_weekdays(), linq.business_holidays() -%}
with bounds as (
    select
        {# The night of the day before may end on the first one. -#}
        {{ linq.days_after(linq.business_date('min(' ~ start ~ ')'), -1) }} as first_date,
        {{ linq.business_date('greatest(max(' ~ start ~ '), coalesce(max(' ~ end ~ '), max(' ~ start ~ ')))') }} as last_date
    from {{ relation }}
)

select
    local_date,
    opens_at,
    closes_at,
    {# Those of yesterday that lie after midnight count with today, until they are over. -#}
    lag(closes_at) over (order by local_date) as yesterday_closes_at,
    coalesce(
        sum({{ linq.seconds_between('opens_at', 'closes_at') }})
            over (order by local_date rows between unbounded preceding and 1 preceding),
        0
    ) as seconds_before
from (
    select
        local_date,
        case when is_open then {{ linq.local_instant('local_date', opens, zone) }} end as opens_at,
        case when is_open then {{ linq.local_instant('local_date', closes, zone) }} end as closes_at
    from (
        select
            local_date,
            {{ linq.weekday('local_date') }} in ({{ weekdays | join(', ') }})
            {%- for holiday in holidays %}
            and local_date <> cast({{ dbt.string_literal(holiday) }} as date)
            {%- endfor %} as is_open
        from (
            {{ linq.dates_within('bounds') | indent(12) }}
        ) as dates
    ) as days
) as hours
{%- endmacro %}


{# The local date of an instant. #}
{% macro business_date(instant) %}
    {{ return(linq.date_in(instant, var('linq_business_time_zone'))) }}
{% endmacro %}


{# Seconds of business hours from the beginning of a calendar to an instant; `day` is the row of the instant's date. #}
{% macro business_seconds_until(instant, day) -%}
(
    {{ day }}.seconds_before
    - coalesce(greatest({{ linq.seconds_between(instant, day ~ '.yesterday_closes_at') }}, 0), 0)
    + coalesce(greatest({{ linq.seconds_between(day ~ '.opens_at', 'least(' ~ instant ~ ', ' ~ day ~ '.closes_at)') }}, 0), 0)
)
{%- endmacro %}


{# Minutes from midnight of a setting such as 09:30. #}
{% macro minutes_of_day(setting) %}
    {% set text = var(setting) | string %}
    {% if not modules.re.fullmatch('(?:[01][0-9]|2[0-3]):[0-5][0-9]|24:00', text) %}
        {% do exceptions.raise_compiler_error(setting ~ ': must be a time from 00:00 to 24:00, in quotes, got ' ~ text) %}
    {% endif %}
    {{ return(text[:2] | int * 60 + text[3:] | int) }}
{% endmacro %}


{% macro business_weekdays() %}
    {% set days = var('linq_business_weekdays') %}
    {% if days is string or not days or days | reject('in', [1, 2, 3, 4, 5, 6, 7]) | list %}
        {% do exceptions.raise_compiler_error('linq_business_weekdays: must be a list of numbers from 1 (Monday) to 7, got ' ~ days) %}
    {% endif %}
    {{ return(days) }}
{% endmacro %}


{% macro business_holidays() %}
    {% set found = [] %}
    {% for one in var('linq_business_holidays') %}
        {% if not modules.re.fullmatch('[0-9]{4}-[0-9]{2}-[0-9]{2}', one | string) %}
            {% do exceptions.raise_compiler_error('linq_business_holidays: must be dates such as 2026-12-25, got ' ~ one) %}
        {% endif %}
        {% do found.append(one | string) %}
    {% endfor %}
    {{ return(found) }}
{% endmacro %}
