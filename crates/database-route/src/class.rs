//! A string of SQL to a verdict: read, or something for the primary, and why.

use crate::functions::{self, Kind};
use crate::walk;
use pg_query::protobuf::{DiscardMode, RangeVar, TransactionStmtKind, VariableSetKind};
use pg_query::{NodeEnum, ParseResult};

/// Longer strings are not parsed. Generated `IN` lists reach a few tens of KiB.
pub const MAX_STATEMENT: usize = 64 * 1024;

/// What a string of SQL is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// One plain read: any replica that is fresh enough gives the right answer.
    Read,
    /// A write, or something that cannot be proved to be a read.
    Write,
    /// Begins or ends a transaction.
    Transaction,
    /// Concerns the session: settings, prepared statements, notifications, cursors.
    Session,
}

/// Why, in the words of the metric `bastide_database_routed_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It is a plain read.
    Read,
    /// It is a write or a command.
    Write,
    /// It begins or ends a transaction.
    Transaction,
    /// It concerns the session.
    Session,
    /// A function that the primary must run: `nextval`, `pg_advisory_lock`.
    Function,
    /// A function that we do not know.
    UnknownFunction,
    /// A type or operator that is not on the list.
    Type,
    /// Syntax that is not on the list.
    Syntax,
    /// A system catalogue, a sequence or a temporary table.
    Catalog,
    /// It locks rows.
    Locking,
    /// Several statements in one string.
    Multiple,
    /// The parser did not understand it.
    Unparsed,
    /// It is too long to be parsed.
    TooLong,
    /// No statement at all.
    Empty,
}

impl Reason {
    /// The metric's label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Transaction => "transaction",
            Self::Session => "session",
            Self::Function => "function",
            Self::UnknownFunction => "unknown_function",
            Self::Type => "type",
            Self::Syntax => "syntax",
            Self::Catalog => "catalog",
            Self::Locking => "locking",
            Self::Multiple => "multiple",
            Self::Unparsed => "unparsed",
            Self::TooLong => "too_long",
            Self::Empty => "empty",
        }
    }
}

/// What it does to the session once it succeeds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Nothing that a later read could notice.
    #[default]
    None,
    /// It changes state that only the primary's connection has: later reads stay there.
    Pin,
    /// `DISCARD ALL`: a fresh session.
    Reset,
    /// `EXECUTE name` or `DEALLOCATE name`: the primary's connection must have the statement.
    NeedsStatement {
        /// Its name.
        name: String,
        /// Whether it is gone afterwards.
        drops: bool,
    },
    /// `DEALLOCATE ALL`.
    DropsStatements,
}

/// What [`classify`] found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Verdict {
    /// What it is.
    pub class: Class,
    /// Why.
    pub reason: Reason,
    /// What it leaves behind.
    pub effect: Effect,
}

impl Verdict {
    /// A verdict without an effect.
    pub const fn new(class: Class, reason: Reason) -> Self {
        Self { class, reason, effect: Effect::None }
    }

    /// Whether a replica may run it.
    pub fn is_read(&self) -> bool {
        self.class == Class::Read
    }

    const fn with(class: Class, reason: Reason, effect: Effect) -> Self {
        Self { class, reason, effect }
    }
}

/// Reads `sql`, in UTF-8, with standard-conforming strings.
pub fn classify(sql: &str) -> Verdict {
    if sql.len() > MAX_STATEMENT {
        return Verdict::with(Class::Write, Reason::TooLong, pin_if(mentions_session_state(sql)));
    }
    // The parser is PostgreSQL's, its tree walker the crate's: neither is ours to trust with our process.
    let parsed = std::panic::catch_unwind(|| pg_query::parse(sql, 0));
    let Ok(Ok(parsed)) = parsed else {
        return Verdict::with(Class::Write, Reason::Unparsed, Effect::Pin);
    };
    let mut statements =
        parsed.protobuf.stmts.iter().filter_map(|raw| raw.stmt.as_ref().and_then(|node| node.node.as_ref()));
    let Some(first) = statements.next() else { return Verdict::new(Class::Write, Reason::Empty) };
    let Some(second) = statements.next() else { return single(first, &parsed, sql) };

    let mut effect = Effect::None;
    for statement in [first, second].into_iter().chain(statements) {
        effect = match (effect, single(statement, &parsed, sql).effect) {
            (effect, Effect::None) => effect,
            (Effect::None, effect) => effect,
            _ => Effect::Pin,
        };
    }
    Verdict::with(Class::Write, Reason::Multiple, effect)
}

