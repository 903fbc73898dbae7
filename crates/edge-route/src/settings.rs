//! The routes as `control` lowers them from the file's `[[route]]` tables.

use base::Rate;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// All routes, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// First match wins.
    pub routes: Vec<Route>,
}

/// One `[[route]]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Route {
    /// How logs and metrics name it: its path pattern, preceded by its host where it has one.
    pub name: String,
    /// A host name, `*.example.com` for one or more labels below it, or none for any host.
    pub host: Option<String>,
    /// A path: exact (`/about`), or a prefix ending in `*` (`/api/*`, `/*`). `/api/*` matches `/api/` and all below, not `/api`.
    pub path: String,
    /// Only these methods, in upper case; empty means all.
    pub methods: Vec<String>,
    /// What answers.
    pub action: Action,
    /// A limit on requests.
    pub limit: Option<Limit>,
    /// `false` takes the WAF off this route.
    pub waf: bool,
}

/// What answers a route's requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The web servers of a pool.
    Pool {
        /// The pool's name.
        pool: String,
        /// Remove the pattern's fixed part from the path before sending it on.
        strip_prefix: bool,
    },
    /// Files of a folder; the pattern's fixed part is removed first.
    Files {
        /// The folder, absolute.
        folder: PathBuf,
        /// The file served for a folder, such as `index.html`; none means 404.
        index: Option<String>,
        /// The Cache-Control header.
        cache_control: Option<String>,
    },
    /// A redirect.
    Redirect {
        /// Where to; `{path}` and `{query}` stand for the request's own (`{query}` with its `?`).
        to: String,
        /// 301, 302, 303, 307 or 308.
        status: u16,
    },
}

/// `limit = { rate = "20/s", burst = 40, per = "ip" }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// Requests allowed, over time.
    pub rate: Rate,
    /// Requests allowed at once before the rate applies.
    pub burst: u32,
    /// Whose requests are counted together.
    pub per: LimitKey,
}

/// Whose requests a limit counts together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitKey {
    /// Each client address (IPv6: each /64).
    Ip,
    /// All clients together.
    All,
}
