//! `[[route]]`: which requests go where.

use crate::declare::{Kind, choice, table};
use crate::defaults;
use crate::diagnostic::{Code, quote};
use crate::keys::site::Domain;
use crate::keys::waf::RouteWaf;
use crate::read::{Context, Node, Table, TableNode, Text, Value, Wrong};
use crate::span::Spanned;
use crate::values::{FilePath, Name, check_url, text_value};
use base::Rate;
use std::ops::Deref;

table! {
    /// Which requests go where. The first that matches wins; a request that none matches is answered 404.
    pub struct RouteKeys: "[[route]]";

    /// Only for this host; `*.example.com` for every name below it. Absent: for all.
    optional host: HostPattern;
    why "the site has several names that show different things"; example r#"host = "www.shop.example""#;

    /// Only for this path: exact, or all below it where it ends in `*`. `/api/*` matches `/api/` and all below, not `/api`.
    default path: PathPattern = PathPattern(defaults::ROUTE_PATH.to_owned());
    why "parts of the site come from different places"; example r#"path = "/api/*""#;

    /// Only for these methods; `[]` is all.
    default methods: Vec<Spanned<Method>> = vec![];
    why "reading and writing go to different pools"; example r#"methods = ["GET", "HEAD"]"#;

    /// The pool that answers.
    optional pool: Name;
    why "an application answers"; example r#"pool = "app""#;

    /// The folder whose files answer. The part of the request's path that `*` stands for is looked up in it.
    optional files: FilePath;
    why "files answer"; example r#"files = "./public""#;

    /// Where the client is sent. `{path}` and `{query}` stand for the request's own, `{query}` with its `?`.
    optional redirect: Redirect;
    why "the page is elsewhere"; example r#"redirect = "https://shop.example{path}{query}""#;

    /// With `pool`: remove the fixed part of `path` before the request is sent on.
    default strip_prefix: bool = false;
    why "the application does not know under which path it is shown"; example "strip_prefix = true";

    /// With `files`: the file served for a folder; `""` is none, and folders are answered 404.
    default index: Index = Index(defaults::INDEX.to_owned());
    why "folders have another file at their head"; example r#"index = "home.html""#;

    /// With `files`: the header `Cache-Control` of the responses.
    optional cache_control: HeaderValue;
    why "files change rarely, or have a hash in their name"; example r#"cache_control = "public, max-age=31536000, immutable""#;

    /// With `redirect`: the status.
    default status: RedirectStatus = RedirectStatus(defaults::REDIRECT_STATUS);
    why "the redirect is for now only (307), or a form's answer (303)"; example "status = 307";

    /// How many requests are let through; others are answered 429.
    optional limit: Limit;
    why "logins and searches should not be tried by the thousand"; example r#"limit = { rate = "20/s", burst = 40, per = "ip" }"#;

    /// Whether the WAF inspects these requests, or what it does otherwise than `[waf]` says.
    default waf: RouteWaf = RouteWaf::On;
    why "an upload of code, say, cannot be told from an attack"; example "waf = false";
}

/// A route, and what answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// What the file says.
    pub keys: RouteKeys,
    /// What answers.
    pub action: Action,
}

/// What answers a route's requests.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// The web servers of a pool; with `strip_prefix`.
    Pool(Spanned<Name>),
    /// Files of a folder; with `index` and `cache_control`.
    Files(Spanned<FilePath>),
    /// A redirect; with `status`.
    Redirect(Spanned<Redirect>),
}

impl Deref for Route {
    type Target = RouteKeys;

    fn deref(&self) -> &RouteKeys {
        &self.keys
    }
}

/// Keys that belong to one of the actions.
const BELONGS: &[(&str, &str)] =
    &[("strip_prefix", "pool"), ("index", "files"), ("cache_control", "files"), ("status", "redirect")];

impl Route {
    /// Reads the table and decides what answers.
    pub(crate) fn read(table: TableNode<'_>, cx: &mut Context) -> Option<Self> {
        let keys = RouteKeys::read_table(table, cx)?;
        let actions: Vec<&str> =
            ["pool", "files", "redirect"].into_iter().filter(|key| table.like.contains_key(key)).collect();
        if let [first, second, ..] = actions[..] {
            cx.error(
                Code::Conflict,
                table.key_span(second),
                format!("a route has both `{first}` and `{second}`"),
            )
            .hint("a route has exactly one of `pool`, `files` and `redirect`; make two routes")
            .related(table.key_span(first), "the other is here");
            return None;
        }
        let action = match (&keys.pool, &keys.files, &keys.redirect) {
            (Some(pool), _, _) => Action::Pool(pool.clone()),
            (_, Some(folder), _) => Action::Files(folder.clone()),
            (_, _, Some(to)) => Action::Redirect(to.clone()),
            (None, None, None) => {
                if !cx.partial {
                    cx.error(Code::MissingKey, table.span, "a route says nothing about what answers").hint(
                        "add one of `pool = \"app\"`, `files = \"./public\"` and `redirect = \"https://…\"`",
                    );
                }
                return None;
            }
        };
        let mut fits = true;
        for (key, owner) in BELONGS {
            if table.like.contains_key(key) && actions.first() != Some(owner) {
                cx.error(
                    Code::Conflict,
                    table.key_span(key),
                    format!("`{key}` has no meaning without `{owner}`"),
                )
                .hint(format!("remove it, or let this route have `{owner}`"));
                fits = false;
            }
        }
        fits.then_some(Self { keys, action })
    }
}