/// One statement of `parsed`.
fn single(statement: &NodeEnum, parsed: &ParseResult, sql: &str) -> Verdict {
    if let NodeEnum::SelectStmt(select) = statement {
        return match walk::select(select) {
            Ok(()) => Verdict::new(Class::Read, Reason::Read),
            Err(Reason::UnknownFunction) => Verdict::with(Class::Write, Reason::UnknownFunction, Effect::Pin),
            Err(reason) => Verdict::with(Class::Write, reason, effect_of_functions(parsed, sql)),
        };
    }
    let session = |effect| Verdict::with(Class::Session, Reason::Session, effect);
    match statement {
        NodeEnum::TransactionStmt(stmt) => match stmt.kind() {
            // Two-phase commit leaves nothing in the session either.
            TransactionStmtKind::Undefined => Verdict::new(Class::Write, Reason::Syntax),
            _ => Verdict::new(Class::Transaction, Reason::Transaction),
        },
        NodeEnum::VariableSetStmt(stmt) => {
            let of_transaction = stmt.is_local
                || (stmt.kind() == VariableSetKind::VarSetMulti && stmt.name.starts_with("TRANSACTION"));
            session(pin_if(!of_transaction))
        }
        NodeEnum::VariableShowStmt(_) | NodeEnum::ListenStmt(_) | NodeEnum::UnlistenStmt(_) => {
            session(Effect::None)
        }
        // Cursors live in the transaction or, `WITH HOLD`, on the primary's connection, where `FETCH` goes too.
        NodeEnum::DeclareCursorStmt(_) | NodeEnum::FetchStmt(_) | NodeEnum::ClosePortalStmt(_) => {
            Verdict::with(Class::Session, Reason::Session, effect_of_functions(parsed, sql))
        }
        NodeEnum::PrepareStmt(_) => session(effect_of_functions(parsed, sql)),
        NodeEnum::ExecuteStmt(stmt) => {
            session(Effect::NeedsStatement { name: stmt.name.clone(), drops: false })
        }
        NodeEnum::DeallocateStmt(stmt) if stmt.isall || stmt.name.is_empty() => {
            session(Effect::DropsStatements)
        }
        NodeEnum::DeallocateStmt(stmt) => {
            session(Effect::NeedsStatement { name: stmt.name.clone(), drops: true })
        }
        NodeEnum::DiscardStmt(stmt) => session(match stmt.target() {
            DiscardMode::DiscardAll => Effect::Reset,
            _ => Effect::None,
        }),
        // They run code that we cannot see, or load it.
        NodeEnum::DoStmt(_) | NodeEnum::CallStmt(_) | NodeEnum::LoadStmt(_) => {
            Verdict::with(Class::Write, Reason::Write, Effect::Pin)
        }
        NodeEnum::CreateStmt(stmt) => creates(stmt.relation.as_ref(), parsed, sql),
        NodeEnum::CreateTableAsStmt(stmt) => {
            creates(stmt.into.as_ref().and_then(|into| into.rel.as_ref()), parsed, sql)
        }
        NodeEnum::ViewStmt(stmt) => creates(stmt.view.as_ref(), parsed, sql),
        NodeEnum::CreateSeqStmt(stmt) => creates(stmt.sequence.as_ref(), parsed, sql),
        _ => Verdict::with(Class::Write, Reason::Write, effect_of_functions(parsed, sql)),
    }
}

/// `CREATE [TEMP] …`: a temporary one may hide a table of the same name, here only.
fn creates(relation: Option<&RangeVar>, parsed: &ParseResult, sql: &str) -> Verdict {
    let temporary = relation.is_none_or(walk::is_temporary);
    let effect = if temporary { Effect::Pin } else { effect_of_functions(parsed, sql) };
    Verdict::with(Class::Write, Reason::Write, effect)
}

