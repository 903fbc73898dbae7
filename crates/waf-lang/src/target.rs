//! Variables of a rule: `ARGS|!ARGS:/^x/|&TX:score`.

use crate::error::{Wrong, shown};
use crate::model::{Selector, Target, Variable};

/// Every name of every variable; the manual's first, then what else means it.
pub(crate) const NAMES: &[(&str, Variable)] = &[
    ("ARGS", Variable::Args),
    ("ARGS_COMBINED_SIZE", Variable::ArgsCombinedSize),
    ("ARGS_GET", Variable::ArgsGet),
    ("ARGS_GET_NAMES", Variable::ArgsGetNames),
    ("ARGS_NAMES", Variable::ArgsNames),
    ("ARGS_POST", Variable::ArgsPost),
    ("ARGS_POST_NAMES", Variable::ArgsPostNames),
    ("AUTH_TYPE", Variable::AuthType),
    ("DURATION", Variable::Duration),
    ("ENV", Variable::Env),
    ("FILES", Variable::Files),
    ("FILES_COMBINED_SIZE", Variable::FilesCombinedSize),
    ("FILES_NAMES", Variable::FilesNames),
    ("FILES_SIZES", Variable::FilesSizes),
    ("FILES_TMPNAMES", Variable::FilesTmpNames),
    ("FILES_TMP_CONTENT", Variable::FilesTmpContent),
    ("FILES_TMP_NAMES", Variable::FilesTmpNames),
    ("FULL_REQUEST", Variable::FullRequest),
    ("FULL_REQUEST_LENGTH", Variable::FullRequestLength),
    ("GEO", Variable::Geo),
    ("GLOBAL", Variable::Global),
    ("HIGHEST_SEVERITY", Variable::HighestSeverity),
    ("INBOUND_DATA_ERROR", Variable::InboundDataError),
    ("IP", Variable::Ip),
    ("MATCHED_VAR", Variable::MatchedVar),
    ("MATCHED_VARS", Variable::MatchedVars),
    ("MATCHED_VARS_NAMES", Variable::MatchedVarsNames),
    ("MATCHED_VAR_NAME", Variable::MatchedVarName),
    ("MODSEC_BUILD", Variable::ModsecBuild),
    ("MULTIPART_BOUNDARY_QUOTED", Variable::MultipartBoundaryQuoted),
    ("MULTIPART_BOUNDARY_WHITESPACE", Variable::MultipartBoundaryWhitespace),
    ("MULTIPART_CRLF_LF_LINES", Variable::MultipartCrlfLfLines),
    ("MULTIPART_DATA_AFTER", Variable::MultipartDataAfter),
    ("MULTIPART_DATA_BEFORE", Variable::MultipartDataBefore),
    ("MULTIPART_FILENAME", Variable::MultipartFilename),
    ("MULTIPART_FILE_LIMIT_EXCEEDED", Variable::MultipartFileLimitExceeded),
    ("MULTIPART_HEADER_FOLDING", Variable::MultipartHeaderFolding),
    ("MULTIPART_INVALID_HEADER_FOLDING", Variable::MultipartInvalidHeaderFolding),
    ("MULTIPART_INVALID_PART", Variable::MultipartInvalidPart),
    ("MULTIPART_INVALID_QUOTING", Variable::MultipartInvalidQuoting),
    ("MULTIPART_LF_LINE", Variable::MultipartLfLine),
    ("MULTIPART_LF_LINES", Variable::MultipartLfLine),
    ("MULTIPART_MISSING_SEMICOLON", Variable::MultipartMissingSemicolon),
    ("MULTIPART_NAME", Variable::MultipartName),
    ("MULTIPART_PART_HEADERS", Variable::MultipartPartHeaders),
    ("MULTIPART_SEMICOLON_MISSING", Variable::MultipartSemicolonMissing),
    ("MULTIPART_STRICT_ERROR", Variable::MultipartStrictError),
    ("MULTIPART_UNMATCHED_BOUNDARY", Variable::MultipartUnmatchedBoundary),
    ("OUTBOUND_DATA_ERROR", Variable::OutboundDataError),
    ("PATH_INFO", Variable::PathInfo),
    ("QUERY_STRING", Variable::QueryString),
    ("REMOTE_ADDR", Variable::RemoteAddr),
    ("REMOTE_HOST", Variable::RemoteHost),
    ("REMOTE_PORT", Variable::RemotePort),
    ("REMOTE_USER", Variable::RemoteUser),
    ("REQBODY_ERROR", Variable::ReqbodyError),
    ("REQBODY_ERROR_MSG", Variable::ReqbodyErrorMsg),
    ("REQBODY_PROCESSOR", Variable::ReqbodyProcessor),
    ("REQBODY_PROCESSOR_ERROR", Variable::ReqbodyProcessorError),
    ("REQBODY_PROCESSOR_ERROR_MSG", Variable::ReqbodyProcessorErrorMsg),
    ("REQUEST_BASENAME", Variable::RequestBasename),
    ("REQUEST_BODY", Variable::RequestBody),
    ("REQUEST_BODY_LENGTH", Variable::RequestBodyLength),
    ("REQUEST_COOKIES", Variable::RequestCookies),
    ("REQUEST_COOKIES_NAMES", Variable::RequestCookiesNames),
    ("REQUEST_FILENAME", Variable::RequestFilename),
    ("REQUEST_HEADERS", Variable::RequestHeaders),
    ("REQUEST_HEADERS_NAMES", Variable::RequestHeadersNames),
    ("REQUEST_LINE", Variable::RequestLine),
    ("REQUEST_METHOD", Variable::RequestMethod),
    ("REQUEST_PROTOCOL", Variable::RequestProtocol),
    ("REQUEST_URI", Variable::RequestUri),
    ("REQUEST_URI_RAW", Variable::RequestUriRaw),
    ("RESOURCE", Variable::Resource),
    ("RESPONSE_BODY", Variable::ResponseBody),
    ("RESPONSE_CONTENT_LENGTH", Variable::ResponseContentLength),
    ("RESPONSE_CONTENT_TYPE", Variable::ResponseContentType),
    ("RESPONSE_HEADERS", Variable::ResponseHeaders),
    ("RESPONSE_HEADERS_NAMES", Variable::ResponseHeadersNames),
    ("RESPONSE_PROTOCOL", Variable::ResponseProtocol),
    ("RESPONSE_STATUS", Variable::ResponseStatus),
    ("RULE", Variable::Rule),
    ("SERVER_ADDR", Variable::ServerAddr),
    ("SERVER_NAME", Variable::ServerName),
    ("SERVER_PORT", Variable::ServerPort),
    ("SESSION", Variable::Session),
    ("SESSIONID", Variable::SessionId),
    ("STATUS", Variable::Status),
    ("STATUS_LINE", Variable::StatusLine),
    ("TIME", Variable::Time),
    ("TIME_DAY", Variable::TimeDay),
    ("TIME_EPOCH", Variable::TimeEpoch),
    ("TIME_HOUR", Variable::TimeHour),
    ("TIME_MIN", Variable::TimeMin),
    ("TIME_MON", Variable::TimeMon),
    ("TIME_SEC", Variable::TimeSec),
    ("TIME_WDAY", Variable::TimeWday),
    ("TIME_YEAR", Variable::TimeYear),
    ("TX", Variable::Tx),
    ("UNIQUE_ID", Variable::UniqueId),
    ("URLENCODED_ERROR", Variable::UrlencodedError),
    ("USER", Variable::User),
    ("USERID", Variable::UserId),
    ("WEBAPPID", Variable::WebAppId),
    ("WEBSERVER_ERROR_LOG", Variable::WebserverErrorLog),
    ("XML", Variable::Xml),
];