text_value!(HostPattern, PathPattern, Method, Redirect, Index, HeaderValue);

/// A host name, or `*.` and a host name for every name below it, at any depth.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPattern(pub String);

impl HostPattern {
    /// Whether every host that `other` matches is matched by this, too.
    pub(crate) fn covers(&self, other: &str) -> bool {
        match self.0.strip_prefix('*') {
            Some(suffix) => other.ends_with(suffix),
            None => self.0 == other,
        }
    }
}

impl Text for HostPattern {
    const WHAT: &'static str = "a host name";
    const SAMPLE: &'static str = "\"www.shop.example\"";

    fn parse(text: &str) -> Result<Self, Wrong> {
        if text == "*" {
            return Err(Wrong::new(
                "`*` is not a host name",
                "leave `host` out: the route is then for all hosts",
            ));
        }
        Domain::parse(text).map(|domain| Self(domain.0))
    }

    fn text(&self) -> String {
        self.0.clone()
    }
}

/// An exact path, or a prefix ending in `*`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PathPattern(pub String);

impl PathPattern {
    /// Whether every path that `other` matches is matched by this, too.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        match self.0.strip_suffix('*') {
            Some(prefix) => other.0.strip_suffix('*').unwrap_or(&other.0).starts_with(prefix),
            None => self.0 == other.0,
        }
    }
}

impl Text for PathPattern {
    const WHAT: &'static str = "a path";
    const SAMPLE: &'static str = "\"/api/*\"";

    fn parse(text: &str) -> Result<Self, Wrong> {
        let fixed = text.strip_suffix('*').unwrap_or(text);
        if !text.starts_with('/') {
            let hint = format!("write `\"/{}\"`", text.trim_start_matches('/'));
            return Err(Wrong::new(format!("the path {} does not begin with `/`", quote(text)), hint));
        }
        if fixed.contains('*') {
            let hint = "a `*` stands only at the end, for all that follows";
            return Err(Wrong::new(format!("the path {} has a `*` in its middle", quote(text)), hint));
        }
        if fixed.contains(['?', '#']) {
            let hint = "a route looks at the path alone; the query is the application's";
            return Err(Wrong::new(format!("the path {} has a `?` or `#`", quote(text)), hint));
        }
        if !fixed.bytes().all(|byte| byte.is_ascii_graphic()) {
            let hint = "percent-encode what is not printable ASCII: a space is `%20`";
            return Err(Wrong::new(
                format!("the path {} has characters that no path has", quote(text)),
                hint,
            ));
        }
        if fixed.split('/').any(|segment| segment == "." || segment == "..") {
            let hint =
                "requests are matched after `.` and `..` have been resolved, so this would never match";
            return Err(Wrong::new(format!("the path {} has a segment `.` or `..`", quote(text)), hint));
        }
        Ok(Self(text.to_owned()))
    }

    fn text(&self) -> String {
        self.0.clone()
    }
}

/// A method: a token in upper case (RFC 9110 §9.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Method(pub String);

impl Text for Method {
    const WHAT: &'static str = "a method";
    const SAMPLE: &'static str = "\"GET\"";

    fn parse(text: &str) -> Result<Self, Wrong> {
        let ok =
            !text.is_empty() && text.len() <= 32 && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'-');
        if ok {
            return Ok(Self(text.to_owned()));
        }
        let upper = text.to_ascii_uppercase();
        let hint = match upper.bytes().all(|b| b.is_ascii_uppercase() || b == b'-') && !upper.is_empty() {
            true => format!("methods are written in upper case: `\"{upper}\"`"),
            false => "write it as `\"GET\"`".to_owned(),
        };
        Err(Wrong::new(format!("{} is not a method", quote(text)), hint))
    }

    fn text(&self) -> String {
        self.0.clone()
    }
}

/// Where a client is sent: a URL, or a path of this site.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Redirect(pub String);

