//! The lists: functions, operators and types of `pg_catalog` that a plain read
//! may use. Sorted, so that a look-up is a binary search and a test can say what
//! is out of place.
//!
//! Source: PostgreSQL 15 manual, chapter 9; `pg_proc.provolatile` is `i` or `s`
//! for all of [`READ`], checked by a test against a real server (`database`'s
//! tests), except where the comment says otherwise.

/// What is known of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A replica may run it.
    Read,
    /// The primary must run it, but it leaves nothing behind in the session.
    Harmless,
    /// Nothing.
    Unknown,
}

/// Looks a function up by its name, bare or after `pg_catalog.`.
pub(crate) fn kind(name: &str) -> Kind {
    let name = name.strip_prefix("pg_catalog.").unwrap_or(name);
    if READ.binary_search(&name).is_ok() {
        Kind::Read
    } else if HARMLESS.binary_search(&name).is_ok() {
        Kind::Harmless
    } else {
        Kind::Unknown
    }
}

/// Whether the operator is one of PostgreSQL's usual ones.
pub(crate) fn is_known_operator(name: &str) -> bool {
    OPERATORS.contains(&name)
}

/// Whether the type is built in and its input has no look-ups.
pub(crate) fn is_known_type(name: &str) -> bool {
    TYPES.binary_search(&name).is_ok()
}

/// Immutable or stable, and the same on every member that has the same data.
#[rustfmt::skip]
pub const READ: &[&str] = &[
    "abs", "acos", "age", "any_value", "array_agg", "array_append", "array_cat", "array_dims", "array_length",
    "array_lower", "array_ndims", "array_position", "array_positions", "array_prepend", "array_remove",
    "array_replace", "array_to_json", "array_to_string", "array_upper", "ascii", "asin", "atan", "atan2", "avg",
    "bit_and", "bit_length", "bit_or", "bool_and", "bool_or", "btrim", "cardinality", "cbrt", "ceil", "ceiling",
    "char_length", "character_length", "chr", "concat", "concat_ws", "convert_from", "convert_to", "corr", "cos",
    "count", "cume_dist", "date_bin", "date_part", "date_trunc", "decode", "degrees", "dense_rank", "div",
    "encode", "every", "exp", "extract", "factorial", "first_value", "floor", "format", "gcd",
    "generate_series", "generate_subscripts", "get_bit", "get_byte", "grouping", "host", "initcap",
    "isfinite", "json_agg", "json_array_elements", "json_array_elements_text", "json_array_length",
    "json_build_array", "json_build_object", "json_each", "json_each_text", "json_extract_path",
    "json_extract_path_text", "json_object", "json_object_agg", "json_object_keys", "json_strip_nulls",
    "json_typeof", "jsonb_agg", "jsonb_array_elements", "jsonb_array_elements_text", "jsonb_array_length",
    "jsonb_build_array", "jsonb_build_object", "jsonb_each", "jsonb_each_text", "jsonb_extract_path",
    "jsonb_extract_path_text", "jsonb_insert", "jsonb_object", "jsonb_object_agg", "jsonb_object_keys",
    "jsonb_path_exists", "jsonb_path_match", "jsonb_path_query", "jsonb_path_query_array",
    "jsonb_path_query_first", "jsonb_pretty", "jsonb_set", "jsonb_strip_nulls", "jsonb_typeof",
    "justify_days", "justify_hours", "justify_interval", "lag", "last_value", "lcm", "lead", "left", "length",
    "like_escape", "ln", "log", "log10", "lower", "lower_inc", "lower_inf", "lpad", "ltrim", "make_date",
    "make_interval", "make_time", "make_timestamp", "make_timestamptz", "max", "md5", "min", "mod", "mode",
    "normalize", "now", "nth_value", "ntile", "num_nonnulls", "num_nulls", "octet_length", "overlaps", "overlay",
    "percent_rank", "percentile_cont", "percentile_disc", "phraseto_tsquery", "pi", "plainto_tsquery",
    "position", "power", "quote_ident", "quote_literal", "quote_nullable", "radians", "rank", "regexp_count",
    "regexp_instr", "regexp_like", "regexp_match", "regexp_matches", "regexp_replace", "regexp_split_to_array",
    "regexp_split_to_table", "regexp_substr", "repeat", "replace", "reverse", "right", "round", "row_number",
    "row_to_json", "rpad", "rtrim", "scale", "sha224", "sha256", "sha384", "sha512", "sign",
    "similar_to_escape", "sin", "split_part", "sqrt", "starts_with", "statement_timestamp", "stddev", "stddev_pop", "stddev_samp",
    "string_agg", "string_to_array", "string_to_table", "strpos", "substr", "substring", "sum", "tan",
    "timezone", "to_char", "to_date", "to_hex", "to_json", "to_jsonb", "to_number", "to_timestamp",
    "to_tsquery", "to_tsvector", "transaction_timestamp", "translate", "trim_array", "trim_scale", "trunc", "ts_headline", "ts_rank", "ts_rank_cd",
    "unnest", "upper", "upper_inc", "upper_inf", "var_pop", "var_samp", "variance", "websearch_to_tsquery",
    "width_bucket",
];

