//! What one table says about another: names that lead nowhere, things that
//! contradict one another, things that have no effect.

mod machines;
pub(crate) mod monitor;
mod ports;
mod routes;
mod waf;

use crate::diagnostic::{Code, quote};
use crate::keys::alert::Alert;
use crate::keys::monitor::Log;
use crate::keys::pool::PoolSource;
use crate::keys::site::{ListenAddress, PlainHttp};
use crate::read::{Context, Text, closest, list};
use crate::sections::Sections;
use crate::span::{Span, Spanned};
use crate::values::{Name, OneOrMore};
use std::collections::HashMap;
use std::hash::Hash;

/// Checks everything that takes more than one table to see.
pub(crate) fn across(file: &Sections, cx: &mut Context) {
    routes::check(file, cx);
    ports::check(file, cx);
    machines::check(file, cx);
    site(file, cx);
    pools(file, cx);
    alerts(file, cx);
    monitor::check(file, cx);
    waf::check(file, cx);
    firewall(file, cx);
    monitor(file, cx);
}

/// Reports a name that no table of a section has. `true` where one has.
fn known(section: &'static str, name: &Spanned<Name>, file: &Sections, cx: &mut Context) -> bool {
    if file.names.has(section, name.as_str()) {
        return true;
    }
    if cx.partial {
        return false;
    }
    let names = file.names.of(section);
    let hint = match (closest(name.as_str(), names), names.is_empty()) {
        (Some(near), _) => format!("did you mean `{near}`?"),
        (None, true) => format!("add a table `[{section}.{name}]`"),
        (None, false) => format!("there are {}; or add a table `[{section}.{name}]`", list(names)),
    };
    let what = if section == "database" { "database" } else { section };
    let message = format!("there is no {what} {}", quote(name.as_str()));
    cx.error(Code::UnknownName, name.span, message).hint(hint);
    false
}

/// Reports everything that stands in a list twice.
fn duplicates<K: Hash + Eq>(
    items: impl Iterator<Item = (K, Span)>,
    what: impl Fn(&K) -> String,
    hint: &str,
    cx: &mut Context,
) {
    let mut seen: HashMap<K, Span> = HashMap::new();
    for (item, span) in items {
        match seen.get(&item) {
            Some(first) => {
                cx.error(Code::Duplicate, span, what(&item)).hint(hint).related(*first, "the first is here");
            }
            None => drop(seen.insert(item, span)),
        }
    }
}

fn site(file: &Sections, cx: &mut Context) {
    let Some(site) = &file.site else { return };
    if site.domains.is_empty() {
        cx.error(Code::BadValue, site.domains.span, "the site has no name")
            .hint("write at least one host name: `domains = [\"shop.example\"]`");
    }
    let domains = site.domains.iter().map(|domain| (&domain.value.0, domain.span));
    duplicates(domains, |domain| format!("the domain {} stands here twice", quote(domain)), "remove one", cx);
    let nowhere = |listen: &Option<Spanned<OneOrMore<ListenAddress>>>| {
        listen.as_ref().filter(|addresses| addresses.is_empty()).map(|addresses| addresses.span)
    };
    let plain = site.plain_http.value == PlainHttp::Serve;
    match (nowhere(&site.listen.https), nowhere(&site.listen.http)) {
        (Some(span), Some(_)) => {
            cx.error(Code::Conflict, span, "the site would be served nowhere")
                .hint("give `https` a port, or leave it out");
        }
        (Some(span), None) if !plain => {
            cx.error(Code::Conflict, span, "HTTPS would be served nowhere")
                .hint("give `https` a port, or leave it out; behind a proxy that ends TLS add `plain_http = \"serve\"`");
        }
        (None, Some(_)) if plain => {
            let message = "`plain_http = \"serve\"`, but plain HTTP is answered nowhere";
            cx.error(Code::Conflict, site.plain_http.span, message).hint("give `http` of `listen` a port");
        }
        _ => {}
    }
}

/// Names that the parts of Bastide have in metrics and process lists.
const OWN_NAMES: &[&str] = &["edge", "database", "monitor", "control", "agent", "supervisor", "privileged"];

