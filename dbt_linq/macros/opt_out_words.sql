{#
    Whether a text opts its sender out: the whole of it, without space around it, is one of the platform's words. The same
    rule as that of the stream `opt_outs`, for which linq-python 0.65.0 (`types/chat.py`) is the source.
#}
{% macro is_opt_out_word(text) -%}
{% set word = linq.without_space_around(text) -%}
(
    {{ word }} in ('STOP', 'UNSUBSCRIBE', 'OPTOUT', 'CANCEL', 'END', 'QUIT')
    or lower({{ word }}) in ('optout', 'opt out', 'opt-out')
)
{%- endmacro %}


{% macro without_space_around(text) %}
    {{ return(adapter.dispatch('without_space_around', 'linq')(text)) }}
{% endmacro %}

{% macro default__without_space_around(text) %}
    {{ return("trim(" ~ text ~ ", ' ' || chr(9) || chr(10) || chr(11) || chr(12) || chr(13) || chr(160))") }}
{% endmacro %}

{% macro postgres__without_space_around(text) %}
    {{ return("btrim(" ~ text ~ ", ' ' || chr(9) || chr(10) || chr(11) || chr(12) || chr(13) || chr(160))") }}
{% endmacro %}

{# Takes all space away. #}
{% macro bigquery__without_space_around(text) %}
    {{ return('trim(' ~ text ~ ')') }}
{% endmacro %}


{#
    Whether the tap has encrypted a text (`mask_text: encrypt`): a Fernet token has 100 characters or more, and begins with
    its version and the upper bytes of its time.
#}
{% macro is_encrypted(text) -%}
({{ text }} like 'gAAAAA%' and length({{ text }}) >= 100)
{%- endmacro %}
