//! Routes: pools that do not exist, pools and routes that nothing reaches.

use super::known;
use crate::diagnostic::{Code, quote};
use crate::keys::route::{Action, Route};
use crate::read::Context;
use crate::sections::Sections;
use std::collections::HashSet;

/// Each route is compared with all before it; with more routes than this that is not done.
const COMPARED: usize = 2_000;

pub(super) fn check(file: &Sections, cx: &mut Context) {
    nothing_served(file, cx);
    let few = file.routes.len() <= COMPARED;
    for (index, route) in file.routes.iter().enumerate() {
        if let Action::Pool(pool) = &route.action {
            known("pool", pool, file, cx);
        }
        foreign_host(route, file, cx);
        if let Some(first) = file.routes[..index].iter().find(|first| few && covers(first, route)) {
            cx.warning(Code::NoEffect, route.span, "this route is never reached")
                .hint("the first route that matches wins: put the narrower one first")
                .related(first.span, "this one takes all its requests");
        }
    }
    for pool in &file.pools_of_refused {
        known("pool", pool, file, cx);
    }
    // A route with a mistake may be the one that uses a pool.
    if file.routes.len() < file.routes_written || cx.partial {
        return;
    }
    let used: HashSet<&str> = file
        .routes
        .iter()
        .filter_map(|route| match &route.action {
            Action::Pool(name) => Some(name.as_str()),
            Action::Files(_) | Action::Redirect(_) => None,
        })
        .collect();
    for pool in file.pools.iter().filter(|pool| !used.contains(pool.name.as_str())) {
        let message = format!("no route leads to the pool {}", quote(pool.name.as_str()));
        cx.warning(Code::NoEffect, pool.name.span, message)
            .hint(format!("add a `[[route]]` with `pool = \"{}\"`, or remove the pool", pool.name.as_str()));
    }
}

fn nothing_served(file: &Sections, cx: &mut Context) {
    if file.routes_written > 0 || cx.partial {
        return;
    }
    let message = "the file has no `[[route]]`, so every request is answered 404";
    let hint = "add a `[[route]]` with one of `pool = \"app\"`, `files = \"./public\"` and `redirect = \"https://…\"`";
    let at = crate::Span::default();
    match file.names.of("database").is_empty() {
        true => cx.error(Code::MissingKey, at, message).hint(hint),
        // A file may be there for its database alone.
        false => cx.warning(Code::NoEffect, at, message).hint(hint),
    };
}

/// Whether every request that `later` matches is matched by `first`.
fn covers(first: &Route, later: &Route) -> bool {
    let host = match (&first.host, &later.host) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(first), Some(later)) => first.covers(&later.value.0),
    };
    let methods = first.methods.is_empty()
        || (!later.methods.is_empty()
            && later
                .methods
                .iter()
                .all(|method| first.methods.iter().any(|known| known.value == method.value)));
    host && methods && first.path.covers(&later.path)
}

/// A host that the site does not answer to.
fn foreign_host(route: &Route, file: &Sections, cx: &mut Context) {
    let (Some(host), Some(site)) = (&route.host, &file.site) else { return };
    let answers = |domain: &str| {
        let below = |suffix: &str| host.value.0.ends_with(suffix);
        let beyond = |suffix: &str| domain.ends_with(suffix);
        domain == host.value.0
            || domain.strip_prefix('*').is_some_and(below)
            || host.value.0.strip_prefix('*').is_some_and(beyond)
    };
    if !site.domains.iter().any(|domain| answers(&domain.value.0)) {
        cx.warning(
            Code::NoEffect,
            host.span,
            format!("the site does not answer to {}", quote(&host.value.0)),
        )
        .hint("add it to `domains` of `[site]`; requests for other hosts are answered 421");
    }
}
