//! Operators and their arguments: `!@rx ^foo$`.

use crate::data;
use crate::error::{Wrong, shown};
use crate::macros;
use crate::model::{Macro, Operator};
use crate::target::utf8;

/// What an operator's argument is and does.
type Build = fn(&[u8], &dyn data::Read) -> Result<Operator, Wrong>;

/// Every operator's names, lower case, and what builds it.
const OPERATORS: &[(&str, Build)] = &[
    ("beginsWith", |a, _| Ok(Operator::BeginsWith(some("beginsWith", a)?))),
    ("contains", |a, _| Ok(Operator::Contains(some("contains", a)?))),
    ("containsWord", |a, _| Ok(Operator::ContainsWord(some("containsWord", a)?))),
    ("detectSQLi", |a, _| none("detectSQLi", a, Operator::DetectSqli)),
    ("detectXSS", |a, _| none("detectXSS", a, Operator::DetectXss)),
    ("endsWith", |a, _| Ok(Operator::EndsWith(some("endsWith", a)?))),
    ("eq", |a, _| Ok(Operator::Eq(number("eq", a)?))),
    ("ge", |a, _| Ok(Operator::Ge(number("ge", a)?))),
    ("gt", |a, _| Ok(Operator::Gt(number("gt", a)?))),
    ("ipMatch", |a, _| Ok(Operator::IpMatch(data::networks(a)?))),
    ("ipMatchF", ip_match_from_file),
    ("ipMatchFromFile", ip_match_from_file),
    ("le", |a, _| Ok(Operator::Le(number("le", a)?))),
    ("lt", |a, _| Ok(Operator::Lt(number("lt", a)?))),
    ("noMatch", |a, _| none("noMatch", a, Operator::Never)),
    ("pm", |a, _| Ok(Operator::Pm(data::phrases(a)?))),
    ("pmf", pm_from_file),
    ("pmFromFile", pm_from_file),
    ("rx", |a, _| Ok(Operator::Rx(macros::parse(a)?))),
    ("rxGlobal", |a, _| Ok(Operator::RxGlobal(macros::parse(a)?))),
    ("streq", |a, _| Ok(Operator::StrEq(macros::parse(a)?))),
    ("strmatch", |a, _| Ok(Operator::StrMatch(some("strmatch", a)?))),
    ("unconditionalMatch", |a, _| none("unconditionalMatch", a, Operator::Unconditional)),
    ("validateByteRange", |a, _| Ok(Operator::ValidateByteRange(data::byte_range(a)?))),
    ("validateNid", |a, _| data::national_id(a).map(|(nid, regex)| Operator::ValidateNid(nid, regex))),
    ("validateSchema", validate_schema),
    ("validateUrlEncoding", |a, _| none("validateUrlEncoding", a, Operator::ValidateUrlEncoding)),
    ("validateUtf8Encoding", |a, _| none("validateUtf8Encoding", a, Operator::ValidateUtf8Encoding)),
    ("verifyCC", |a, _| Ok(Operator::VerifyCc(expression("verifyCC", a)?))),
    ("verifyCPF", |a, _| Ok(Operator::VerifyCpf(expression("verifyCPF", a)?))),
    ("verifySSN", |a, _| Ok(Operator::VerifySsn(expression("verifySSN", a)?))),
    ("verifySVNR", |a, _| Ok(Operator::VerifySvnr(expression("verifySVNR", a)?))),
    ("within", |a, _| Ok(Operator::Within(some("within", a)?))),
];

/// Operators that this engine does not have: why, and what to do.
const REFUSED: &[(&str, &str, &str)] = &[
    (
        "fuzzyHash",
        "comparing with ssdeep hashes is not built in",
        "compare a hash with `t:sha1,t:hexEncode` and `@within`",
    ),
    ("gsbLookup", "rules look nothing up over the network", "take the rule out"),
    (
        "inspectFile",
        "rules run no program",
        "inspect uploads in the application, or with `FILES_TMP_CONTENT` and `@rx`",
    ),
    ("rsub", "values are not rewritten", "take the rule out"),
    (
        "validateDTD",
        "XML documents are checked for form, not against a DTD",
        "use `REQBODY_ERROR` and `XML:` paths",
    ),
    ("validateHash", "links are not signed here", "take the rule out"),
];

/// Operators of CRS 3.3's optional rules that look outside: they load, and match nothing.
const NEVER: &[(&str, &str)] = &[
    (
        "geoLookup",
        "there is no database of places; deny networks with `@ipMatchFromFile`, or in the firewall",
    ),
    (
        "rbl",
        "rules look nothing up over the network; deny networks with `@ipMatchFromFile`, or ban in the firewall",
    ),
];

/// An operator, whether it is negated, and what is to be noted.
pub(crate) struct Parsed {
    pub(crate) operator: Operator,
    pub(crate) negated: bool,
    pub(crate) note: Option<String>,
}

