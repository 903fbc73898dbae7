//! `[monitor]`: what is scraped and read, and how long it is kept.

use crate::declare::{choice, table};
use crate::defaults;
use crate::diagnostic::quote;
use crate::read::{Text, Wrong};
use crate::span::Spanned;
use crate::values::{FilePath, Name, check_url, text_value};
use base::{Bytes, Millis};
use std::net::SocketAddr;

table! {
    /// The monitor: it scrapes all parts of the site and this machine, keeps what it sees, alerts, and serves
    /// the page and Prometheus' HTTP API.
    pub struct Monitor: "[monitor]";

    /// Where page and API are served. They show everything and ask for no password.
    default listen: SocketAddr = defaults::MONITOR_LISTEN;
    why "the port is taken, or a private network should see the page"; example r#"listen = "10.0.0.2:9600""#;

    /// Samples older than this are dropped.
    default retention: Millis = defaults::RETENTION, in Millis(3_600_000)..=Millis(3_650 * 86_400_000);
    why "the disk is small, or last year is to be compared"; example r#"retention = "90d""#;

    /// The oldest samples are dropped when the store is larger than this; `"0B"` is no limit.
    default retention_size: Bytes = defaults::RETENTION_SIZE;
    why "the disk is small"; example r#"retention_size = "1GiB""#;

    /// Between two scrapes of a target.
    default scrape_interval: Millis = defaults::SCRAPE_INTERVAL, in Millis(1_000)..=Millis(300_000);
    why "there are many targets, or the disk is small"; example r#"scrape_interval = "15s""#;

    /// Other programs to scrape: Prometheus' text format.
    default scrape: Vec<Spanned<Scrape>> = vec![];
    why "other programs have metrics"; example r#"scrape = [{ job = "queue", url = "http://127.0.0.1:9100/metrics" }]"#;

    /// Access logs of other programs to read.
    default logs: Vec<Spanned<Log>> = vec![];
    why "nginx or Apache serve a part of the site"; example r#"logs = [{ path = "/var/log/nginx/access.log" }]"#;
}

table! {
    /// A program to scrape.
    pub struct Scrape: "scrape";

    /// The label `job` of its samples.
    required job: Name;
    why "always"; example r#"scrape = [{ job = "queue", url = "http://127.0.0.1:9100/metrics" }]"#;

    /// Where it shows its metrics.
    required url: Url;
    why "always"; example r#"scrape = [{ job = "queue", url = "http://127.0.0.1:9100/metrics" }]"#;
}

table! {
    /// An access log to read.
    pub struct Log: "logs";

    /// The file. It may be renamed and made anew (rotated) while it is read.
    required path: FilePath;
    why "always"; example r#"logs = [{ path = "/var/log/nginx/access.log" }]"#;

    /// How its lines are written.
    default format: LogFormat = LogFormat::Combined;
    why "another Bastide wrote it"; example r#"logs = [{ path = "access.jsonl", format = "bastide" }]"#;

    /// The label `log` of its samples. Absent: the file's name.
    optional name: Name;
    why "two logs have the same file name"; example r#"logs = [{ path = "/var/log/nginx/access.log", name = "nginx" }]"#;
}

choice! {
    /// How an access log's lines are written.
    pub enum LogFormat {
        /// nginx' and Apache's combined or common format
        Combined = "combined",
        /// Bastide's own JSON lines
        Bastide = "bastide",
    }
}

text_value!(Url);

/// An `http://` or `https://` URL without a login.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Url(pub String);

impl Text for Url {
    const WHAT: &'static str = "a URL";
    const SAMPLE: &'static str = "\"http://127.0.0.1:9100/metrics\"";

    fn parse(text: &str) -> Result<Self, Wrong> {
        check_url(text)?;
        match text.contains('#') {
            false => Ok(Self(text.to_owned())),
            true => Err(Wrong::new(format!("{} has a fragment", quote(text)), "remove what follows the `#`")),
        }
    }

    fn text(&self) -> String {
        self.0.clone()
    }
}