fn pools(file: &Sections, cx: &mut Context) {
    for pool in &file.pools {
        if OWN_NAMES.contains(&pool.name.as_str()) {
            cx.error(
                Code::Conflict,
                pool.name.span,
                format!("a pool cannot be called `{}`", pool.name.as_str()),
            )
            .hint("a part of Bastide has that name, and metrics would mix the two; call it `app`, say");
        }
        if let Some(name) = &pool.database {
            known("database", name, file, cx);
        }
        if let PoolSource::Servers(servers) = &pool.source {
            let addresses = servers.iter().map(|server| (&server.address.value, server.span));
            let what = |address: &&base::Address| format!("the server `{address}` stands here twice");
            duplicates(addresses, what, "remove one, or give it a `weight`", cx);
        }
        variables(pool, file, cx);
    }
}

/// Variables that `run` uses and the web servers' environment does not have.
fn variables(pool: &crate::Named<crate::Pool>, file: &Sections, cx: &mut Context) {
    let PoolSource::Run { command, .. } = &pool.source else { return };
    let databases = file.names.of("database");
    let has_url = pool.database.is_some() || databases.len() == 1;
    for name in command.variables() {
        let known = matches!(name, "PORT" | "PATH" | "HOME" | "LANG" | "TZ")
            || (name == "DATABASE_URL" && has_url)
            || pool.env.iter().any(|(known, _)| known.value.0 == name);
        if known || cx.partial {
            continue;
        }
        let message = format!("`run` uses `${name}`, which the web servers do not have");
        let hint = match name {
            "DATABASE_URL" if databases.len() > 1 => {
                format!("say which database: `database = \"{}\"`", databases[0])
            }
            "DATABASE_URL" => "add a table `[database.main]`".to_owned(),
            _ => format!("add it to `env`: `env = {{ {name} = \"…\" }}`"),
        };
        cx.error(Code::UnknownName, command.span, message).hint(hint);
    }
}

fn alerts(file: &Sections, cx: &mut Context) {
    for alert in &file.alerts {
        for receiver in alert.to.iter().flat_map(|to| to.iter()) {
            known("receiver", receiver, file, cx);
        }
        if alert.expr.is_some() || Alert::is_ready_made(alert.name.as_str()) || cx.partial {
            continue;
        }
        let names: Vec<&str> = crate::defaults::READY_MADE_ALERTS.iter().map(|(name, _)| *name).collect();
        let hint = match closest(alert.name.as_str(), &names) {
            Some(near) => format!(
                "did you mean the ready-made alert `{near}`? Otherwise write what to watch: `expr = \"site:qps > 800\"`"
            ),
            None => format!(
                "write what to watch: `expr = \"site:qps > 800\"`; ready-made alerts are {}",
                list(&names)
            ),
        };
        let message = format!("the alert `{}` has no `expr`", alert.name.as_str());
        cx.error(Code::MissingKey, alert.name.span, message).hint(hint);
    }
}

fn firewall(file: &Sections, cx: &mut Context) {
    let Some(firewall) = &file.firewall else { return };
    let entries = firewall.allow.iter().map(|entry| (entry.value.text(), entry.span));
    duplicates(entries, |entry| format!("`{entry}` stands in `allow` twice"), "remove one", cx);
    if firewall.apply.value && firewall.allow.is_empty() {
        cx.warning(Code::NoEffect, firewall.apply.span, "the firewall lets nobody log in to this machine")
            .hint("add `allow = [\"22/tcp from 203.0.113.0/24\"]` if you use SSH");
    }
}

fn monitor(file: &Sections, cx: &mut Context) {
    let Some(monitor) = &file.monitor else { return };
    let listen = monitor.listen.ip();
    if monitor.listen.given && listen.is_unspecified() {
        cx.warning(
            Code::NoEffect,
            monitor.listen.span,
            "the page has no password and is served on all addresses",
        )
        .hint("name one address of a private network, and see that the firewall guards it");
    }
    for scrape in monitor.scrape.iter() {
        let job = scrape.job.as_str();
        if OWN_NAMES.contains(&job) || file.names.has("pool", job) {
            cx.error(Code::Conflict, scrape.job.span, format!("the job `{job}` is scraped already"))
                .hint("give it another name: a part of Bastide or a pool has this one");
        }
    }
    let label = |log: &Log| match &log.name {
        Some(name) => name.value.0.clone(),
        None => log.path.0.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
    };
    let logs = monitor.logs.iter().map(|log| (label(log), log.span));
    let what = |label: &String| format!("two logs are called {}", quote(label));
    duplicates(logs, what, "give one a name of its own: `name = \"…\"`", cx);
}