/// Known not to touch settings or temporary tables, though the primary must run them.
#[rustfmt::skip]
pub(crate) const HARMLESS: &[&str] = &[
    "clock_timestamp", "col_description", "current_database", "current_schema", "current_schemas",
    "current_setting", "currval", "format_type", "gen_random_uuid", "has_table_privilege", "inet_client_addr",
    "inet_client_port", "inet_server_addr", "inet_server_port", "lastval", "nextval", "obj_description",
    "pg_advisory_lock", "pg_advisory_lock_shared", "pg_advisory_unlock", "pg_advisory_unlock_all",
    "pg_advisory_unlock_shared", "pg_advisory_xact_lock", "pg_advisory_xact_lock_shared", "pg_backend_pid",
    "pg_cancel_backend", "pg_current_wal_insert_lsn", "pg_current_wal_lsn", "pg_current_xact_id",
    "pg_database_size", "pg_encoding_to_char", "pg_get_constraintdef", "pg_get_expr", "pg_get_functiondef",
    "pg_get_indexdef", "pg_get_serial_sequence", "pg_get_userbyid", "pg_get_viewdef", "pg_indexes_size",
    "pg_is_in_recovery", "pg_last_wal_replay_lsn", "pg_notify", "pg_postmaster_start_time",
    "pg_relation_size", "pg_size_pretty", "pg_sleep", "pg_sleep_for", "pg_sleep_until", "pg_switch_wal",
    "pg_table_is_visible", "pg_table_size", "pg_terminate_backend", "pg_total_relation_size",
    "pg_try_advisory_lock", "pg_try_advisory_lock_shared", "pg_try_advisory_xact_lock",
    "pg_try_advisory_xact_lock_shared", "random", "row_security_active", "setval", "shobj_description",
    "timeofday", "to_regclass", "to_regtype", "txid_current", "txid_current_if_assigned", "version",
];

const OPERATORS: &[&str] = &[
    "=",
    "<>",
    "!=",
    "<",
    ">",
    "<=",
    ">=",
    "+",
    "-",
    "*",
    "/",
    "%",
    "^",
    "|/",
    "||",
    "&",
    "|",
    "#",
    "~",
    "<<",
    ">>",
    "~~",
    "!~~",
    "~~*",
    "!~~*",
    "~*",
    "!~",
    "!~*",
    "->",
    "->>",
    "#>",
    "#>>",
    "@>",
    "<@",
    "?",
    "?|",
    "?&",
    "#-",
    "@?",
    "@@",
    "&&",
    "-|-",
    "&<",
    "&>",
    "@",
    "^@",
    "<->",
    "!!",
    // `AexprKind` of these carries words for the operator's name.
    "BETWEEN",
    "NOT BETWEEN",
    "BETWEEN SYMMETRIC",
    "NOT BETWEEN SYMMETRIC",
];

/// Names after the parser's translation (`integer` is `int4`).
#[rustfmt::skip]
const TYPES: &[&str] = &[
    "bit", "bool", "boolean", "box", "bpchar", "bytea", "char", "cidr", "circle", "date", "daterange", "float4", "float8", "inet",
    "int2", "int4", "int4range", "int8", "int8range", "interval", "json", "jsonb", "jsonpath", "line", "lseg",
    "macaddr", "money", "numeric", "numrange", "path", "point", "polygon", "text", "time", "timestamp", "timestamptz",
    "timetz", "tsquery", "tsrange", "tstzrange", "tsvector", "unknown", "uuid", "varbit", "varchar",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_sorted_and_disjoint() {
        for list in [READ, HARMLESS, TYPES] {
            for pair in list.windows(2) {
                assert!(pair[0] < pair[1], "`{}` must come before `{}`", pair[1], pair[0]);
            }
        }
        assert!(READ.iter().all(|name| HARMLESS.binary_search(name).is_err()));
    }
}
