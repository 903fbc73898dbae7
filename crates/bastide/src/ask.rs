//! Asking the monitor's HTTP API, as a browser or Grafana would.

use crate::target;
use control::paths::Paths;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use role::Fault;
use role::client::Admin;
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// An answer's body, at most.
const MAX_BODY: usize = 64 << 20;

/// Saying where it listens takes the monitor no longer than this.
const FIND: Duration = Duration::from_secs(5);

/// The monitor's page and API.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Monitor {
    address: SocketAddr,
    timeout: Duration,
}

impl Monitor {
    /// Where it listens, as it says itself on its admin socket.
    pub(crate) async fn find(paths: &Paths, timeout: Duration) -> Result<Self, Fault> {
        let socket = paths.socket("monitor");
        let soon = timeout.min(FIND);
        let status = Admin::new(&socket).timeout(soon).get("/status").await.map_err(|error| {
            if let Some(fault) = target::denied(paths, "monitor") {
                return fault;
            }
            let fault = Fault::new(format!("the monitor of site `{}` does not answer: {error}", paths.site));
            if paths.socket("control").exists() {
                fault.hint("`bastide logs monitor` may say why; `bastide status` shows the site")
            } else {
                fault.hint("the site is not up: `bastide up FILE` starts it")
            }
        })?;
        let listening = status["listening"].as_array().into_iter().flatten();
        let mut addresses = listening.filter_map(|a| a.as_str()?.parse::<SocketAddr>().ok());
        let address = addresses.next().ok_or_else(|| {
            Fault::new("the monitor does not listen anywhere yet").hint("try again in a second")
        })?;
        Ok(Self { address: reachable(address), timeout })
    }

    /// `data` of an answer to a query of its Prometheus API, `endpoint` below `/api/v1/`.
    pub(crate) async fn prometheus(&self, endpoint: &str, form: &[(&str, &str)]) -> Result<Value, Fault> {
        let answer = self.answer(endpoint, form).await?;
        Ok(answer["data"].clone())
    }

    /// The whole answer.
    pub(crate) async fn answer(&self, endpoint: &str, form: &[(&str, &str)]) -> Result<Value, Fault> {
        let answer = self.ask(&format!("/api/v1/{endpoint}"), form).await?;
        if answer["status"] == "success" { Ok(answer) } else { Err(refused(&answer)) }
    }

    /// The answer of our own API, `endpoint` below `/api/bastide/v1/`.
    pub(crate) async fn bastide(&self, endpoint: &str, form: &[(&str, &str)]) -> Result<Value, Fault> {
        let answer = self.ask(&format!("/api/bastide/v1/{endpoint}"), form).await?;
        if answer["status"] == "error" { Err(refused(&answer)) } else { Ok(answer) }
    }

    async fn ask(&self, path: &str, form: &[(&str, &str)]) -> Result<Value, Fault> {
        let body = form.iter().map(|(n, v)| format!("{n}={}", encode(v))).collect::<Vec<_>>().join("&");
        tokio::time::timeout(self.timeout, self.send(path, body))
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {} s", self.timeout.as_secs_f64())))
            .map_err(|why| Fault::new(format!("the monitor at {}: {why}", self.address)))
    }

    /// The only value of an instant query; none where there is none or it is not a number.
    pub(crate) async fn value(&self, expr: &str) -> Option<f64> {
        let data = self.prometheus("query", &[("query", expr)]).await.ok()?;
        let text = match data["resultType"].as_str()? {
            "scalar" => data["result"][1].as_str()?,
            _ => data["result"][0]["value"][1].as_str()?,
        };
        text.parse::<f64>().ok().filter(|value| value.is_finite())
    }

    async fn send(&self, target: &str, body: String) -> Result<Value, String> {
        let stream = tokio::net::TcpStream::connect(self.address).await.map_err(|e| e.to_string())?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
        let driver = tokio::spawn(connection);
        let request = hyper::Request::post(target)
            .header("host", self.address.to_string())
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Full::new(Bytes::from(body)))
            .map_err(|e| e.to_string())?;
        let response = sender.send_request(request).await.map_err(|e| e.to_string())?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_BODY).collect().await;
        let body = body.map_err(|e| e.to_string())?.to_bytes();
        driver.abort();
        serde_json::from_slice(&body).map_err(|_| format!("it answered {status} without JSON"))
    }
}

fn refused(answer: &Value) -> Fault {
    let why = answer["error"].as_str().unwrap_or("it refused without a reason");
    Fault::new(format!("the monitor refused: {}", crate::terminal::escape(why)))
}

/// Whoever listens everywhere listens on loopback, too.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Percent-encodes all but RFC 3986's unreserved characters (§2.3).
pub(crate) fn encode(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(b).to_string(),
            b => format!("%{b:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn queries_are_encoded() {
        assert_eq!(
            super::encode("sum(a{b=\"ü\"}[1m]) + 1"),
            "sum%28a%7Bb%3D%22%C3%BC%22%7D%5B1m%5D%29%20%2B%201"
        );
    }
}
