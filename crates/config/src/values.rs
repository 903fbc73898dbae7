//! The kinds of values that many keys share.

use crate::declare::Kind;
use crate::diagnostic::{Code, quote};
use crate::read::{Context, Node, NodeKind, Text, Value, Wrong, looks_secret};
use crate::span::Spanned;
use base::net::IpNet;
use base::{Address, Bytes, Millis, Rate};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// Gives a [`Text`] the reader, the kind and the spelling of a [`Value`].
macro_rules! text_value {
    ($($Type:ty),+ $(,)?) => {$(
        impl crate::read::Value for $Type {
            fn kind() -> crate::declare::Kind {
                use crate::read::Text;
                crate::declare::Kind::Text { what: <$Type>::WHAT, sample: <$Type>::SAMPLE }
            }

            fn read(node: crate::read::Node<'_>, cx: &mut crate::read::Context) -> Option<Self> {
                let (text, span) = node.text(Self::kind, cx)?;
                crate::values::read_text(text, span, cx)
            }

            fn show(&self) -> String {
                crate::values::toml_string(&crate::read::Text::text(self))
            }
        }
    )+};
}
pub(crate) use text_value;

text_value!(
    Millis, Bytes, Rate, Address, IpNet, IpAddr, SocketAddr, String, FilePath, Name, UrlPath, EnvName
);

/// Reads a string by its form, reporting why it is refused.
pub(crate) fn read_text<T: Text>(text: &str, span: crate::Span, cx: &mut Context) -> Option<T> {
    match T::parse(text) {
        Ok(value) => Some(value),
        Err(wrong) => {
            // The message may quote a URL with a password.
            let login = !crate::syntax::logins(text).is_empty();
            let message = if login { format!("{} carries a login", cx.key_name()) } else { wrong.message };
            cx.error(Code::BadValue, span, message).hint = wrong.hint;
            None
        }
    }
}

/// The text as a string of TOML.
pub(crate) fn toml_string(text: &str) -> String {
    toml_edit::Value::from(text).to_string().trim().to_owned()
}

impl Text for Millis {
    const WHAT: &'static str = "a duration";
    const SAMPLE: &'static str = "\"2s\"";

    fn parse(text: &str) -> Result<Self, Wrong> {
        Ok(Self::parse(text)?)
    }

    /// In the largest unit that needs no other: `30d`, `90m`.
    fn text(&self) -> String {
        const UNITS: &[(&str, u64)] = &[("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];
        if self.0 == 0 {
            return "0s".to_owned();
        }
        match UNITS.iter().find(|(_, factor)| self.0.is_multiple_of(*factor)) {
            Some((unit, factor)) => format!("{}{unit}", self.0 / factor),
            None => format!("{}ms", self.0),
        }
    }
}

impl Text for Bytes {
    const WHAT: &'static str = "a size";
    const SAMPLE: &'static str = "\"64KiB\"";

    fn parse(text: &str) -> Result<Self, Wrong> {
        Ok(Self::parse(text)?)
    }

    fn text(&self) -> String {
        self.to_string()
    }
}

impl Text for Rate {
    const WHAT: &'static str = "a rate";
    const SAMPLE: &'static str = "\"20/s\"";

    fn parse(text: &str) -> Result<Self, Wrong> {
        Ok(Self::parse(text)?)
    }

    fn text(&self) -> String {
        let (per_second, per_minute, per_hour) =
            (self.per_second, self.per_second * 60.0, self.per_second * 3600.0);
        match (per_second.fract() == 0.0, per_minute.fract() == 0.0) {
            (true, _) => format!("{per_second}/s"),
            (false, true) => format!("{per_minute}/m"),
            (false, false) => format!("{}/h", per_hour.round()),
        }
    }
}

impl Text for Address {
    const WHAT: &'static str = "an address";
    const SAMPLE: &'static str = "\"10.0.0.3:8000\"";

    fn parse(text: &str) -> Result<Self, Wrong> {
        let address = Self::parse(text)?;
        match &address {
            Self::Ip(at) if at.port() == 0 => Err(port_zero(text)),
            Self::Name(_, 0) => Err(port_zero(text)),
            _ => Ok(address),
        }
    }

    fn text(&self) -> String {
        self.to_string()
    }
}

fn port_zero(text: &str) -> Wrong {
    Wrong::new(
        format!("{} has the port 0, which nothing answers on", quote(text)),
        "write the server's own port",
    )
}

impl Text for IpNet {
    const WHAT: &'static str = "a network";
    const SAMPLE: &'static str = "\"10.0.0.0/8\"";

    /// An address alone is the network of that address; bits beyond the prefix
    /// are an error, since one of the two was not meant.
    fn parse(text: &str) -> Result<Self, Wrong> {
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Self::from(ip));
        }
        let net: Self = text.parse().map_err(|_| {
            Wrong::new(
                format!("{} is not a network", quote(text)),
                "write it as `10.0.0.0/8`, `2001:db8::/32` or as one address",
            )
        })?;
        match net.trunc() == net {
            true => Ok(net),
            false => Err(Wrong::new(
                format!("{} is an address within a network", quote(text)),
                format!("the network is `{}`; the address alone is `{}`", net.trunc(), net.addr()),
            )),
        }
    }

