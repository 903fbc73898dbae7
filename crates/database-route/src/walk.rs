//! Walks a `SELECT`: what is not named here is refused. Depth is bounded by the
//! decoder of the parser's tree (100 levels).

use crate::class::Reason;
use crate::functions::{self, Kind};
use pg_query::NodeEnum;
use pg_query::protobuf::{
    FuncCall, Node, RangeVar, SelectStmt, SqlValueFunctionOp, SubLinkType, TypeName, WindowDef,
};

type Walk = Result<(), Reason>;

/// Whether the statement reads and does nothing else; if not, why.
pub(crate) fn select(stmt: &SelectStmt) -> Walk {
    if stmt.into_clause.is_some() {
        return Err(Reason::Syntax);
    }
    if !stmt.locking_clause.is_empty() {
        return Err(Reason::Locking);
    }
    if let Some(with) = &stmt.with_clause {
        for cte in &with.ctes {
            let Some(NodeEnum::CommonTableExpr(cte)) = &cte.node else { return Err(Reason::Syntax) };
            if cte.search_clause.is_some() || cte.cycle_clause.is_some() {
                return Err(Reason::Syntax);
            }
            subselect(cte.ctequery.as_deref())?;
        }
    }
    if let Some(left) = &stmt.larg {
        select(left)?;
    }
    if let Some(right) = &stmt.rarg {
        select(right)?;
    }
    nodes(&stmt.distinct_clause)?;
    nodes(&stmt.target_list)?;
    nodes(&stmt.from_clause)?;
    nodes(&stmt.group_clause)?;
    nodes(&stmt.window_clause)?;
    nodes(&stmt.values_lists)?;
    nodes(&stmt.sort_clause)?;
    optional(stmt.where_clause.as_deref())?;
    optional(stmt.having_clause.as_deref())?;
    optional(stmt.limit_offset.as_deref())?;
    optional(stmt.limit_count.as_deref())
}

fn subselect(found: Option<&Node>) -> Walk {
    match found.and_then(|n| n.node.as_ref()) {
        Some(NodeEnum::SelectStmt(stmt)) => select(stmt),
        _ => Err(Reason::Syntax),
    }
}

fn nodes(list: &[Node]) -> Walk {
    list.iter().try_for_each(node)
}

fn optional(found: Option<&Node>) -> Walk {
    found.map_or(Ok(()), node)
}

fn node(found: &Node) -> Walk {
    // An absent node stands where `DISTINCT` has no list.
    let Some(found) = &found.node else { return Ok(()) };
    match found {
        NodeEnum::ResTarget(n) => {
            nodes(&n.indirection)?;
            optional(n.val.as_deref())
        }
        NodeEnum::ColumnRef(n) => nodes(&n.fields),
        NodeEnum::String(_) | NodeEnum::AStar(_) | NodeEnum::AConst(_) | NodeEnum::ParamRef(_) => Ok(()),
        NodeEnum::Integer(_) | NodeEnum::Float(_) | NodeEnum::Boolean(_) | NodeEnum::BitString(_) => Ok(()),
        NodeEnum::List(n) => nodes(&n.items),
        NodeEnum::SelectStmt(n) => select(n),
        NodeEnum::RangeVar(n) => relation(n),
        NodeEnum::RangeSubselect(n) => subselect(n.subquery.as_deref()),
        NodeEnum::RangeFunction(n) if n.coldeflist.is_empty() => nodes(&n.functions),
        NodeEnum::JoinExpr(n) => {
            optional(n.larg.as_deref())?;
            optional(n.rarg.as_deref())?;
            optional(n.quals.as_deref())
        }
        NodeEnum::AExpr(n) => {
            operator(&n.name)?;
            optional(n.lexpr.as_deref())?;
            optional(n.rexpr.as_deref())
        }
        NodeEnum::BoolExpr(n) => nodes(&n.args),
        NodeEnum::FuncCall(n) => call(n),
        NodeEnum::NamedArgExpr(n) => optional(n.arg.as_deref()),
        NodeEnum::TypeCast(n) => {
            type_name(n.type_name.as_ref())?;
            optional(n.arg.as_deref())
        }
        NodeEnum::SubLink(n) => {
            if matches!(n.sub_link_type(), SubLinkType::Undefined | SubLinkType::MultiexprSublink) {
                return Err(Reason::Syntax);
            }
            operator(&n.oper_name)?;
            optional(n.testexpr.as_deref())?;
            subselect(n.subselect.as_deref())
        }
        NodeEnum::CaseExpr(n) => {
            optional(n.arg.as_deref())?;
            nodes(&n.args)?;
            optional(n.defresult.as_deref())
        }
        NodeEnum::CaseWhen(n) => {
            optional(n.expr.as_deref())?;
            optional(n.result.as_deref())
        }
        NodeEnum::CoalesceExpr(n) => nodes(&n.args),
        NodeEnum::MinMaxExpr(n) => nodes(&n.args),
        NodeEnum::NullTest(n) => optional(n.arg.as_deref()),
        NodeEnum::BooleanTest(n) => optional(n.arg.as_deref()),
        NodeEnum::AArrayExpr(n) => nodes(&n.elements),
        NodeEnum::RowExpr(n) => nodes(&n.args),
        NodeEnum::AIndirection(n) => {
            optional(n.arg.as_deref())?;
            nodes(&n.indirection)
        }
        NodeEnum::AIndices(n) => {
            optional(n.lidx.as_deref())?;
            optional(n.uidx.as_deref())
        }
        NodeEnum::CollateClause(n) => optional(n.arg.as_deref()),
        NodeEnum::GroupingSet(n) => nodes(&n.content),
        NodeEnum::GroupingFunc(n) => nodes(&n.args),
        NodeEnum::SortBy(n) if n.use_op.is_empty() => optional(n.node.as_deref()),
        NodeEnum::WindowDef(n) => window(n),
        NodeEnum::SqlvalueFunction(n) => match n.op() {
            SqlValueFunctionOp::SqlvalueFunctionOpUndefined => Err(Reason::Syntax),
            _ => Ok(()),
        },
        _ => Err(Reason::Syntax),
    }
}

