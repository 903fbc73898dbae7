//! Keys of `http_config`, which pools and HTTP service discovery have within them.

use crate::settings::{Authentication, Http, Pem, SecretSource, Tls, TlsVersion};
use base::Secret;
use std::path::Path;
use yaml_tree::{Node, Place, Reader};

/// Takes a key; `false` where it is none of HTTP's.
pub(super) fn key(
    reader: &mut Reader,
    key: &str,
    place: Place,
    value: &Node,
    folder: &Path,
    http: &mut Http,
) -> bool {
    let authentication = match key {
        "basic_auth" => basic(reader, value, folder),
        "authorization" => token(reader, value, folder),
        "bearer_token" | "bearer_token_file" => Authentication::Token {
            kind: "Bearer".to_owned(),
            credentials: source(reader, key, value, folder),
        },
        _ => return other_key(reader, key, place, value, folder, http),
    };
    if http.authentication != Authentication::None {
        reader.wrong(place, "a second way to log in; hint: one of `basic_auth` and `authorization`");
    }
    http.authentication = authentication;
    true
}

fn other_key(
    reader: &mut Reader,
    key: &str,
    place: Place,
    value: &Node,
    folder: &Path,
    http: &mut Http,
) -> bool {
    match key {
        "tls_config" => http.tls = tls(reader, value, folder),
        "follow_redirects" => super::pool::flag(reader, value, key, &mut http.follow_redirects),
        "enable_compression" => super::pool::flag(reader, value, key, &mut http.compression),
        "http_headers" => http.headers = headers(reader, value, folder),
        // HTTP/1.1 is what is spoken, and every server speaks it.
        "enable_http2" => drop(reader.flag(value, key)),
        "proxy_from_environment" if reader.flag(value, key) != Some(true) => {}
        "oauth2"
        | "proxy_url"
        | "no_proxy"
        | "proxy_connect_header"
        | "proxy_from_environment"
        | "scrape_failure_log_file" => {
            let what =
                format!("`{key}` is not there; hint: take it out, or scrape this target by other means");
            reader.wrong(place, what);
        }
        _ => return false,
    }
    true
}

/// A secret, or the path of its file where the key says so.
fn source(reader: &mut Reader, key: &str, value: &Node, folder: &Path) -> SecretSource {
    let text = reader.text(value, key);
    if key.ends_with("_file") {
        SecretSource::File(folder.join(text))
    } else {
        SecretSource::Text(Secret::new(text))
    }
}

fn basic(reader: &mut Reader, node: &Node, folder: &Path) -> Authentication {
    let empty = || SecretSource::Text(Secret::default());
    let (mut user, mut password) = (empty(), empty());
    for (key, place, value) in reader.map(node, "`basic_auth`") {
        let into = match key.as_str() {
            "username" | "username_file" => &mut user,
            "password" | "password_file" => &mut password,
            _ => {
                reader.unknown(*place, key, &["username", "username_file", "password", "password_file"]);
                continue;
            }
        };
        let given = source(reader, key, value, folder);
        if *into != empty() {
            reader.wrong(*place, format!("`{key}`: at most one of a text and a file"));
        }
        *into = given;
    }
    Authentication::Basic { user, password }
}

fn token(reader: &mut Reader, node: &Node, folder: &Path) -> Authentication {
    let (mut kind, mut credentials) = ("Bearer".to_owned(), None);
    for (key, place, value) in reader.map(node, "`authorization`") {
        match key.as_str() {
            "type" => kind = reader.text(value, key).trim().to_owned(),
            "credentials" | "credentials_file" => {
                if credentials.replace(source(reader, key, value, folder)).is_some() {
                    reader.wrong(*place, "at most one of `credentials` and `credentials_file`");
                }
            }
            _ => reader.unknown(*place, key, &["type", "credentials", "credentials_file"]),
        }
    }
    if kind.eq_ignore_ascii_case("basic") {
        reader.wrong(node.place, "`authorization` of type `Basic`; hint: `basic_auth`");
    }
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if kind.is_empty() || !kind.bytes().all(is_token) {
        reader.wrong(node.place, format!("`{kind}` is not a type of authorization"));
    }
    let credentials = credentials.unwrap_or_else(|| SecretSource::Text(Secret::default()));
    Authentication::Token { kind, credentials }
}

