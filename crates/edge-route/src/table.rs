//! The routes, compiled.

use crate::settings::{Action, Route, Settings};
use std::borrow::Cow;

/// All routes in order.
#[derive(Debug, Default)]
pub struct Table {
    routes: Vec<Compiled>,
}

#[derive(Debug)]
struct Compiled {
    host: Host,
    path: Path,
    route: Route,
}

#[derive(Debug)]
enum Host {
    Any,
    Exact(String),
    /// `.example.com`: what one or more labels stand before.
    Below(String),
}

#[derive(Debug)]
enum Path {
    Exact(Vec<u8>),
    Prefix(Vec<u8>),
}

/// What answers a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The route at this place.
    Route(usize),
    /// Routes fit but for the method: 405.
    OtherMethods,
    /// Nothing: 404.
    Nothing,
}

impl Table {
    /// Compiles the routes. Errors are sentences for the operator, one a route.
    pub fn compile(settings: &Settings) -> Result<Self, Vec<String>> {
        let mut errors = Vec::new();
        let mut routes = Vec::with_capacity(settings.routes.len());
        for route in &settings.routes {
            match compile(route) {
                Ok(compiled) => routes.push(compiled),
                Err(why) => errors.push(format!("route `{}`: {why}", route.name)),
            }
        }
        if errors.is_empty() { Ok(Self { routes }) } else { Err(errors) }
    }

    /// The first route for a host (without port), a normal path and a method.
    pub fn find(&self, host: &[u8], path: &[u8], method: &[u8]) -> Found {
        let host = host.strip_suffix(b".").unwrap_or(host);
        let mut found = Found::Nothing;
        for (index, compiled) in self.routes.iter().enumerate() {
            if !compiled.host.matches(host) || !compiled.path.matches(path) {
                continue;
            }
            let methods = &compiled.route.methods;
            if methods.is_empty() || methods.iter().any(|m| m.as_bytes() == method) {
                return Found::Route(index);
            }
            found = Found::OtherMethods;
        }
        found
    }

    /// The methods that routes for this host and path take, for `Allow`.
    pub fn allowed(&self, host: &[u8], path: &[u8]) -> Vec<&str> {
        let host = host.strip_suffix(b".").unwrap_or(host);
        let fit = self.routes.iter().filter(|c| c.host.matches(host) && c.path.matches(path));
        let mut methods: Vec<&str> = fit.flat_map(|c| c.route.methods.iter().map(String::as_str)).collect();
        methods.sort_unstable();
        methods.dedup();
        methods
    }

    /// A route. Panics if `index` is not from [`Table::find`].
    pub fn route(&self, index: usize) -> &Route {
        &self.routes[index].route
    }

    /// All routes, in order.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.routes.iter().map(|compiled| &compiled.route)
    }

    /// Whether a route names this host itself.
    pub fn names_host(&self, host: &[u8]) -> bool {
        let host = host.strip_suffix(b".").unwrap_or(host);
        self.routes.iter().any(|c| !matches!(c.host, Host::Any) && c.host.matches(host))
    }

    /// What is left of a path once the route's fixed part is removed; it begins
    /// with `/`. `raw` is taken where it begins with that part as it stands,
    /// otherwise its normal form.
    pub fn stripped<'a>(&self, index: usize, raw: &'a [u8], normal: &'a [u8]) -> Cow<'a, [u8]> {
        let fixed = match &self.routes[index].path {
            // `/api/` without its last slash: the rest keeps it.
            Path::Prefix(prefix) => prefix.strip_suffix(b"/").unwrap_or(prefix),
            Path::Exact(path) => path,
        };
        let rest = raw.strip_prefix(fixed).or_else(|| normal.strip_prefix(fixed)).unwrap_or(normal);
        if rest.first() == Some(&b'/') {
            return Cow::Borrowed(rest);
        }
        Cow::Owned([b"/", rest].concat())
    }
}

impl Host {
    fn matches(&self, host: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(name) => host.eq_ignore_ascii_case(name.as_bytes()),
            Self::Below(suffix) => {
                host.len() > suffix.len()
                    && host[host.len() - suffix.len()..].eq_ignore_ascii_case(suffix.as_bytes())
            }
        }
    }
}