    fn text(&self) -> String {
        self.to_string()
    }
}

impl Text for IpAddr {
    const WHAT: &'static str = "an IP address";
    const SAMPLE: &'static str = "\"10.0.0.2\"";

    fn parse(text: &str) -> Result<Self, Wrong> {
        text.parse().map_err(|_| {
            Wrong::new(
                format!("{} is not an IP address", quote(text)),
                "write it as `10.0.0.2` or `2001:db8::2`, without a port",
            )
        })
    }

    fn text(&self) -> String {
        self.to_string()
    }
}

impl Text for SocketAddr {
    const WHAT: &'static str = "an IP address with a port";
    const SAMPLE: &'static str = "\"127.0.0.1:6432\"";

    fn parse(text: &str) -> Result<Self, Wrong> {
        text.parse().map_err(|_| {
            Wrong::new(
                format!("{} is not an IP address with a port", quote(text)),
                "write it as `127.0.0.1:6432`, `0.0.0.0:6432` or `[::1]:6432`; port 0 is chosen and printed",
            )
        })
    }

    fn text(&self) -> String {
        self.to_string()
    }
}

impl Text for String {
    const WHAT: &'static str = "a string";
    const SAMPLE: &'static str = "\"text\"";

    fn parse(text: &str) -> Result<Self, Wrong> {
        Ok(text.to_owned())
    }

    fn text(&self) -> String {
        self.clone()
    }
}

/// A path of a file or folder, as written: relative ones start at the folder of the configuration file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FilePath(pub PathBuf);

impl Text for FilePath {
    const WHAT: &'static str = "a path";
    const SAMPLE: &'static str = "\"./public\"";

    fn parse(text: &str) -> Result<Self, Wrong> {
        if text.is_empty() || text.contains('\0') {
            return Err(Wrong::new("an empty path", "write `.` for the folder of this file"));
        }
        if text.starts_with("~/") {
            let hint = "write the whole path, or one relative to this file";
            return Err(Wrong::new(format!("{} starts with `~`, which is not expanded", quote(text)), hint));
        }
        Ok(Self(text.into()))
    }

    fn text(&self) -> String {
        self.0.display().to_string()
    }
}

/// The name of a pool, database, alert, receiver or machine: letters, digits,
/// `-` and `_`, at most 63, because it appears in paths, labels and process names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(pub String);

impl Name {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Text for Name {
    const WHAT: &'static str = "a name";
    const SAMPLE: &'static str = "\"app\"";

    fn parse(text: &str) -> Result<Self, Wrong> {
        let ok = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let starts_well = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        match starts_well && text.len() <= 63 && text.bytes().all(ok) {
            true => Ok(Self(text.to_owned())),
            false => Err(Wrong::new(
                format!("{} is not a name", quote(text)),
                "a name has up to 63 letters, digits, `-` and `_`, and starts with a letter or digit",
            )),
        }
    }

    fn text(&self) -> String {
        self.0.clone()
    }
}

/// A path of a URL, `/healthz`: begins with `/`, printable ASCII without spaces and `#`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UrlPath(pub String);

impl Text for UrlPath {
    const WHAT: &'static str = "a path of a URL";
    const SAMPLE: &'static str = "\"/healthz\"";

    fn parse(text: &str) -> Result<Self, Wrong> {
        match text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
            true => Ok(Self(text.to_owned())),
            false => Err(Wrong::new(
                format!("{} is not a path of a URL", quote(text)),
                "it begins with `/`, and other characters than printable ASCII are percent-encoded",
            )),
        }
    }

    fn text(&self) -> String {
        self.0.clone()
    }
}

/// The name of an environment variable.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EnvName(pub String);

impl Text for EnvName {
    const WHAT: &'static str = "the name of an environment variable";
    const SAMPLE: &'static str = "\"ALERT_URL\"";

