"""What MySQL and MariaDB may do: the manuals' lists of built-in functions.

Left out, and so denied: files (load_file), sleep, benchmark, locks (get_lock,
is_free_lock, release_*), waiting for replication, the session (user, database,
version, connection_id, last_insert_id, found_rows, row_count), sequences
(nextval), XML (updatexml, extractvalue: errors that show values), encryption,
compression (uncompress: bombs), name_const, values, stored functions.
https://mariadb.com/kb/en/built-in-functions/
https://dev.mysql.com/doc/refman/8.4/en/built-in-function-reference.html
"""

from __future__ import annotations

import re

from plainsql.execution.policies.base import Folding, Policy, words

FUNCTIONS = words(
    # text; lpad, rpad, repeat and space with literal bounds
    "ascii bin bit_length char char_length character_length chr concat concat_ws conv elt field "
    "find_in_set format from_base64 hex insert instr lcase left length lengthb locate lower lpad "
    "ltrim mid natural_sort_key octet_length oct ord position quote regexp_instr regexp_like "
    "regexp_replace regexp_substr repeat replace reverse right rpad rtrim soundex space strcmp "
    "substr substring substring_index to_base64 to_char trim ucase unhex upper "
    # numbers and sums over bits
    "abs acos asin atan atan2 bit_count ceil ceiling cos cot crc32 degrees exp floor ln log log10 "
    "log2 mod pi pow power radians rand round sign sin sqrt tan truncate md5 sha sha1 sha2 uuid "
    # choice
    "coalesce greatest if ifnull interval isnull least nullif nvl nvl2 row "
    # dates and times
    "adddate add_months addtime convert_tz curdate current_date current_time current_timestamp "
    "curtime date date_add date_format date_sub datediff day dayname dayofmonth dayofweek "
    "dayofyear extract from_days from_unixtime get_format hour last_day localtime localtimestamp "
    "makedate maketime microsecond minute month monthname now period_add period_diff quarter "
    "sec_to_time second str_to_date subdate subtime sysdate time time_format time_to_sec timediff "
    "timestamp timestampadd timestampdiff to_days to_seconds unix_timestamp utc_date utc_time "
    "utc_timestamp week weekday weekofyear year yearweek "
    # aggregates
    "any_value avg bit_and bit_or bit_xor count group_concat grouping json_arrayagg "
    "json_objectagg max median min percentile_cont percentile_disc std stddev stddev_pop "
    "stddev_samp sum var_pop var_samp variance "
    # windows
    "cume_dist dense_rank first_value lag last_value lead nth_value ntile percent_rank rank "
    "row_number "
    # reading JSON
    "json_array json_contains json_contains_path json_depth json_exists json_extract json_keys "
    "json_length json_object json_overlaps json_pretty json_query json_quote json_search json_type "
    "json_unquote json_valid json_value "
    # network addresses
    "inet6_aton inet6_ntoa inet_aton inet_ntoa is_ipv4 is_ipv6 "
    # made of syntax
    "convert match"
)
_WORDS_BEFORE_PAREN = words(
    "against all and any as between binary by case cast char columns decimal distinct else except "
    "exists filter from having in intersect is join lateral like limit not of offset on "
    "or over regexp rlike select some straight_join then union using values "
    "varchar when where xor div datetime"
)
# The server's own schemas as tables, and MariaDB's seq_1_to_1000000000.
_RESERVED = re.compile(r"seq_[0-9]+_to_[0-9]+(?:_step_[0-9]+)?", re.DOTALL)

MYSQL = Policy(
    dialect="mysql",
    functions=FUNCTIONS,
    table_functions=frozenset({"json_table"}),
    first_words=words("select with values table"),
    words_before_paren=_WORDS_BEFORE_PAREN,
    homes=frozenset(),
    reserved=_RESERVED,
    database_is_home=True,
    folding=Folding.EXACT,
    refused_words=words("current_user current_role session_user"),
    quoted_functions=False,
    bare_tables=frozenset({"dual"}),
    catalogue=words(
        "information_schema.tables information_schema.columns information_schema.schemata "
        "information_schema.key_column_usage information_schema.table_constraints "
        "information_schema.referential_constraints information_schema.statistics "
        "information_schema.views"
    ),
)