fn tls(reader: &mut Reader, node: &Node, folder: &Path) -> Tls {
    let mut tls = Tls::default();
    for (key, place, value) in reader.map(node, "`tls_config`") {
        let pem = |reader: &mut Reader| {
            let text = reader.text(value, key);
            let pem = match key.ends_with("_file") {
                true => Pem::File(folder.join(&text)),
                false => Pem::Text(Secret::new(text.clone())),
            };
            (!text.is_empty()).then_some(pem)
        };
        let (into, given) = match key.as_str() {
            "ca" | "ca_file" => (&mut tls.ca, pem(reader)),
            "cert" | "cert_file" => (&mut tls.certificate, pem(reader)),
            "key" | "key_file" => (&mut tls.key, pem(reader)),
            "server_name" => {
                tls.server_name = Some(reader.text(value, key)).filter(|name| !name.is_empty());
                continue;
            }
            "insecure_skip_verify" => {
                super::pool::flag(reader, value, key, &mut tls.insecure);
                continue;
            }
            "min_version" => {
                tls.min_version = reader.parsed(value, key, version);
                continue;
            }
            "max_version" => {
                tls.max_version = reader.parsed(value, key, version);
                continue;
            }
            _ => {
                let known = ["ca_file", "cert_file", "key_file", "server_name", "insecure_skip_verify"];
                reader.unknown(*place, key, &known);
                continue;
            }
        };
        if into.is_some() && given.is_some() {
            reader.wrong(*place, format!("`{key}`: at most one of a text and a file"));
        }
        if given.is_some() {
            *into = given;
        }
    }
    if tls.certificate.is_some() != tls.key.is_some() {
        reader.wrong(node.place, "`tls_config` has one of certificate and key; hint: both or neither");
    }
    if let (Some(min), Some(max)) = (tls.min_version, tls.max_version)
        && min > max
    {
        reader.wrong(node.place, "`min_version` is above `max_version`");
    }
    tls
}

fn version(text: &str) -> Result<TlsVersion, String> {
    match text {
        "TLS12" => Ok(TlsVersion::Tls12),
        "TLS13" => Ok(TlsVersion::Tls13),
        "TLS10" | "TLS11" => Err(format!("`{text}` is broken and not spoken; hint: `TLS12` or `TLS13`")),
        _ => Err(format!("`{text}` is not a version of TLS; hint: `TLS12` or `TLS13`")),
    }
}

/// Lines that the client writes itself (`http_config`, "Reserved headers").
const RESERVED: [&str; 10] = [
    "authorization",
    "host",
    "content-encoding",
    "content-length",
    "content-type",
    "user-agent",
    "connection",
    "accept-encoding",
    "x-prometheus-scrape-timeout-seconds",
    "transfer-encoding",
];

fn headers(reader: &mut Reader, node: &Node, folder: &Path) -> Vec<(String, SecretSource)> {
    let mut found = Vec::new();
    for (name, place, value) in reader.map(node, "`http_headers`") {
        let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if name.is_empty() || !name.bytes().all(is_token) {
            reader.wrong(*place, format!("`{name}` is not a header's name"));
        } else if RESERVED.contains(&name.to_ascii_lowercase().as_str()) {
            reader.wrong(*place, format!("`{name}` is written by the scraper itself"));
        }
        for (key, place, value) in reader.map(value, "a header") {
            match key.as_str() {
                "values" | "secrets" => {
                    for text in reader.texts(value, key) {
                        found.push((name.clone(), SecretSource::Text(Secret::new(text))));
                    }
                }
                "files" => {
                    for path in reader.texts(value, key) {
                        found.push((name.clone(), SecretSource::File(folder.join(path))));
                    }
                }
                _ => reader.unknown(*place, key, &["values", "secrets", "files"]),
            }
        }
    }
    found
}