    fn parse(text: &str) -> Result<Self, Wrong> {
        let starts_well = text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
        match starts_well && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            true => Ok(Self(text.to_owned())),
            false => Err(Wrong::new(
                format!("{} is not the name of an environment variable", quote(text)),
                "it has letters, digits and `_`, and does not start with a digit; a `$` before it is not written",
            )),
        }
    }

    fn text(&self) -> String {
        self.0.clone()
    }
}

impl Value for bool {
    fn kind() -> Kind {
        Kind::Bool
    }

    fn read(node: Node<'_>, cx: &mut Context) -> Option<Self> {
        if let NodeKind::Value(toml_edit::Value::Boolean(value)) = node.kind {
            return Some(*value.value());
        }
        cx.refuse_type(node, &Self::kind());
        None
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

macro_rules! integer_value {
    ($($Type:ty),+) => {$(
        impl Value for $Type {
            fn kind() -> Kind {
                Kind::Integer { min: 0, max: i64::try_from(<$Type>::MAX).unwrap_or(i64::MAX) }
            }

            fn read(node: Node<'_>, cx: &mut Context) -> Option<Self> {
                let Some(number) = node.as_integer() else {
                    cx.refuse_type(node, &Self::kind());
                    return None;
                };
                let value = Self::try_from(number).ok();
                if value.is_none() {
                    let (low, high) = cx.range().unwrap_or_else(|| ("0".to_owned(), Self::MAX.to_string()));
                    let message = format!("{} is `{number}`, beyond its range", cx.key_name());
                    cx.error(Code::OutOfRange, node.span, message).hint(format!("it goes from `{low}` to `{high}`"));
                }
                value
            }

            fn show(&self) -> String {
                self.to_string()
            }
        }
    )+};
}
integer_value!(u16, u32, u64);

impl<T: Value> Value for Vec<Spanned<T>> {
    fn kind() -> Kind {
        Kind::List(Box::new(T::kind()))
    }

    fn read(node: Node<'_>, cx: &mut Context) -> Option<Self> {
        let mut nodes = Vec::new();
        match node.kind {
            NodeKind::Value(toml_edit::Value::Array(array)) => {
                nodes.extend(array.iter().map(|value| Node::value(value, node.span)));
            }
            _ => {
                cx.refuse_type(node, &Self::kind());
                return None;
            }
        }
        // All are read before the first failure counts, so that all are reported.
        let read: Vec<Option<Spanned<T>>> = nodes
            .into_iter()
            .map(|node| Some(Spanned::new(cx.element(|cx| T::read(node, cx))?, node.span)))
            .collect();
        read.into_iter().collect()
    }

    fn show(&self) -> String {
        let items: Vec<String> = self.iter().map(|item| item.value.show()).collect();
        format!("[{}]", items.join(", "))
    }
}

/// One value, or a list of them.
#[derive(Clone, Debug, PartialEq)]
pub struct OneOrMore<T>(pub Vec<Spanned<T>>);

impl<T> std::ops::Deref for OneOrMore<T> {
    type Target = [Spanned<T>];

    fn deref(&self) -> &[Spanned<T>] {
        &self.0
    }
}

impl<T: Value> Value for OneOrMore<T> {
    fn kind() -> Kind {
        Kind::OneOrMore(Box::new(T::kind()))
    }

    fn read(node: Node<'_>, cx: &mut Context) -> Option<Self> {
        match node.is_array() {
            true => Vec::read(node, cx).map(Self),
            false => Some(Self(vec![Spanned::new(T::read(node, cx)?, node.span)])),
        }
    }

    fn show(&self) -> String {
        match self.0.as_slice() {
            [one] => one.value.show(),
            more => format!("[{}]", more.iter().map(|item| item.value.show()).collect::<Vec<_>>().join(", ")),
        }
    }
}

/// A table whose keys are free: pairs in the order of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Pairs<K, V>(pub Vec<(Spanned<K>, Spanned<V>)>);

impl<K, V> std::ops::Deref for Pairs<K, V> {
    type Target = [(Spanned<K>, Spanned<V>)];

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<K: Text, V: Value> Value for Pairs<K, V> {
    fn kind() -> Kind {
        Kind::Map { keys: K::WHAT, values: Box::new(V::kind()) }
    }

    fn read(node: Node<'_>, cx: &mut Context) -> Option<Self> {
        let table = node.inline_table(Self::kind, cx)?;
        let mut pairs = Vec::new();
        let mut whole = true;
        for (name, item) in table.like.iter() {
            let span = table.key_span(name);
            if looks_secret(name) {
                cx.masked.push(table.value_span(name));
            }
            let key = read_text::<K>(name, span, cx);
            let value = Node::item(item, span)
                .and_then(|node| Some(Spanned::new(cx.element(|cx| V::read(node, cx))?, node.span)));
            match key.zip(value) {
                Some((key, value)) => pairs.push((Spanned::new(key, span), value)),
                None => whole = false,
            }
        }
        whole.then_some(Self(pairs))
    }

    fn show(&self) -> String {
        let pairs: Vec<String> = self
            .0
            .iter()
            .map(|(key, value)| format!("{} = {}", key.value.text(), value.value.show()))
            .collect();
        if pairs.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", pairs.join(", ")) }
    }
}

/// Where a secret comes from. `control` reads it; the file never holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// An environment variable of the process that reads the file.
    Env(EnvName),
    /// A file; one newline at its end is not part of the secret.
    File(FilePath),
}

crate::declare::table! {
    /// Where a secret comes from: exactly one of the two.
    pub struct SecretKeys: "secret";

    /// The environment variable that holds it.
    optional env: EnvName;
    why "the program that starts Bastide has it"; example r#"password = { env = "DB_PASSWORD" }"#;

    /// The file that holds it; one newline at its end is left out.
    optional file: FilePath;
    why "a secret manager writes it there"; example r#"password = { file = "/run/secrets/db" }"#;
}

impl Value for SecretSource {
    fn kind() -> Kind {
        SecretKeys::kind()
    }

    fn read(node: Node<'_>, cx: &mut Context) -> Option<Self> {
        if !node.is_table() {
            cx.masked.push(node.span);
        }
        if node.as_text().is_some() {
            let key = cx.key_name();
            let bare = key.trim_matches('`').to_owned();
            cx.error(
                Code::PlainSecret,
                node.span,
                format!("{key} is a secret and is not written in the file"),
            )
            .hint(format!("write `{bare} = {{ env = \"NAME\" }}` or `{bare} = {{ file = \"path\" }}`"));
            return None;
        }
        let keys = SecretKeys::read(node, cx)?;
        match (keys.env, keys.file) {
            (Some(env), None) => Some(Self::Env(env.value)),
            (None, Some(file)) => Some(Self::File(file.value)),
            _ => {
                let message = format!("{} has exactly one of `env` and `file`", cx.key_name());
                cx.error(Code::Conflict, node.span, message)
                    .hint("write `{ env = \"NAME\" }` or `{ file = \"path\" }`");
                None
            }
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Env(name) => format!("{{ env = {} }}", name.show()),
            Self::File(path) => format!("{{ file = {} }}", path.show()),
        }
    }
}

/// Text that may be a secret: written in the file, or where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TextOrSecret {
    /// Written in the file.
    Text(String),
    /// Read from elsewhere.
    Secret(SecretSource),
}

impl Value for TextOrSecret {
    fn kind() -> Kind {
        Kind::OneOf(vec![String::kind(), SecretSource::kind()])
    }