impl Variable {
    /// Its name as the manual writes it: `REQUEST_HEADERS`.
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(_, variable)| *variable == self).map_or("", |(name, _)| name)
    }

    /// By any of its names, in any case.
    pub fn parse(name: &[u8]) -> Option<Self> {
        if name.len() > 40 {
            return None;
        }
        let at = NAMES
            .binary_search_by(|(known, _)| known.bytes().cmp(name.iter().map(u8::to_ascii_uppercase)))
            .ok()?;
        Some(NAMES[at].1)
    }

    /// Whether it has members that a selector chooses among.
    pub fn is_collection(self) -> bool {
        use Variable::*;
        matches!(
            self,
            Args | ArgsGet
                | ArgsGetNames
                | ArgsNames
                | ArgsPost
                | ArgsPostNames
                | Env
                | Files
                | FilesNames
                | FilesSizes
                | FilesTmpContent
                | FilesTmpNames
                | Geo
                | Global
                | Ip
                | MatchedVars
                | MatchedVarsNames
                | MultipartFilename
                | MultipartName
                | MultipartPartHeaders
                | RequestCookies
                | RequestCookiesNames
                | RequestHeaders
                | RequestHeadersNames
                | Resource
                | ResponseHeaders
                | ResponseHeadersNames
                | Rule
                | Session
                | Tx
                | User
                | Xml
        )
    }
}