/// `@name argument`, `!@name argument`, or an expression alone.
pub(crate) fn parse(text: &[u8], data: &dyn data::Read) -> Result<Parsed, Wrong> {
    let trimmed = text.trim_ascii_start();
    let (negated, rest) = match trimmed.strip_prefix(b"!") {
        Some(rest) => (true, rest.trim_ascii_start()),
        None => (false, trimmed),
    };
    let Some(named) = rest.strip_prefix(b"@") else {
        // An expression keeps the blanks before it, unless `!` stood there.
        let expression = if negated { rest } else { text };
        return Ok(Parsed { operator: Operator::Rx(macros::parse(expression)?), negated, note: None });
    };
    let end = named.iter().position(u8::is_ascii_whitespace).unwrap_or(named.len());
    let (name, argument) = named.split_at(end);
    let argument = argument.trim_ascii_start();
    let is = |known: &str| known.as_bytes().eq_ignore_ascii_case(name);
    if let Some((_, build)) = OPERATORS.iter().find(|(known, _)| is(known)) {
        return Ok(Parsed { operator: build(argument, data)?, negated, note: None });
    }
    if let Some((known, why)) = NEVER.iter().find(|(known, _)| is(known)) {
        if negated {
            return Err(Wrong::new(
                format!("`!@{known}` would always match: {}", why.split(';').next().unwrap_or(why)),
                "take the rule out",
            ));
        }
        let note = Some(format!("`@{known}` matches nothing: {why}"));
        return Ok(Parsed { operator: Operator::Never, negated, note });
    }
    if let Some((known, why, instead)) = REFUSED.iter().find(|(known, ..)| is(known)) {
        return Err(Wrong::new(format!("operator `@{known}` is not supported: {why}"), *instead));
    }
    let mut wrong = Wrong::unknown("operator", name, OPERATORS.iter().map(|(known, _)| *known));
    wrong.what = format!("unknown operator `@{}`", shown(name));
    wrong.hint = wrong.hint.map(|hint| hint.replace("mean `", "mean `@"));
    Err(wrong)
}

fn none(name: &str, argument: &[u8], operator: Operator) -> Result<Operator, Wrong> {
    if argument.is_empty() {
        return Ok(operator);
    }
    Err(Wrong::new(
        format!("`@{name}` takes no argument, but `{}` follows it", shown(argument)),
        format!("write `@{name}` alone"),
    ))
}

/// An argument that must be there, since an empty one would always match.
fn some(name: &str, argument: &[u8]) -> Result<Macro, Wrong> {
    if argument.is_empty() {
        return Err(missing(name));
    }
    macros::parse(argument)
}

fn missing(name: &str) -> Wrong {
    Wrong::new(
        format!("`@{name}` has no argument"),
        format!("write `@{name} …`; to match always, use `@unconditionalMatch`"),
    )
}

/// A whole number, or something with a macro in it.
fn number(name: &str, argument: &[u8]) -> Result<Macro, Wrong> {
    let argument = argument.trim_ascii();
    let parsed = some(name, argument)?;
    if let Some(text) = parsed.as_text() {
        let text = String::from_utf8_lossy(text);
        // As C's `atoi` the engine reads no fraction: `70.0` says nothing else than `70`.
        let digits =
            text.split_once('.').filter(|(_, f)| f.bytes().all(|b| b == b'0')).map_or(&*text, |(n, _)| n);
        if digits.parse::<i64>().is_err() {
            return Err(Wrong::new(
                format!("`@{name}` wants a whole number, not `{}`", shown(argument)),
                "write digits, or a macro such as `%{tx.limit}`; `@streq` compares texts",
            ));
        }
    }
    Ok(parsed)
}

fn expression(name: &str, argument: &[u8]) -> Result<String, Wrong> {
    if argument.is_empty() {
        return Err(missing(name));
    }
    Ok(utf8(argument)?.to_owned())
}

fn pm_from_file(argument: &[u8], data: &dyn data::Read) -> Result<Operator, Wrong> {
    let mut phrases = Vec::new();
    for (_, bytes) in data::each("pmFromFile", argument, data)? {
        phrases.extend(data::phrase_lines(bytes));
    }
    Ok(Operator::Pm(phrases))
}

/// `@validateSchema FILE`: a JSON schema, as in Coraza. ModSecurity's is for XML.
fn validate_schema(argument: &[u8], data: &dyn data::Read) -> Result<Operator, Wrong> {
    if argument.trim_ascii_end().to_ascii_lowercase().ends_with(b".xsd") {
        return Err(Wrong::new(
            "operator `@validateSchema` is not supported with XML schemas: XML documents are checked for form alone",
            "use `REQBODY_ERROR` and `XML:` paths; `@validateSchema` takes a JSON schema",
        ));
    }
    let files = data::each("validateSchema", argument, data)?;
    let [(name, bytes)] = files.as_slice() else {
        return Err(Wrong::new("`@validateSchema` names several files", "name one JSON schema"));
    };
    let schema = waf_text::schema::Schema::parse(bytes).map_err(|error| {
        Wrong::new(
            format!("`{}`: {}", shown(name.as_bytes()), shown(error.to_string().as_bytes())),
            "drafts 7 and 2020-12 of JSON Schema are understood, without references to other documents",
        )
    })?;
    Ok(Operator::ValidateSchema(std::sync::Arc::new(schema)))
}

fn ip_match_from_file(argument: &[u8], data: &dyn data::Read) -> Result<Operator, Wrong> {
    let mut networks = Vec::new();
    for (name, bytes) in data::each("ipMatchFromFile", argument, data)? {
        networks.extend(data::network_lines(&name, bytes)?);
    }
    Ok(Operator::IpMatch(networks))
}