    fn read(node: Node<'_>, cx: &mut Context) -> Option<Self> {
        match node.as_text() {
            Some(text) => Some(Self::Text(text.to_owned())),
            None if node.is_table() => SecretSource::read(node, cx).map(Self::Secret),
            None => {
                cx.refuse_type(node, &Self::kind());
                None
            }
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Text(text) => toml_string(text),
            Self::Secret(source) => source.show(),
        }
    }
}

/// An `http://` or `https://` URL with a host.
pub(crate) fn check_url(text: &str) -> Result<(), Wrong> {
    let wrong = || {
        Wrong::new(
            format!("{} is not a URL", quote(text)),
            "write it as `http://host:port/path` or `https://host/path`",
        )
    };
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")).ok_or_else(wrong)?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(wrong());
    }
    if authority.contains('@') {
        let hint = "write it without the login";
        return Err(Wrong::new("the URL carries a login", hint));
    }
    let host = match authority.strip_prefix('[') {
        Some(v6) => {
            let (address, port) = v6.split_once(']').ok_or_else(wrong)?;
            address.parse::<std::net::Ipv6Addr>().map_err(|_| wrong())?;
            return check_port(port).ok_or_else(wrong);
        }
        None => authority,
    };
    let (name, port) = host.find(':').map_or((host, ""), |at| host.split_at(at));
    let known = base::net::is_host_name(name) || name.parse::<std::net::Ipv4Addr>().is_ok();
    if known { check_port(port).ok_or_else(wrong) } else { Err(wrong()) }
}

/// Nothing, or a colon and a port.
fn check_port(text: &str) -> Option<()> {
    match text.strip_prefix(':') {
        None => text.is_empty().then_some(()),
        Some(port) => port.parse::<u16>().ok().filter(|port| *port > 0).map(|_| ()),
    }
}