fn window(n: &WindowDef) -> Walk {
    nodes(&n.partition_clause)?;
    nodes(&n.order_clause)?;
    optional(n.start_offset.as_deref())?;
    optional(n.end_offset.as_deref())
}

fn call(n: &FuncCall) -> Walk {
    let name = match unqualified(&n.funcname) {
        Some(name) => name,
        None => return Err(Reason::UnknownFunction),
    };
    match functions::kind(name) {
        Kind::Read => {}
        Kind::Harmless => return Err(Reason::Function),
        Kind::Unknown => return Err(Reason::UnknownFunction),
    }
    nodes(&n.args)?;
    nodes(&n.agg_order)?;
    optional(n.agg_filter.as_deref())?;
    n.over.as_deref().map_or(Ok(()), window)
}

fn operator(names: &[Node]) -> Walk {
    if names.is_empty() {
        return Ok(()); // `IN (SELECT …)`
    }
    match unqualified(names) {
        Some(name) if functions::is_known_operator(name) => Ok(()),
        _ => Err(Reason::Type),
    }
}

fn type_name(found: Option<&TypeName>) -> Walk {
    let Some(found) = found else { return Err(Reason::Type) };
    if found.setof || found.pct_type {
        return Err(Reason::Type);
    }
    match unqualified(&found.names) {
        Some(name) if functions::is_known_type(name) => nodes(&found.typmods),
        _ => Err(Reason::Type),
    }
}

/// The name, where it has no schema or `pg_catalog`.
fn unqualified(names: &[Node]) -> Option<&str> {
    let text = |n: &'_ Node| match &n.node {
        Some(NodeEnum::String(s)) => Some(s.sval.as_str().to_owned()),
        _ => None,
    };
    let last = match names {
        [name] => name,
        [schema, name] if text(schema).as_deref() == Some("pg_catalog") => name,
        _ => return None,
    };
    match &last.node {
        Some(NodeEnum::String(s)) => Some(&s.sval),
        _ => None,
    }
}

/// Tables and views of the site. What a system view shows differs from member to
/// member; a sequence's row runs ahead on a replica (it is logged 32 values at a time).
fn relation(n: &RangeVar) -> Walk {
    let system = n.relname.starts_with("pg_")
        || n.schemaname.starts_with("pg_")
        || n.schemaname == "information_schema"
        || !n.catalogname.is_empty();
    if system || n.relname.ends_with("_seq") { Err(Reason::Catalog) } else { Ok(()) }
}

/// Whether a relation is, or lives in a schema that is, temporary.
pub(crate) fn is_temporary(n: &RangeVar) -> bool {
    n.relpersistence == "t" || n.schemaname.starts_with("pg_temp")
}
