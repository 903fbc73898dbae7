//! Telling receivers: one POST of Alertmanager's webhook JSON. Waiting and trying
//! again is decided by `monitor-alert`'s dispatcher.

use crate::fetch::{Endpoint, Exchange, fetch};
use base::Address;
use base64::Engine as _;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::{Method, Uri};
use std::time::Duration;

/// A receiver may take this long.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of a receiver's answer that are read.
const MAX_ANSWER: usize = 64 << 10;

/// Where a webhook is. Its `Debug` shows no secret.
#[derive(Clone)]
pub(crate) struct Hook {
    endpoint: Endpoint,
    target: String,
    authorization: Option<String>,
}

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hook({})", self.endpoint.address)
    }
}

impl Hook {
    /// Reads `http://` or `https://`, with user and password where there are any.
    /// The error ends the sentence "its webhook URL …" and holds no part of it.
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        let uri: Uri = url.trim().parse().map_err(|_| "is not a URL".to_owned())?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err("does not begin with `http://` or `https://`".to_owned()),
        };
        let authority = uri.authority().ok_or("names no host")?;
        let host = authority.host();
        let after_user = authority.as_str().rsplit_once('@').map_or(authority.as_str(), |(_, rest)| rest);
        let port_text = after_user.strip_prefix(host).and_then(|rest| rest.strip_prefix(':'));
        let port: u16 = match port_text {
            Some(text) => text.parse().map_err(|_| "has a port that is none".to_owned())?,
            None if tls => 443,
            None => 80,
        };
        let address = Address::parse(&format!("{host}:{port}")).map_err(|_| "names no host".to_owned())?;
        let mut endpoint = Endpoint::of(&address, tls);
        if port_text.is_none() {
            endpoint.host = host.to_owned(); // The default port is left out of `Host`.
        }
        let authorization = authority.as_str().rsplit_once('@').map(|(user, _)| {
            let decoded = percent_decode(user);
            format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(decoded))
        });
        let target = uri.path_and_query().map_or("/", |p| p.as_str()).to_owned();
        Ok(Self { endpoint, target, authorization })
    }

    /// Sends one message. The error names the host alone.
    pub(crate) async fn send(&self, body: Vec<u8>) -> Result<(), String> {
        let mut headers = vec![(CONTENT_TYPE, "application/json")];
        if let Some(authorization) = &self.authorization {
            headers.push((AUTHORIZATION, authorization));
        }
        let exchange = Exchange {
            method: Method::POST,
            target: &self.target,
            headers: &headers,
            body: body.into(),
            timeout: TIMEOUT,
            max_body: MAX_ANSWER,
        };
        match fetch(&self.endpoint, exchange).await {
            Ok(answer) if (200..300).contains(&answer.status) => Ok(()),
            Ok(answer) => {
                Err(format!("`{}` answered with HTTP status {}", self.endpoint.address, answer.status))
            }
            Err(why) => Err(why),
        }
    }
}

/// `%41` and the like, as in the query of the admin socket; `+` stays.
fn percent_decode(text: &str) -> String {
    let kept = text.replace('+', "%2B");
    role::admin::decode_query(&kept).into_iter().next().map(|(name, _)| name).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let cases = [
            ("http://127.0.0.1:9/x?a=b", Ok(("127.0.0.1:9", "127.0.0.1:9", "/x?a=b", false, None))),
            ("https://hooks.example", Ok(("hooks.example:443", "hooks.example", "/", true, None))),
            (
                "https://us%65r:p+w@hooks.example:8443/t",
                Ok(("hooks.example:8443", "hooks.example:8443", "/t", true, Some("Basic dXNlcjpwK3c="))),
            ),
            ("http://[::1]:8/", Ok(("[::1]:8", "[::1]:8", "/", false, None))),
            ("ftp://h/", Err("http")),
            ("hooks.example", Err("http")),
            ("http://h:99999/", Err("URL")),
            ("http://", Err("URL")),
            ("", Err("URL")),
        ];
        for (url, expected) in cases {
            match (Hook::parse(url), expected) {
                (Ok(hook), Ok((address, host, target, tls, authorization))) => {
                    assert_eq!(hook.endpoint.address.to_string(), address, "{url}");
                    assert_eq!((hook.endpoint.host.as_str(), hook.endpoint.tls), (host, tls), "{url}");
                    assert_eq!(
                        (hook.target.as_str(), hook.authorization.as_deref()),
                        (target, authorization),
                        "{url}"
                    );
                }
                (Err(_), Err(_)) => {}
                (got, expected) => panic!("{url}: {got:?}, expected {expected:?}"),
            }
        }
    }
}
