"""What DuckDB may do: names of `duckdb_functions()` of DuckDB 1.x and 2.0.

Left out, and so denied: whatever reads or writes files and networks (read_*,
*_scan, glob, sniff_csv, parquet_*, which_secret), runs text as SQL (query,
query_table, json_execute_serialized_sql), shows or changes the session
(current_setting, getvariable, nextval, setseed, sleep_ms, write_log, pragma_*,
enable_*), shows other tables (summary, stats, duckdb_*), and what makes a huge
value of a small one without a literal bound (bar, bitstring, equi_width_bins).
https://duckdb.org/docs/stable/operations_manual/securing_duckdb/overview
"""

from __future__ import annotations

import re

from plainsql.execution.policies.base import Policy, words

FUNCTIONS = words(
    # text: results at most as long as their arguments, or bounded (lpad, repeat: see guard_nodes)
    "array_extract ascii base64 bin bit_length char_length character_length chr concat concat_ws "
    "contains damerau_levenshtein editdist3 ends_with format formatreadabledecimalsize "
    "formatreadablesize format_bytes from_base64 from_binary from_hex hamming hex instr jaccard "
    "jaro_similarity jaro_winkler_similarity lcase left left_grapheme len length length_grapheme "
    "levenshtein lower lpad ltrim md5 md5_number md5_number_lower md5_number_upper mismatches "
    "nfc_normalize octet_length ord overlay parse_dirname parse_dirpath parse_filename parse_path "
    "position prefix printf regexp_escape regexp_extract regexp_extract_all regexp_full_match "
    "regexp_matches regexp_replace regexp_split_to_array regexp_split_to_table repeat replace "
    "reverse right right_grapheme rpad rtrim sha1 sha256 split split_part starts_with str_split "
    "str_split_regex string_split string_split_regex string_to_array strip_accents strlen strpos "
    "substr substring substring_grapheme suffix to_base to_base64 to_binary to_hex translate trim "
    "ucase unbin unhex unicode upper url_decode url_encode encode decode "
    # numbers
    "abs acos acosh add asin asinh atan atan2 atanh bit_count bit_position cbrt ceil ceiling cos "
    "cosh cot decimal_division degrees divide even exp factorial fdiv floor fmod gamma gcd get_bit "
    "greatest greatest_common_divisor hash isfinite isinf isnan lcm least least_common_multiple "
    "lgamma ln log log10 log2 mod multiply nextafter parse_formatted_bytes pi pow power radians "
    "random round round_even roundbankers set_bit sign signbit sin sinh sqrt subtract tan tanh "
    "trunc xor uuid gen_random_uuid uuidv4 uuidv7 "
    # choice and types
    "alias coalesce constant_or_null if ifnull nullif typeof get_type switch "
    "enum_code enum_first enum_last enum_range enum_range_boundary "
    # dates and times
    "age ago century current_date current_localtime current_localtimestamp current_time "
    "current_timestamp date date_add date_diff date_part date_sub date_trunc datediff datepart "
    "datesub datetrunc day dayname dayofmonth dayofweek dayofyear days_in_month decade epoch "
    "epoch_ms epoch_ns epoch_us era extract get_current_time get_current_timestamp hour isodow "
    "isoyear julian last_day localtime localtimestamp make_date make_time make_timestamp "
    "make_timestamp_ms make_timestamp_ns make_timestamptz microsecond millennium millisecond "
    "minute month monthname nanosecond normalized_interval now quarter second strftime strptime "
    "time_bucket timezone timezone_hour timezone_minute to_centuries to_days to_decades to_hours "
    "to_microseconds to_millennia to_milliseconds to_minutes to_months to_quarters to_seconds "
    "to_timestamp to_weeks to_years today transaction_timestamp try_strptime week weekday "
    "weekofyear year yearweek "
    # aggregates
    "any_value approx_count_distinct approx_quantile approx_top_k arbitrary arg_max arg_max_null "
    "arg_min arg_min_null argmax argmin array_agg avg bit_and bit_or bit_xor bool_and bool_or "
    "corr count count_if count_star countif covar_pop covar_samp entropy favg first fsum geomean "
    "geometric_mean group_concat grouping grouping_id histogram kahan_sum kurtosis kurtosis_pop "
    "last list listagg mad max max_by mean median min min_by mode percentile_cont percentile_disc "
    "product quantile quantile_cont quantile_disc regr_avgx regr_avgy regr_count regr_intercept "
    "regr_r2 regr_slope regr_sxx regr_sxy regr_syy reservoir_quantile sem skewness stddev "
    "stddev_pop stddev_samp string_agg sum sum_no_overflow sumkahan var_pop var_samp variance "
    "wavg weighted_avg "
    # windows
    "cume_dist dense_rank fill first_value lag last_value lead nth_value ntile percent_rank rank "
    "rank_dense row_number "
    # lists, arrays, maps, structs, unions: linear in their arguments
    "apply array_aggr array_aggregate array_append array_apply array_cat array_concat "
    "array_contains array_cosine_distance array_cosine_similarity array_distance array_distinct "
    "array_dot_product array_filter array_grade_up array_has array_has_all array_has_any "
    "array_indexof array_inner_product array_intersect array_length array_pop_back "
    "array_pop_front array_position array_prepend array_push_back array_push_front array_reduce "
    "array_reverse array_reverse_sort array_select array_slice array_sort array_to_string "
    "array_transform array_unique array_value array_where array_zip cardinality element_at filter "
    "flatten generate_subscripts grade_up list_aggr list_aggregate list_any_value list_append "
    "list_apply list_approx_count_distinct list_avg list_bit_and list_bit_or list_bit_xor "
    "list_bool_and list_bool_or list_cat list_concat list_contains list_cosine_distance "
    "list_cosine_similarity list_count list_distance list_distinct list_dot_product list_element "
    "list_entropy list_extract list_filter list_first list_grade_up list_has list_has_all "
    "list_has_any list_histogram list_indexof list_inner_product list_intersect list_kurtosis "
    "list_last list_mad list_max list_median list_min list_mode list_pack list_position "
    "list_prepend list_product list_reduce list_reverse list_reverse_sort list_select list_sem "
    "list_skewness list_slice list_sort list_stddev_pop list_stddev_samp list_string_agg list_sum "
    "list_transform list_unique list_value list_var_pop list_var_samp list_where list_zip map "
    "map_concat map_contains map_contains_entry map_contains_value map_entries map_extract "
    "map_extract_value map_from_entries map_keys map_values reduce row struct_concat "
    "struct_contains struct_extract struct_extract_at struct_has struct_indexof struct_insert "
    "struct_keys struct_pack struct_position struct_update struct_values union_extract union_tag "
    "union_value unnest unpivot_list "
    # reading JSON
    "array_to_json from_json json json_array json_array_length json_contains json_exists "
    "json_extract json_extract_path json_extract_path_text json_extract_string json_group_array "
    "json_group_object json_group_structure json_keys json_object json_pretty json_quote "
    "json_structure json_transform json_type json_valid json_value row_to_json to_json "
    # series, with literal bounds
    "generate_series range"
)
TABLE_FUNCTIONS = words("generate_series json_each json_tree range unnest")