/// Variables that others have: why they are not here.
const REFUSED: &[(&str, &str)] = &[
    ("MSC_PCRE_ERROR", "expressions run in linear time and cannot fail"),
    ("MSC_PCRE_LIMITS_EXCEEDED", "expressions run in linear time and have no limit to exceed"),
    ("PERF_ALL", "`bastide waf explain` shows what rules cost"),
    ("SCRIPT_FILENAME", "there are no scripts here"),
    ("STREAM_INPUT_BODY", "bodies are inspected as they are parsed: use `REQUEST_BODY`"),
    ("STREAM_OUTPUT_BODY", "bodies are not rewritten: use `RESPONSE_BODY`"),
    ("USERAGENT_IP", "`REMOTE_ADDR` is the client, also behind a trusted proxy"),
    ("WEBSERVER_ERROR_LOG", "there is no web server's error log here, nor in libmodsecurity"),
];

/// The variable of this name, for a rule or a macro.
pub(crate) fn variable(name: &[u8]) -> Result<Variable, Wrong> {
    if let Some((known, why)) = REFUSED.iter().find(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name))
    {
        return Err(Wrong::new(
            format!("variable `{known}` is not supported: {why}"),
            "take it out of the rule, or the rule out",
        ));
    }
    Variable::parse(name).ok_or_else(|| Wrong::unknown("variable", name, NAMES.iter().map(|(name, _)| *name)))
}

/// The variables of a rule, separated by `|` (or by commas).
pub(crate) fn targets(text: &[u8]) -> Result<Vec<Target>, Wrong> {
    let mut found = Vec::with_capacity(4);
    let mut rest = text.trim_ascii();
    loop {
        let (target, after) = target(rest)?;
        found.push(target);
        if after.is_empty() {
            return Ok(found);
        }
        rest = after[1..].trim_ascii_start();
        if rest.is_empty() {
            return Err(Wrong::new(
                format!("a variable is missing after `{}`", shown(&after[..1])),
                "name one, or take the separator out",
            ));
        }
    }
}

/// The first variable, and what follows it: nothing, or a separator and the rest.
pub(crate) fn target(text: &[u8]) -> Result<(Target, &[u8]), Wrong> {
    let mut rest = text;
    let (mut count, mut exclude) = (false, false);
    loop {
        match rest.first() {
            Some(b'!') if !exclude && !count => exclude = true,
            Some(b'&') if !exclude && !count => count = true,
            _ => break,
        }
        rest = rest[1..].trim_ascii_start();
    }
    let end = rest.iter().position(|b| !b.is_ascii_alphanumeric() && *b != b'_').unwrap_or(rest.len());
    let (name, after) = rest.split_at(end);
    if name.is_empty() {
        return Err(Wrong::new(
            format!("`{}` does not begin with a variable", shown(text)),
            "variables are `NAME`, `NAME:member`, `&NAME` or `!NAME:member`, separated by `|`",
        ));
    }
    let variable = variable(name)?;
    let (selector, after) = match after.first() {
        Some(b':') => selector(variable, &after[1..])?,
        // `TX.score` is written too.
        Some(b'.') if variable.is_collection() && variable != Variable::Xml => {
            selector(variable, &after[1..])?
        }
        _ => (Selector::All, after),
    };
    if selector == Selector::All && variable == Variable::Rule {
        return Err(Wrong::new(
            "`RULE` needs a member",
            "name one: `RULE:id`, `RULE:rev`, `RULE:severity`, `RULE:logdata` or `RULE:msg`",
        ));
    }
    if let (Variable::Rule, Selector::Name(member)) = (variable, &selector) {
        rule_member(member)?;
    }
    let after = after.trim_ascii_start();
    if after.first().is_some_and(|b| !matches!(b, b'|' | b',')) {
        return Err(Wrong::new(
            format!("`{}` follows the variable `{}`", shown(after), shown(name)),
            "separate variables with `|`; quote a member's name that has other characters: `ARGS:'a b'`",
        ));
    }
    Ok((Target { variable, selector, count, exclude }, after))
}