impl Path {
    fn matches(&self, path: &[u8]) -> bool {
        match self {
            Self::Exact(exact) => path == exact.as_slice(),
            Self::Prefix(prefix) => path.starts_with(prefix),
        }
    }
}

fn compile(route: &Route) -> Result<Compiled, String> {
    let host = match route.host.as_deref().map(str::to_ascii_lowercase) {
        None => Host::Any,
        Some(host) => match host.strip_prefix('*') {
            Some(suffix) if suffix.starts_with('.') && base::net::is_host_name(&suffix[1..]) => {
                Host::Below(suffix.to_owned())
            }
            _ if base::net::is_host_name(&host) || host.parse::<std::net::IpAddr>().is_ok() => {
                Host::Exact(if host.contains(':') { format!("[{host}]") } else { host })
            }
            _ => {
                return Err(format!(
                    "`{host}` is not a host name; write it as `shop.example` or `*.shop.example`"
                ));
            }
        },
    };
    let pattern = route.path.as_str();
    let fixed = pattern.strip_suffix('*').unwrap_or(pattern);
    if !fixed.starts_with('/') || fixed.contains(['*', '?', '#', ' ']) {
        return Err(format!("`{pattern}` is not a path; write it as `/about`, `/api/*` or `/*`"));
    }
    let bytes = edge_http::path::normal(fixed.as_bytes()).into_owned();
    let path = if pattern.ends_with('*') { Path::Prefix(bytes) } else { Path::Exact(bytes) };
    if let Action::Redirect { to, status } = &route.action {
        check_template(to)?;
        if !matches!(status, 301 | 302 | 303 | 307 | 308) {
            return Err(format!("`{status}` is not a redirect's status; take 301, 302, 303, 307 or 308"));
        }
    }
    if let Some(bad) = route.methods.iter().find(|m| !m.bytes().all(|b| b.is_ascii_uppercase() || b == b'-'))
    {
        return Err(format!("`{bad}` is not a method; write it in upper case, as `GET`"));
    }
    Ok(Compiled { host, path, route: route.clone() })
}

fn check_template(to: &str) -> Result<(), String> {
    let mut rest = to;
    while let Some(open) = rest.find('{') {
        let close = rest[open..].find('}').ok_or_else(|| format!("`{to}` has a `{{` without `}}`"))? + open;
        let name = &rest[open + 1..close];
        if !matches!(name, "path" | "query") {
            return Err(format!("`{{{name}}}` in `{to}` is unknown; there are `{{path}}` and `{{query}}`"));
        }
        rest = &rest[close + 1..];
    }
    let visible = to.bytes().all(|b| (0x21..0x7F).contains(&b));
    if to.is_empty() || !visible {
        return Err(format!("`{to}` is not a URL"));
    }
    Ok(())
}

