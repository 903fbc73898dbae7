//! nginx' `log_format`.
//!
//! Source: nginx.org, ngx_http_log_module, and the "Alphabetical index of variables".

use super::BadFormat;
use super::pattern::{Field, Part, Pattern};

/// Compiles the text of a `log_format`, without its name and the quotes around it.
pub(super) fn compile(text: &str) -> Result<Pattern, BadFormat> {
    let mut parts: Vec<Part> = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let Some(after) = rest.strip_prefix('$') else {
            let end = rest.find('$').unwrap_or(rest.len());
            parts.push(Part::Text(rest.as_bytes()[..end].to_vec()));
            rest = &rest[end..];
            continue;
        };
        let (name, behind) = variable(after)?;
        // `$uri$is_args$args` is one target.
        let joined = matches!(name, "is_args" | "args" | "query_string");
        match parts.last_mut() {
            Some(Part::Field(Field::Target, written)) if joined => {
                written.push('$');
                written.push_str(name);
            }
            _ => parts.push(Part::Field(field(name)?, format!("${name}"))),
        }
        rest = behind;
    }
    Pattern::new(parts)
}

/// The name behind a `$`, in braces or not, and what follows it.
fn variable(text: &str) -> Result<(&str, &str), BadFormat> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if let Some(inner) = text.strip_prefix('{') {
        let (name, behind) =
            inner.split_once('}').ok_or_else(|| BadFormat(format!("`${{{inner}` has no `}}`")))?;
        return Ok((name, behind));
    }
    let end = text.find(|c| !is_name(c)).unwrap_or(text.len());
    match end {
        0 => Err(BadFormat("a `$` without a name; hint: `$status`".to_owned())),
        _ => Ok(text.split_at(end)),
    }
}

fn field(name: &str) -> Result<Field, BadFormat> {
    Ok(match name {
        "remote_addr" | "realip_remote_addr" => Field::Ip,
        "host" | "http_host" => Field::Host,
        "server_name" => Field::Host,
        "request" => Field::Request,
        "request_method" => Field::Method,
        "request_uri" | "uri" | "document_uri" => Field::Target,
        "status" => Field::Status,
        "body_bytes_sent" | "bytes_sent" => Field::Bytes,
        "request_time" => Field::Duration(0),
        "time_local" => Field::TimeCommon,
        "time_iso8601" => Field::TimeIso,
        "msec" => Field::TimeNumber(0),
        // A variable of one's own, from `map` or `set`.
        "_" => Field::Ignored,
        _ if name.starts_with("upstream_") => Field::List,
        _ if KNOWN.contains(&name) || FAMILIES.iter().any(|family| name.starts_with(family)) => {
            Field::Ignored
        }
        _ => {
            return Err(BadFormat(format!(
                "nginx has no variable `${name}`; hint: write `$_` for one of your own (`map`, `set`): it is skipped"
            )));
        }
    })
}

/// Variables whose names go on.
const FAMILIES: &[&str] = &[
    "arg_",
    "cookie_",
    "geoip_",
    "geoip2_",
    "http_",
    "jwt_",
    "limit_",
    "proxy_protocol_",
    "secure_link",
    "sent_http_",
    "sent_trailer_",
    "session_log_",
    "ssl_",
    "tcpinfo_",
    "trailer_",
    "uid_",
];

/// The others that say nothing we count.
const KNOWN: &[&str] = &[
    "ancient_browser",
    "args",
    "binary_remote_addr",
    "connection",
    "connection_requests",
    "connection_time",
    "connections_active",
    "connections_reading",
    "connections_waiting",
    "connections_writing",
    "content_length",
    "content_type",
    "date_gmt",
    "date_local",
    "document_root",
    "fastcgi_path_info",
    "fastcgi_script_name",
    "gzip_ratio",
    "hostname",
    "http2",
    "http3",
    "https",
    "invalid_referer",
    "is_args",
    "is_request_port",
    "memcached_key",
    "modern_browser",
    "msie",
    "nginx_version",
    "pid",
    "pipe",
    "proxy_add_x_forwarded_for",
    "proxy_host",
    "proxy_port",
    "query_string",
    "quic",
    "realip_remote_port",
    "realpath_root",
    "remote_port",
    "remote_user",
    "request_body",
    "request_body_file",
    "request_completion",
    "request_filename",
    "request_id",
    "request_length",
    "request_port",
    "scheme",
    "server_addr",
    "server_port",
    "server_protocol",
    "slice_range",
    "spdy",
    "spdy_request_priority",
];

#[cfg(test)]
mod tests {
    use crate::{Format, Scratch, Spec};

    const COMBINED: &str = r#"$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent""#;
    const LINE: &str =
        r#"10.1.2.3 - frank m [10/Oct/2000:13:55:36 -0700] "GET /a?b=1 HTTP/1.1" 200 23 "-" "a \"b\" x""#;

    fn read(format: &str, line: &str) -> Option<String> {
        let format = Format::compile(&Spec::Nginx(format.to_owned())).unwrap();
        let mut scratch = Scratch::default();
        format.parse(line.as_bytes(), &mut scratch).map(|e| {
            let text = String::from_utf8_lossy;
            format!(
                "{} {} {} {} {} {} {:?} {:?}",
                text(e.ip),
                text(e.host),
                text(e.method),
                text(e.target),
                e.status,
                e.bytes,
                e.duration_us,
                e.time_ms()
            )
        })
    }

    #[test]
    fn lines_of_log_formats() {
        assert_eq!(
            read(COMBINED, LINE).as_deref(),
            Some("10.1.2.3  GET /a?b=1 200 23 None Some(971211336000)")
        );
        let own = r#"$msec|$host|${request_method}|$uri$is_args$args|$status|$bytes_sent|$request_time|$upstream_addr $upstream_status "$_""#;
        let line = r#"971211336.5|shop.example|POST|/x?y|502|7|0.050|10.0.0.1:80, 10.0.0.2:80 : 10.0.0.3:80 502, 502 : 200 "mine""#;
        assert_eq!(
            read(own, line).as_deref(),
            Some(" shop.example POST /x?y 502 7 Some(50000) Some(971211336500)")
        );
        for wrong in [
            "",
            r#"10.1.2.3 - frank [t] "GET / HTTP/1.1" 200 23 "-" "a" more"#,
            r#"10.1.2.3 - frank [t] "GET / HTTP/1.1" abc 23 "-" "a""#,
            r#"10.1.2.3 - frank [t] "GET / HTTP/1.1" 200 x "-" "a""#,
            r#"10.1.2.3 - frank [t] "GET / HTTP/1.1" 200 23 "-" "a\"#,
        ] {
            assert_eq!(read(COMBINED, wrong), None, "{wrong}");
        }
    }

    #[test]
    fn errors_name_what_is_wrong() {
        for (format, part) in [
            ("$status $requst_time", "`$requst_time`"),
            ("$status$bytes_sent", "between `$status` and `$bytes_sent`"),
            ("$remote_addr", "no status"),
            ("${status", "has no `}`"),
            ("$ $status", "without a name"),
        ] {
            let error = Format::compile(&Spec::Nginx(format.to_owned())).unwrap_err().to_string();
            assert!(error.contains(part), "{format}: {error}");
        }
    }
}