impl Text for Redirect {
    const WHAT: &'static str = "a URL or path";
    const SAMPLE: &'static str = "\"https://shop.example{path}{query}\"";

    fn parse(text: &str) -> Result<Self, Wrong> {
        let plain = text.replace("{path}", "/").replace("{query}", "");
        if plain.contains(['{', '}']) {
            let hint = "`{path}` and `{query}` are filled in, nothing else";
            return Err(Wrong::new(format!("{} has braces around something else", quote(text)), hint));
        }
        // A path that begins with `//` is a URL of another host (RFC 3986 §4.2).
        // It arises from `{path}` too: `/{path}` gives `//evil.example`.
        if plain.starts_with("//") || plain.starts_with("/\\") {
            let hint = "write the host with its scheme: `https://host/path`; `{path}` brings its own `/`";
            return Err(Wrong::new(format!("{} would send clients to any host", quote(text)), hint));
        }
        if !plain.starts_with('/') {
            // `{path}` begins with `/`, so that it can never become part of the host.
            check_url(&plain)?;
        }
        match plain.bytes().all(|byte| byte.is_ascii_graphic()) {
            true => Ok(Self(text.to_owned())),
            false => Err(Wrong::new(
                format!("{} has characters that no URL has", quote(text)),
                "percent-encode them",
            )),
        }
    }

    fn text(&self) -> String {
        self.0.clone()
    }
}

/// A file's name, or nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Index(pub String);

impl Index {
    /// The file's name, where there is one.
    pub fn file(&self) -> Option<&str> {
        (!self.0.is_empty()).then_some(self.0.as_str())
    }
}

impl Text for Index {
    const WHAT: &'static str = "a file's name";
    const SAMPLE: &'static str = "\"index.html\"";

    fn parse(text: &str) -> Result<Self, Wrong> {
        match text.contains(['/', '\0']) || text == "." || text == ".." {
            false => Ok(Self(text.to_owned())),
            true => {
                Err(Wrong::new(format!("{} is not a file's name", quote(text)), "write it without a folder"))
            }
        }
    }

    fn text(&self) -> String {
        self.0.clone()
    }
}

/// A header's value: printable ASCII (RFC 9110 §5.5, without obs-text).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HeaderValue(pub String);

impl Text for HeaderValue {
    const WHAT: &'static str = "a header's value";
    const SAMPLE: &'static str = "\"public, max-age=3600\"";

    fn parse(text: &str) -> Result<Self, Wrong> {
        match !text.trim().is_empty() && text.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
            true => Ok(Self(text.trim().to_owned())),
            false => Err(Wrong::new(
                format!("{} cannot be a header's value", quote(text)),
                "it is printable ASCII and not empty",
            )),
        }
    }

    fn text(&self) -> String {
        self.0.clone()
    }
}

/// A status of a redirect (RFC 9110 §15.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RedirectStatus(pub u16);

impl RedirectStatus {
    const ALL: &'static [i64] = &[301, 302, 303, 307, 308];
}

impl Value for RedirectStatus {
    fn kind() -> Kind {
        Kind::Codes(Self::ALL)
    }

    fn read(node: Node<'_>, cx: &mut Context) -> Option<Self> {
        let known = node.as_integer().filter(|status| Self::ALL.contains(status));
        match known.and_then(|status| u16::try_from(status).ok()) {
            Some(status) => Some(Self(status)),
            None => {
                cx.refuse_type(node, &Self::kind());
                None
            }
        }
    }

    fn show(&self) -> String {
        self.0.to_string()
    }
}

table! {
    /// A limit on a route's requests.
    pub struct Limit: "limit";

    /// How many, over time.
    required rate: Rate;
    why "always"; example r#"limit = { rate = "100/m" }"#;

    /// How many at once before the rate applies. Absent: as many as the rate allows in one second, at least one.
    optional burst: u32, in 1..=1_000_000;
    why "a page loads many things at once"; example r#"limit = { rate = "20/s", burst = 40 }"#;

    /// Whose requests are counted together.
    default per: LimitPer = LimitPer::Ip;
    why "the application as a whole bears only so much"; example r#"limit = { rate = "500/s", per = "all" }"#;
}

impl Limit {
    /// `burst`, or what the rate allows in one second.
    pub fn burst(&self) -> u32 {
        self.burst
            .as_ref()
            .map_or_else(|| self.rate.per_second.ceil().clamp(1.0, 1e6) as u32, |burst| burst.value)
    }
}

choice! {
    /// Whose requests a limit counts together.
    pub enum LimitPer {
        /// each client address (IPv6: each /64)
        Ip = "ip",
        /// all clients together
        All = "all",
    }
}
