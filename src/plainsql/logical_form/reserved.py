"""Words that can't name a table or a column unquoted, in each SQL dialect.

DuckDB's are of duckdb_keywords(), PostgreSQL's of pg_get_keywords() (categories R
and T), MySQL's those that MariaDB 10.11 refused as a column, a table or an alias
together with the reserved words of MySQL 8
(https://dev.mysql.com/doc/refman/8.4/en/keywords.html). Beside them stand words that
sqlglot, which the guard reads with, takes for something else, and those that the guard
refuses bare: current_schema, a call without brackets.
"""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_EVERYWHERE = _words(
    "all alter analyze and any array as asc between both case check collate column constraint "
    "create cross cube current_date current_time current_timestamp current_user default desc "
    "describe distinct drop else except false fetch for foreign from glob grant group having "
    "if ilike in inner insert intersect interval into is join lateral leading left like limit "
    "lock natural not notnull null offset on or order outer primary qualify references regexp "
    "returning revoke right rlike rollback rollup select straight_join table tablesample then "
    "to trailing true union unique using values when where window with xor"
)
RESERVED: dict[str, frozenset[str]] = {
    "sqlite": _EVERYWHERE
    | _words(
        "abort action add after analyse attach authorization autoincrement before begin by "
        "cascade cast char character collation commit conflict current database decimal "
        "deferrable deferred delete detach div do double each end escape exclude exclusive "
        "exists explain fail filter first float following full function generated groups "
        "ignore immediate index indexed initially instead int integer isnull key lag last "
        "lead match materialized mod no nothing nulls numeric of only others over partition "
        "placing plan pragma preceding query raise range rank real recursive reindex release "
        "rename replace restrict row rows savepoint set some symmetric system temp temporary "
        "ties transaction trigger unbounded update usage user vacuum verbose view virtual "
        "without"
    ),
    "duckdb": _EVERYWHERE
    | _words(
        "analyse anti asof asymmetric at authorization binary by cast collation columns "
        "concurrently current_catalog current_database current_schema deferrable do end force "
        "freeze full generated initially install isnull lambda localtime localtimestamp map "
        "only overlaps pivot pivot_longer pivot_wider placing positional semi session_user "
        "show similar some struct summarize symmetric try_cast tuple unpack unpivot variadic "
        "verbose"
    ),
    "postgres": _EVERYWHERE
    | _words(
        "analyse asymmetric authorization binary cast collation concurrently current_catalog "
        "current_role current_schema deferrable do end freeze full initially isnull localtime "
        "localtimestamp only overlaps placing session_user similar some symmetric system_user "
        "user variadic verbose"
    ),
    "mysql": _EVERYWHERE
    | _words(
        "accessible add admin asensitive before bigint binary blob body by call cascade "
        "change char character charset condition continue convert cume_dist current_role "
        "cursor database databases day_hour day_microsecond day_minute day_second dec decimal "
        "declare delayed delete delete_domain_id dense_rank deterministic distinctrow div "
        "do_domain_ids double dual each elseif elsif empty enclosed end escaped exists exit "
        "explain first_value float float4 float8 force fulltext function general generated "
        "get get_master_public_key goto grouping groups high_priority history "
        "hour_microsecond hour_minute hour_second ignore ignore_domain_ids ignore_server_ids "
        "index infile inout insensitive int int1 int2 int3 int4 int8 integer io_after_gtids "
        "io_before_gtids iterate json_table key keys kill lag last_value lead leave linear "
        "lines load localtime localtimestamp long longblob longtext loop low_priority "
        "master_bind master_demote_to_replica master_demote_to_slave master_heartbeat_period "
        "master_ssl_verify_server_cert match maxvalue mediumblob mediumint mediumtext member "
        "middleint minute_microsecond minute_second mod modifies no_write_to_binlog nth_value "
        "ntile numeric of optimize optimizer_costs option optionally others out outfile over "
        "package page_checksum parallel parse_gcol_expr parse_vcol_expr partition "
        "percent_rank period persist persist_only portion position precision procedure purge "
        "raise range rank read read_write reads real recursive ref_system_id release rename "
        "repeat replace require resignal restrict return role row row_number rows rowtype "
        "schema schemas second_microsecond sensitive separator session_user set show signal "
        "slow smallint spatial specific sql sql_after_gtids sql_before_gtids sql_big_result "
        "sql_buffer_result sql_cache sql_calc_found_rows sql_no_cache sql_small_result "
        "sqlexception sqlstate sqlwarning ssl starting stats_auto_recalc stats_persistent "
        "stats_sample_pages stored straight_join system system_time terminated tinyblob "
        "tinyint tinytext trigger undo unlock unsigned update usage use utc_date utc_time "
        "utc_timestamp varbinary varchar varcharacter varying versioning virtual while "
        "without write year_month zerofill"
    ),
}
ANYWHERE = frozenset[str]().union(*RESERVED.values())