/// What there is to know of the rule that runs.
pub(crate) fn rule_member(member: &[u8]) -> Result<(), Wrong> {
    const MEMBERS: [&str; 5] = ["id", "rev", "severity", "logdata", "msg"];
    if MEMBERS.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(member)) {
        return Ok(());
    }
    Err(Wrong::new(
        format!("`RULE` has no member `{}`", shown(member)),
        "name one: `RULE:id`, `RULE:rev`, `RULE:severity`, `RULE:logdata` or `RULE:msg`",
    ))
}

/// What stands after `NAME:`, and the rest from the next separator on.
fn selector(variable: Variable, text: &[u8]) -> Result<(Selector, &[u8]), Wrong> {
    if !variable.is_collection() {
        return Err(Wrong::new(
            format!("`{}` has no members, but `:{}` follows it", variable.name(), shown(text)),
            format!("write `{}` alone", variable.name()),
        ));
    }
    let (inner, after) = match text.first() {
        Some(b'\'') => {
            let end = text[1..]
                .iter()
                .enumerate()
                .position(|(at, &b)| b == b'\'' && text[at] != b'\\')
                .ok_or_else(|| {
                    Wrong::new(
                        format!("the quote before `{}` is never closed", shown(&text[1..])),
                        "close it before the next `|`",
                    )
                })?;
            (&text[1..=end], &text[end + 2..])
        }
        Some(b'/') if variable != Variable::Xml => {
            let end = regex_end(text).ok_or_else(|| {
                Wrong::new(
                    format!("the expression `{}` has no closing `/`", shown(text)),
                    "close it, or quote a name that begins with `/`: `ARGS:'/…/'` is an expression too",
                )
            })?;
            text.split_at(end)
        }
        _ => text.split_at(name_end(text)),
    };
    if inner.is_empty() {
        return Err(Wrong::new(
            format!("a member's name is missing after `{}:`", variable.name()),
            format!("name one, or write `{}` alone for all of them", variable.name()),
        ));
    }
    if variable == Variable::Xml {
        return Ok((Selector::XPath(utf8(inner)?.into()), after));
    }
    if inner.len() >= 2 && inner[0] == b'/' && inner[inner.len() - 1] == b'/' {
        return Ok((Selector::Regex(utf8(&inner[1..inner.len() - 1])?.into()), after));
    }
    Ok((Selector::Name(inner.into()), after))
}

/// Where an unquoted `/…/` ends: after a slash that a separator or nothing follows.
fn regex_end(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    while at < text.len() {
        match text[at] {
            b'\\' => at += 1,
            b'/' if text.get(at + 1).is_none_or(|b| matches!(b, b'|' | b',')) => return Some(at + 1),
            _ => {}
        }
        at += 1;
    }
    None
}

/// Where an unquoted name ends: before `|`, or before a comma with a variable
/// behind it, as `!ARGS:a,!ARGS:b`; names may have commas otherwise.
fn name_end(text: &[u8]) -> usize {
    for (at, &b) in text.iter().enumerate() {
        if b == b'|' || (b == b',' && begins_variable(&text[at + 1..])) {
            return at;
        }
    }
    text.len()
}

fn begins_variable(text: &[u8]) -> bool {
    let text = text.trim_ascii_start();
    let text = text.strip_prefix(b"!").or_else(|| text.strip_prefix(b"&")).unwrap_or(text);
    let end = text.iter().position(|b| !b.is_ascii_alphanumeric() && *b != b'_').unwrap_or(text.len());
    Variable::parse(&text[..end]).is_some()
        && text.get(end).is_none_or(|b| matches!(b, b':' | b'|' | b',' | b'.'))
}