/// A function that we do not know may set variables or make temporary tables.
fn effect_of_functions(parsed: &ParseResult, sql: &str) -> Effect {
    let unknown = parsed.functions().iter().any(|name| functions::kind(name) == Kind::Unknown);
    pin_if(unknown || mentions_session_state(sql))
}

/// The parser's list of functions is not exhaustive; the two that matter are looked for in the text too.
fn mentions_session_state(sql: &str) -> bool {
    let lower = sql.to_ascii_lowercase();
    ["set_config", "pg_temp", "into temp", "into local temp"].iter().any(|word| lower.contains(word))
}

const fn pin_if(pin: bool) -> Effect {
    if pin { Effect::Pin } else { Effect::None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Class::{Read, Session, Transaction, Write};

    #[test]
    fn reads() {
        let mut wrong = Vec::new();
        for sql in [
            "select 1",
            "SELECT id, name FROM products WHERE price < $1 ORDER BY name LIMIT 10 OFFSET $2",
            "select count(*), sum(quantity * price), max(id) filter (where x) from cart_items group by cart",
            "select * from a join b on a.id = b.a left join lateral (select 1) c on true",
            "select * from a natural join b, c cross join d",
            "with x as (select 1), y as (select * from x) select * from y",
            "with recursive t(n) as (values (1) union all select n + 1 from t where n < 5) select n from t",
            "values (1, 'a'), (2, 'b')",
            "table products",
            "select coalesce(a, b), nullif(a, 0), greatest(a, b), case when a then 1 else 2 end from t",
            "select a in (1, 2, $1), b between 1 and 2, c like 'x%', d ilike $2, e is null, f is not true from t",
            "select exists (select 1 from t), (select max(id) from t), a = any($1), array(select 1) from t",
            "select lower(name), length(name), substring(name from 1 for 3), trim(name), position('a' in b) from t",
            "select to_char(created_at, 'YYYY'), extract(year from created_at), date_trunc('day', created_at) from t",
            "select now(), current_date, current_timestamp, created_at at time zone 'UTC', interval '1 day' from t",
            "select data->>'x', data @> '{}'::jsonb, jsonb_build_object('a', 1), jsonb_agg(x) from t",
            "select row_number() over (partition by a order by b), rank() over w from t window w as (order by c)",
            "select string_agg(name, ', ' order by name), array_agg(distinct id) from t",
            "select id::text, cast(x as numeric(10, 2)), 'a'::varchar(10), $1::int[], true::boolean from t",
            "select distinct on (a) a, b from t group by rollup (a, b) having count(*) > 1",
            "select a from t union select a from u intersect select a from v except select a from w",
            "select * from generate_series(1, 3) as g(i), unnest($1::text[]) u",
            "select * from t where to_tsvector('english', name) @@ plainto_tsquery('english', $1)",
            "select pg_catalog.lower(name), (array[1, 2, 3])[1], row(1, 2), name collate \"C\" from public.t",
            "select 1;",
            "/* a comment */ select 1 -- another",
            "select * from only t",
            "select * from orders o where (o.id, o.at) < ($1, $2) for fetch first 5 rows only"
                .replace("for fetch", "fetch")
                .as_str(),
        ] {
            let found = classify(sql);
            if found != Verdict::new(Read, Reason::Read) {
                wrong.push(format!("{sql}: {found:?}"));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn everything_else() {
        let cases: &[(&str, Class, Reason, Effect)] = &[
            ("insert into t values (1)", Write, Reason::Write, Effect::None),
            ("update t set a = 1", Write, Reason::Write, Effect::None),
            ("delete from t returning *", Write, Reason::Write, Effect::None),
            (
                "merge into t using u on t.a = u.a when matched then delete",
                Write,
                Reason::Write,
                Effect::None,
            ),
            ("truncate t", Write, Reason::Write, Effect::None),
            ("create table t (a int)", Write, Reason::Write, Effect::None),
            ("create temp table t (a int)", Write, Reason::Write, Effect::Pin),
            ("create table pg_temp.t (a int)", Write, Reason::Write, Effect::Pin),
            ("create temporary view v as select 1", Write, Reason::Write, Effect::Pin),
            ("create temp table t as select 1", Write, Reason::Write, Effect::Pin),
            ("create temp sequence s", Write, Reason::Write, Effect::Pin),
            ("select 1 into t", Write, Reason::Syntax, Effect::None),
            ("select 1 into temp t", Write, Reason::Syntax, Effect::Pin),
            ("select * from t for update", Write, Reason::Locking, Effect::None),
            ("select * from t for key share skip locked", Write, Reason::Locking, Effect::None),
            ("select * from (select * from t for share) x", Write, Reason::Locking, Effect::None),
            (
                "with x as (insert into t values (1) returning *) select * from x",
                Write,
                Reason::Syntax,
                Effect::None,
            ),
            (
                "select * from (with x as (delete from t returning 1) select 1) y",
                Write,
                Reason::Syntax,
                Effect::None,
            ),
            ("select nextval('s')", Write, Reason::Function, Effect::None),
            ("select setval('s', 1)", Write, Reason::Function, Effect::None),
            ("select pg_advisory_lock(1)", Write, Reason::Function, Effect::None),
            ("select lo_create(0)", Write, Reason::UnknownFunction, Effect::Pin),
            ("select dblink_exec('x', 'y')", Write, Reason::UnknownFunction, Effect::Pin),
            ("select my_function(1)", Write, Reason::UnknownFunction, Effect::Pin),
            ("select public.lower('A')", Write, Reason::UnknownFunction, Effect::Pin),
            ("select \"Lower\"('A')", Write, Reason::UnknownFunction, Effect::Pin),
            ("select * from my_rows()", Write, Reason::UnknownFunction, Effect::Pin),
            ("select 1 where exists (select evil())", Write, Reason::UnknownFunction, Effect::Pin),
            ("select 1 order by evil()", Write, Reason::UnknownFunction, Effect::Pin),
            ("select 1 limit evil()", Write, Reason::UnknownFunction, Effect::Pin),
            ("select count(*) filter (where evil())", Write, Reason::UnknownFunction, Effect::Pin),
            ("select set_config('a.b', '1', false)", Write, Reason::UnknownFunction, Effect::Pin),
            ("select pg_notify('a', 'b')", Write, Reason::Function, Effect::None),
            ("select pg_is_in_recovery()", Write, Reason::Function, Effect::None),
            ("select pg_sleep(1)", Write, Reason::Function, Effect::None),
            ("select txid_current()", Write, Reason::Function, Effect::None),
            ("select 1 operator(public.+) 1", Write, Reason::Type, Effect::None),
            ("select 1 <#> 2", Write, Reason::Type, Effect::None),
            ("select 'x'::mood", Write, Reason::Type, Effect::None),
            ("select 'x'::public.text", Write, Reason::Type, Effect::None),
            ("select 't'::regclass", Write, Reason::Type, Effect::None),
            ("select * from pg_stat_activity", Write, Reason::Catalog, Effect::None),
            ("select * from pg_catalog.pg_class", Write, Reason::Catalog, Effect::None),
            ("select * from information_schema.tables", Write, Reason::Catalog, Effect::None),
            ("select last_value from orders_id_seq", Write, Reason::Catalog, Effect::None),
            ("select * from pg_temp.t", Write, Reason::Catalog, Effect::Pin),
            ("select 1; select 2", Write, Reason::Multiple, Effect::None),
            ("select 1; set x.y = 1", Write, Reason::Multiple, Effect::Pin),
            ("select 1; drop table t", Write, Reason::Multiple, Effect::None),
            ("", Write, Reason::Empty, Effect::None),
            (" ; -- nothing", Write, Reason::Empty, Effect::None),
            ("selec 1", Write, Reason::Unparsed, Effect::Pin),
            ("select 1\0; drop table t", Write, Reason::Unparsed, Effect::Pin),
            ("explain select 1", Write, Reason::Write, Effect::None),
            ("copy t from stdin", Write, Reason::Write, Effect::None),
            ("copy t to stdout", Write, Reason::Write, Effect::None),
            ("lock table t", Write, Reason::Write, Effect::None),
            ("vacuum", Write, Reason::Write, Effect::None),
            ("notify a", Write, Reason::Write, Effect::None),
            ("do $$ begin end $$", Write, Reason::Write, Effect::Pin),
            ("call p()", Write, Reason::Write, Effect::Pin),
            ("begin", Transaction, Reason::Transaction, Effect::None),
            ("start transaction read only", Transaction, Reason::Transaction, Effect::None),
            ("commit", Transaction, Reason::Transaction, Effect::None),
            ("rollback to savepoint a", Transaction, Reason::Transaction, Effect::None),
            ("set search_path = a", Session, Reason::Session, Effect::Pin),
            ("set session authorization a", Session, Reason::Session, Effect::Pin),
            ("set role a", Session, Reason::Session, Effect::Pin),
            ("set local lock_timeout = 1", Session, Reason::Session, Effect::None),
            ("set transaction isolation level serializable", Session, Reason::Session, Effect::None),
            ("set session characteristics as transaction read only", Session, Reason::Session, Effect::Pin),
            ("reset all", Session, Reason::Session, Effect::Pin),
            ("show all", Session, Reason::Session, Effect::None),
            ("listen a", Session, Reason::Session, Effect::None),
            ("declare c cursor for select 1", Session, Reason::Session, Effect::None),
            ("fetch 1 from c", Session, Reason::Session, Effect::None),
            ("prepare p as select 1", Session, Reason::Session, Effect::None),
            (
                "execute p(1)",
                Session,
                Reason::Session,
                Effect::NeedsStatement { name: "p".into(), drops: false },
            ),
            (
                "deallocate p",
                Session,
                Reason::Session,
                Effect::NeedsStatement { name: "p".into(), drops: true },
            ),
            ("deallocate all", Session, Reason::Session, Effect::DropsStatements),
            ("discard all", Session, Reason::Session, Effect::Reset),
            ("discard plans", Session, Reason::Session, Effect::None),
        ];
        let mut wrong = Vec::new();
        for (sql, class, reason, effect) in cases {
            let found = classify(sql);
            if found != Verdict::with(*class, *reason, effect.clone()) {
                wrong.push(format!("{sql}: {found:?}"));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn hostile_shapes_neither_crash_nor_pass() {
        let deep_parens = format!("select {}1{}", "(".repeat(9_000), ")".repeat(9_000));
        let deep_calls = format!("select {}1{}", "lower(".repeat(5_000), ")".repeat(5_000));
        let chain = format!("select 1{}", "+1".repeat(30_000));
        let unions = format!("select 1{}", " union select 1".repeat(3_000));
        let casts = format!("select 1{}", "::text".repeat(10_000));
        let nots = format!("select {}true", "not ".repeat(15_000));
        for sql in [deep_parens, deep_calls, chain, unions, casts, nots] {
            assert!(sql.len() <= MAX_STATEMENT);
            let verdict = classify(&sql);
            assert!(!verdict.is_read() || sql.starts_with("select ((("), "{}", &sql[..40]);
        }
        assert_eq!(classify(&format!("select '{}'", "x".repeat(MAX_STATEMENT))).reason, Reason::TooLong);
    }

    /// A long `IN` list is flat, not deep, and common.
    #[test]
    fn long_lists_are_reads() {
        let list = (1..2_000).map(|n| format!("${n}")).collect::<Vec<_>>().join(",");
        assert!(classify(&format!("select * from t where id in ({list})")).is_read());
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "\\PC{0,60}") {
            let _ = classify(&text);
            let _ = classify(&format!("select {text}"));
        }

        /// Statements put together from fragments: a write never looks like a read.
        #[test]
        fn a_write_among_reads_is_found(
            before in proptest::sample::select(vec!["select 1 union ", "with a as (select 1) ", "select * from (", "select 1 where exists ("]),
            write in proptest::sample::select(vec!["nextval('s')", "my_function()", "setval('s', 1)", "lo_unlink(1)", "pg_notify('a','b')"]),
        ) {
            let close = if before.ends_with('(') { ") x" } else { "" };
            let close = if before.contains("exists") { ")" } else { close };
            let sql = format!("{before}select {write}{close}");
            proptest::prop_assert!(!classify(&sql).is_read(), "{}", sql);
        }
    }
}
