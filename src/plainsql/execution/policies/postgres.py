"""What PostgreSQL may do: names of pg_proc of PostgreSQL 15.

Left out, and so denied: files and programs (pg_read_*, pg_ls_*, lo_*), text run
as SQL (query_to_xml, table_to_xml, schema_to_xml, cursor_to_xml, ts_stat,
ts_rewrite, dblink), sequences, locks, sleep, notification, settings
(set_config, current_setting, setseed), other sessions, statistics, replication,
transaction ids, sizes, catalogue (to_regclass, has_*, pg_get_*), XML, and what
makes a huge value of a small one without a literal bound (array_fill, factorial).
https://www.postgresql.org/docs/current/functions.html
"""

from __future__ import annotations

import re

from plainsql.execution.policies.base import ColumnCalls, Folding, Policy, words

FUNCTIONS = words(
    # text; lpad, rpad and repeat with literal bounds, format with a literal format
    "ascii bit_length btrim char_length character_length chr concat concat_ws convert_from "
    "convert_to decode encode format initcap left length lower lpad ltrim md5 normalize "
    "octet_length overlay parse_ident position quote_ident quote_literal quote_nullable "
    "regexp_count regexp_instr regexp_like regexp_match regexp_matches regexp_replace "
    "regexp_split_to_array regexp_split_to_table regexp_substr repeat replace reverse right rpad "
    "rtrim sha224 sha256 sha384 sha512 split_part starts_with string_to_array string_to_table "
    "strpos substr substring to_ascii to_char to_date to_hex to_number to_timestamp translate "
    "trim upper "
    # numbers
    "abs acos acosd acosh asin asind asinh atan atan2 atan2d atand atanh bit_count cbrt ceil "
    "ceiling cos cosd cosh cot cotd degrees div exp floor gcd lcm ln log log10 min_scale mod pi "
    "pow power radians random round scale sign sin sind sinh sqrt tan tand tanh trim_scale trunc "
    "width_bucket gen_random_uuid "
    # conversions by the name of a type
    "bool date float4 float8 int2 int4 int8 interval numeric text time timestamp timestamptz "
    "timetz varchar "
    # choice
    "coalesce greatest least nullif num_nonnulls num_nulls pg_typeof row "
    # dates and times
    "age clock_timestamp current_date current_time current_timestamp date_bin date_part date_trunc "
    "extract isfinite justify_days justify_hours justify_interval localtime localtimestamp "
    "make_date make_interval make_time make_timestamp make_timestamptz now overlaps "
    "statement_timestamp timeofday timezone transaction_timestamp "
    # aggregates
    "any_value array_agg avg bit_and bit_or bit_xor bool_and bool_or corr count covar_pop "
    "covar_samp every grouping json_agg json_object_agg jsonb_agg jsonb_object_agg max min mode "
    "percentile_cont percentile_disc range_agg range_intersect_agg regr_avgx regr_avgy regr_count "
    "regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy stddev stddev_pop stddev_samp "
    "string_agg sum var_pop var_samp variance "
    # windows
    "cume_dist dense_rank first_value lag last_value lead nth_value ntile percent_rank rank "
    "row_number "
    # arrays, ranges
    "array_append array_cat array_dims array_length array_lower array_ndims array_position "
    "array_positions array_prepend array_remove array_replace array_to_string array_upper "
    "cardinality trim_array unnest daterange int4range int8range isempty lower_inc lower_inf "
    "numrange range_merge tsrange tstzrange upper_inc upper_inf generate_subscripts "
    # JSON
    "array_to_json json_array_elements json_array_elements_text json_array_length "
    "json_build_array json_build_object json_each json_each_text json_extract_path "
    "json_extract_path_text json_object json_object_keys json_strip_nulls json_to_record "
    "json_to_recordset json_typeof "
    "jsonb_array_elements jsonb_array_elements_text jsonb_array_length jsonb_build_array "
    "jsonb_build_object jsonb_each jsonb_each_text jsonb_extract_path jsonb_extract_path_text "
    "jsonb_object jsonb_object_keys jsonb_path_exists jsonb_path_match jsonb_path_query "
    "jsonb_path_query_array jsonb_path_query_first jsonb_pretty jsonb_set jsonb_strip_nulls "
    "jsonb_to_record "
    "jsonb_to_recordset jsonb_typeof row_to_json to_json to_jsonb "
    # full-text search; not ts_stat and ts_rewrite, which run SQL
    "numnode phraseto_tsquery plainto_tsquery setweight to_tsquery to_tsvector ts_headline ts_rank "
    "ts_rank_cd websearch_to_tsquery "
    # network addresses
    "abbrev broadcast family host hostmask masklen netmask network "
    # series, with literal bounds
    "generate_series"
)
TABLE_FUNCTIONS = words(
    "generate_series generate_subscripts json_array_elements json_array_elements_text json_each "
    "json_each_text json_object_keys json_to_record "
    "json_to_recordset jsonb_array_elements jsonb_array_elements_text jsonb_each jsonb_each_text "
    "jsonb_object_keys jsonb_path_query "
    "jsonb_to_record jsonb_to_recordset regexp_matches regexp_split_to_table string_to_table unnest"
)
_WORDS_BEFORE_PAREN = words(
    "all and any array as asymmetric between bit by case cast char character cube decimal distinct "
    "else except exists extract filter from group grouping having ilike in intersect is join "
    "lateral like limit materialized not numeric offset on or over precision rollup select "
    "sets similar some symmetric then to union using values varchar varying when where"
)
# The catalogue's relations and those of schemas that only the server may make.
_RESERVED = re.compile(r"pg_.*|information_schema", re.DOTALL)

# Open with the catalogue: names, types and comments. Never: passwords (pg_authid,
# pg_shadow, pg_user_mapping), values of other tables (pg_statistic, pg_stats,
# pg_largeobject), sources (pg_proc), settings, files, other sessions.
_CATALOGUE = words(
    "pg_attribute pg_class pg_constraint pg_description pg_enum pg_index pg_indexes pg_namespace "
    "pg_tables pg_type pg_inherits pg_partitioned_table information_schema.tables "
    "information_schema.columns information_schema.schemata information_schema.table_constraints "
    "information_schema.key_column_usage information_schema.constraint_column_usage "
    "information_schema.referential_constraints"
)

POSTGRES = Policy(
    dialect="postgres",
    functions=FUNCTIONS,
    table_functions=TABLE_FUNCTIONS,
    first_words=words("select with values table"),
    words_before_paren=_WORDS_BEFORE_PAREN,
    homes=frozenset({"public"}),
    reserved=_RESERVED,
    folding=Folding.LOWER,
    column_calls=ColumnCalls.QUALIFIED,
    refused_words=words(
        "current_user session_user user current_role current_catalog current_schema system_user"
    ),
    function_homes=frozenset({"pg_catalog"}),
    explain_options=True,
    fetch_in_brackets=True,
    format_functions=frozenset({"format"}),
    catalogue=_CATALOGUE | {f"pg_catalog.{n}" for n in _CATALOGUE if n.startswith("pg_")},
    catalogue_functions=words("format_type obj_description col_description"),
    refused_types=words("xml"),
    # each table is a type, too: (NULL::secret).* would show its columns
    named_types=words(
        "box bpchar char cidr circle citext line lseg macaddr macaddr8 path polygon tsquery "
        "tsvector "
        "jsonpath"
    ),
)