/// Expressions and paths are text.
pub(crate) fn utf8(text: &[u8]) -> Result<&str, Wrong> {
    std::str::from_utf8(text).map_err(|_| {
        Wrong::new(
            format!("`{}` is not UTF-8", shown(text)),
            "write the file in UTF-8; single bytes are written `\\xNN` in expressions",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_found() {
        assert!(NAMES.windows(2).all(|w| w[0].0 < w[1].0), "binary search needs the order");
        for (name, variable) in NAMES {
            assert_eq!(Variable::parse(name.to_ascii_lowercase().as_bytes()), Some(*variable), "{name}");
        }
        assert_eq!(Variable::FilesTmpNames.name(), "FILES_TMPNAMES");
    }

    /// `NAME`, `NAME:name`, `NAME/regex/`, `NAME[xpath]`, with `&` and `!`.
    fn dump(text: &str) -> String {
        match targets(text.as_bytes()) {
            Err(wrong) => format!("error: {}", wrong.what),
            Ok(targets) => targets
                .iter()
                .map(|t| {
                    let mark = if t.exclude {
                        "!"
                    } else if t.count {
                        "&"
                    } else {
                        ""
                    };
                    let selector = match &t.selector {
                        Selector::All => String::new(),
                        Selector::Name(name) => format!(":{}", String::from_utf8_lossy(name)),
                        Selector::Regex(regex) => format!("/{regex}/"),
                        Selector::XPath(path) => format!("[{path}]"),
                    };
                    format!("{mark}{}{selector}", t.variable.name())
                })
                .collect::<Vec<_>>()
                .join(" "),
        }
    }

    #[test]
    fn variables() {
        for (text, expected) in [
            ("ARGS", "ARGS"),
            ("args|Tx:Foo", "ARGS TX:Foo"),
            ("ARGS|!ARGS:x|&TX:y", "ARGS !ARGS:x &TX:y"),
            ("ARGS:'a|b c'|TX", "ARGS:a|b c TX"),
            ("ARGS:/^a|b$/|TX:0", "ARGS/^a|b$/ TX:0"),
            ("ARGS:/a\\/b/", "ARGS/a\\/b/"),
            ("ARGS:/a/b/|TX", "ARGS/a/b/ TX"),
            ("ARGS:'/(a|b)/'", "ARGS/(a|b)/"),
            (
                "REQUEST_COOKIES|!REQUEST_COOKIES:/__utm/|XML:/*",
                "REQUEST_COOKIES !REQUEST_COOKIES/__utm/ XML[/*]",
            ),
            ("XML:/soap:Envelope/soap:Body//text()|ARGS", "XML[/soap:Envelope/soap:Body//text()] ARGS"),
            ("XML:'//a|//b'|ARGS", "XML[//a|//b] ARGS"),
            ("XML://@*", "XML[//@*]"),
            ("TX.partial", "TX:partial"),
            ("ARGS:a.b", "ARGS:a.b"),
            ("ARGS:uid[0][target_id]", "ARGS:uid[0][target_id]"),
            ("!ARGS:a,!ARGS:b", "!ARGS:a !ARGS:b"),
            ("ARGS:a,b", "ARGS:a,b"),
            ("FILES_TMP_NAMES", "FILES_TMPNAMES"),
            ("RULE:id", "RULE:id"),
            ("ARG", "error: unknown variable `ARG`"),
            ("REQUEST_METHOD:x", "error: `REQUEST_METHOD` has no members, but `:x` follows it"),
            ("RULE", "error: `RULE` needs a member"),
            ("RULE:ver", "error: `RULE` has no member `ver`"),
            ("ARGS:", "error: a member's name is missing after `ARGS:`"),
            ("ARGS:|TX", "error: a member's name is missing after `ARGS:`"),
            ("ARGS|", "error: a variable is missing after `|`"),
            ("", "error: `` does not begin with a variable"),
            ("!!ARGS", "error: `!!ARGS` does not begin with a variable"),
            ("ARGS:'a", "error: the quote before `a` is never closed"),
            ("ARGS:/a", "error: the expression `/a` has no closing `/`"),
            ("ARGS:'a'b", "error: `b` follows the variable `ARGS`"),
            (
                "WEBSERVER_ERROR_LOG",
                "error: variable `WEBSERVER_ERROR_LOG` is not supported: there is no web server's error log here, nor in libmodsecurity",
            ),
        ] {
            assert_eq!(dump(text), expected, "{text}");
        }
    }
}
