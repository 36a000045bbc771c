{# Fails for each set of values of these columns that more than one row has, or in which one is null that must not be. #}
{% test is_key(model, columns, nullable=[]) %}
select {{ columns | join(', ') }}, count(*) as number_of_rows
from {{ model }}
group by {{ columns | join(', ') }}
having count(*) > 1 {% for column in columns if column not in nullable %}or {{ column }} is null {% endfor %}
{% endtest %}