# Functions over functions' results that are made of SQL syntax, and types with parameters.
_WORDS_BEFORE_PAREN = words(
    "all and any array as asof between by case cast columns cube decimal distinct else enum except "
    "exclude exists extract filter from group having ilike in interval intersect is join lambda "
    "lateral like limit list map materialized not numeric offset on or order over pivot qualify "
    "rename replace rollup select sets similar some struct then to try_cast union unpivot using "
    "values varchar char when where try"
)

# The catalogue under its own and PostgreSQL's names.
_RESERVED = re.compile(r"duckdb_.*|pragma_.*|sqlite_.*|pg_.*|information_schema", re.DOTALL)

DUCKDB = Policy(
    dialect="duckdb",
    functions=FUNCTIONS,
    table_functions=TABLE_FUNCTIONS,
    first_words=words("select with values from pivot unpivot describe desc summarize table"),
    words_before_paren=_WORDS_BEFORE_PAREN,
    homes=frozenset({"main"}),
    reserved=_RESERVED,
    database_is_home=True,
    refused_words=words(
        "current_user session_user user current_role current_catalog current_schema "
        "current_database"
    ),
    dot_calls=True,
    explain_options=True,
    format_functions=frozenset({"printf"}),
    brace_functions=frozenset({"format"}),
    catalogue=words(
        "information_schema.tables information_schema.columns information_schema.schemata "
        "information_schema.table_constraints information_schema.key_column_usage "
        "information_schema.referential_constraints duckdb_tables duckdb_columns duckdb_views "
        "duckdb_constraints duckdb_indexes duckdb_schemas duckdb_types sqlite_master"
    ),
    catalogue_functions=words(
        "duckdb_tables duckdb_columns duckdb_views duckdb_constraints duckdb_indexes "
        "duckdb_schemas duckdb_types duckdb_functions pragma_table_info"
    ),
    extra_arguments={"In": words("field")},  # x IN list_column
)