/// Fills a redirect's template. The path comes from a client: where it begins
/// the URL, its leading slashes are merged, because `//evil.example` would name
/// another host (RFC 3986 §4.2).
pub fn redirect_target(template: &str, path: &[u8], query: Option<&[u8]>) -> String {
    let path = String::from_utf8_lossy(path);
    let path = match template.starts_with("{path}") {
        true => Cow::Owned(format!("/{}", path.trim_start_matches('/'))),
        false => path,
    };
    let query = query.map(|q| format!("?{}", String::from_utf8_lossy(q))).unwrap_or_default();
    // The query is filled in last, so that a `{query}` in a path stays what it is.
    let mut out = String::with_capacity(template.len() + path.len() + query.len());
    let mut rest = template;
    while let Some(open) = rest.find('{') {
        out.push_str(&rest[..open]);
        let (value, length) = match rest[open..].starts_with("{path}") {
            true => (path.as_ref(), "{path}".len()),
            false => (query.as_str(), "{query}".len()),
        };
        out.push_str(value);
        rest = rest.get(open + length..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(host: Option<&str>, path: &str, methods: &[&str]) -> Route {
        Route {
            name: path.into(),
            host: host.map(Into::into),
            path: path.into(),
            methods: methods.iter().map(|m| (*m).to_owned()).collect(),
            action: Action::Pool { pool: "app".into(), strip_prefix: false },
            limit: None,
            waf: true,
        }
    }

    fn table(routes: Vec<Route>) -> Table {
        Table::compile(&Settings { routes }).unwrap()
    }

    #[test]
    fn the_first_match_wins() {
        let table = table(vec![
            route(Some("admin.example"), "/*", &[]),
            route(Some("*.shop.example"), "/img/*", &[]),
            route(None, "/about", &[]),
            route(None, "/api/*", &["GET", "HEAD"]),
            route(None, "/api/orders", &["POST"]),
            route(Some("shop.example"), "/*", &[]),
        ]);
        let cases: &[(&str, &str, &str, Found)] = &[
            ("admin.example", "/x", "GET", Found::Route(0)),
            ("ADMIN.example.", "/api/x", "DELETE", Found::Route(0)),
            ("a.b.shop.example", "/img/x", "GET", Found::Route(1)),
            ("shop.example", "/img/x", "GET", Found::Route(5)),
            ("xshop.example", "/img/x", "GET", Found::Nothing),
            ("other", "/about", "GET", Found::Route(2)),
            ("other", "/about/", "GET", Found::Nothing),
            ("other", "/api", "GET", Found::Nothing),
            ("other", "/api/", "GET", Found::Route(3)),
            ("other", "/api/orders", "POST", Found::Route(4)),
            ("other", "/api/x", "POST", Found::OtherMethods),
            ("shop.example", "/api/x", "POST", Found::Route(5)),
            ("", "/", "GET", Found::Nothing),
        ];
        for (host, path, method, expected) in cases {
            let got = table.find(host.as_bytes(), path.as_bytes(), method.as_bytes());
            assert_eq!(got, *expected, "{method} {host}{path}");
        }
        assert_eq!(table.allowed(b"other", b"/api/orders"), ["GET", "HEAD", "POST"]);
        assert!(table.names_host(b"Shop.Example"));
        assert!(!table.names_host(b"other"));
    }

    #[test]
    fn fixed_parts_are_removed() {
        let table = table(vec![
            route(None, "/api/*", &[]),
            route(None, "/one", &[]),
            route(None, "/*", &[]),
            route(None, "/img*", &[]),
        ]);
        let cases: &[(usize, &str, &str, &str)] = &[
            (0, "/api/x", "/api/x", "/x"),
            (0, "/api/", "/api/", "/"),
            (0, "/%61pi/%78", "/api/x", "/x"),
            (0, "/api/%78", "/api/x", "/%78"),
            (1, "/one", "/one", "/"),
            (2, "/a/b", "/a/b", "/a/b"),
            (3, "/imgs/x", "/imgs/x", "/s/x"),
        ];
        for (index, raw, normal, expected) in cases {
            let got = table.stripped(*index, raw.as_bytes(), normal.as_bytes());
            assert_eq!(std::str::from_utf8(&got), Ok(*expected), "{raw}");
        }
    }

    #[test]
    fn what_cannot_be_a_route() {
        let mut redirect = route(None, "/x", &[]);
        redirect.action = Action::Redirect { to: "https://a/{host}".into(), status: 301 };
        let mut status = route(None, "/x", &[]);
        status.action = Action::Redirect { to: "https://a/".into(), status: 200 };
        let cases = [
            (route(Some("*"), "/*", &[]), "not a host name"),
            (route(Some("a b"), "/*", &[]), "not a host name"),
            (route(None, "api/*", &[]), "not a path"),
            (route(None, "/a*b", &[]), "not a path"),
            (route(None, "/a?b", &[]), "not a path"),
            (route(None, "/a", &["get"]), "not a method"),
            (redirect, "`{host}`"),
            (status, "`200`"),
        ];
        for (route, expected) in cases {
            let name = route.path.clone();
            let errors = Table::compile(&Settings { routes: vec![route] }).unwrap_err();
            assert!(errors[0].contains(expected), "{name}: {errors:?}");
        }
    }

    #[test]
    fn redirects() {
        let cases = [
            ("https://a.example{path}{query}", "/x", Some("q=1"), "https://a.example/x?q=1"),
            ("https://a.example{path}{query}", "/x", None, "https://a.example/x"),
            ("{path}", "//evil.example/x", None, "/evil.example/x"),
            ("/new{query}", "/old", Some("{path}"), "/new?{path}"),
            ("https://a{path}", "/{query}", Some("q"), "https://a/{query}"),
        ];
        for (template, path, query, expected) in cases {
            let got = redirect_target(template, path.as_bytes(), query.map(str::as_bytes));
            assert_eq!(got, expected, "{template}");
        }
    }
}
