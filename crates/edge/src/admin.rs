//! What the edge can be asked and told on its admin socket, besides what every
//! role can:
//!
//! | | |
//! |---|---|
//! | `PUT /bans` | `[{"net": "192.0.2.0/24", "until_ms": 0}, …]`: the whole set, in place of the one before |
//! | `GET /bans` | how many there are |
//! | `POST /bans/made` | the bans that were made here, `[{"net", "until_ms", "why", "behind_proxy"}, …]`: they are control's from now on, and hold here until its next list |
//! | `POST /drain-server?pool=app&server=app/1` | takes a server out; its requests go on |
//! | `POST /undrain-server?pool=app&server=app/1` | takes it back |

use crate::bans::{Ban, Bans};
use crate::compiled::{Compiled, PoolState};
use crate::edge::Edge;
use crate::health::Checks;
use crate::line_log;
use base::names;
use futures_util::future::BoxFuture;
use hyper::{Method, StatusCode};
use role::{Request, Response, Role};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The edge as its admin socket sees it.
pub(crate) struct Admin {
    pub(crate) edge: Arc<Edge>,
    pub(crate) checks: Checks,
}

impl Role for Admin {
    type Site = site::Edge;
    type Prepared = Compiled;

    fn prepare(&self, revision: site::Revision<site::Edge>) -> Result<Compiled, Vec<String>> {
        let current = self.edge.current();
        let fixed = fixed_settings(&current.settings, &revision.site);
        let now_ms = sys::clock::monotonic_ms();
        let compiled = Compiled::new(revision, &self.edge.metrics, Some(&current), now_ms);
        match (compiled, fixed.is_empty()) {
            (Ok(compiled), true) => Ok(compiled),
            (Ok(_), false) => Err(fixed),
            (Err(errors), _) => Err(errors.into_iter().chain(fixed).collect()),
        }
    }

    fn commit(&self, prepared: Compiled) {
        let edge = &self.edge;
        let before = edge.current();
        edge.resolver.swap(&prepared.certificates);
        if before.settings.access_log != prepared.settings.access_log {
            edge.access_log.change(prepared.settings.access_log.as_ref().map(Into::into));
        }
        edge.audit.change(before.waf.as_ref(), prepared.waf.as_ref());
        let captured = |site: &Compiled| line_log::Settings::captured(site.waf.as_ref(), &edge.state_dir);
        if captured(&before) != captured(&prepared) {
            edge.captured.change(captured(&prepared));
        }
        edge.compiled.store(Arc::new(prepared));
        self.checks.restart(edge);
        self.certificate_gauges(Some(&before));
        forget_series(edge, &before);
    }

    fn status(&self) -> Value {
        let edge = &self.edge;
        let site = edge.current();
        let listener = |l: &Arc<crate::edge::Listener>| {
            json!({
                "name": l.name, "address": l.address, "tls": l.https,
                "accepted": l.accepted.get(), "connections": l.connections.get(),
            })
        };
        let certificate = |c: &edge_cert::Loaded| {
            json!({
                "names": c.info.names, "issuer": c.info.issuer, "serial": c.info.serial,
                "not_before_s": c.info.not_before_s, "not_after_s": c.info.not_after_s,
                "renew_at_s": edge_cert::renew_at_s(c.info.not_before_s, c.info.not_after_s),
            })
        };
        let pool = |p: &Arc<PoolState>| {
            let servers = p.pool.status();
            json!({
                "name": p.name(), "policy": p.pool.settings().policy, "servers": servers,
                "up": servers.iter().filter(|s| s.up).count(),
                "waiting": p.waiting.load(Ordering::Relaxed),
            })
        };
        json!({
            "revision": site.revision, "hash": site.hash, "draining": *edge.draining.borrow(),
            "workers": edge.workers, "domains": site.settings.domains,
            "connections": edge.crowd.total(), "in_flight": edge.metrics.in_flight.get(),
            "listeners": edge.listeners.iter().map(listener).collect::<Vec<_>>(),
            "certificates": site.certificates.iter().map(certificate).collect::<Vec<_>>(),
            "pools": site.pools.iter().map(pool).collect::<Vec<_>>(),
            "routes": site.table.routes().map(|r| &r.name).collect::<Vec<_>>(),
            "waf": site.waf.as_ref().map(|w| w.settings.settings.mode),
            "bans": edge.bans.load().len(),
        })
    }

    fn ready(&self) -> Result<(), String> {
        if *self.edge.draining.borrow() {
            return Err("the edge drains".to_owned());
        }
        let accepting = self.edge.accepting.load(Ordering::Acquire) as usize;
        if accepting < self.edge.workers {
            return Err(format!("{accepting} of {} workers accept connections", self.edge.workers));
        }
        Ok(())
    }

    fn gather(&self) {
        for pool in &self.edge.current().pools {
            for (status, server) in pool.pool.status().iter().zip(&pool.servers) {
                server.metrics.up.set(f64::from(u8::from(status.up)));
                server.metrics.in_flight.set(f64::from(status.in_flight));
            }
        }
    }

    fn handle(&self, request: Request) -> BoxFuture<'_, Option<Response>> {
        Box::pin(async move {
            Some(match (&request.method, request.path.as_str()) {
                (&Method::PUT, "/bans") => match request.json::<Vec<Ban>>() {
                    Ok(list) => {
                        let bans = Bans::new(&list);
                        let count = bans.len();
                        self.edge.bans.store(Arc::new(bans));
                        self.edge.made.forget_handed();
                        Response::json(&json!({ "bans": count }))
                    }
                    Err(response) => response,
                },
                (&Method::GET, "/bans") => Response::json(&json!({ "bans": self.edge.bans.load().len() })),
                (&Method::POST, "/bans/made") => Response::json(&self.edge.made.hand_over()),
                (&Method::POST, "/drain-server") => self.drain(&request, true),
                (&Method::POST, "/undrain-server") => self.drain(&request, false),
                _ => return None,
            })
        })
    }
}

impl Admin {
    /// Takes a server out of its pool, or back.
    fn drain(&self, request: &Request, drained: bool) -> Response {
        let (Some(pool), Some(server)) = (request.param("pool"), request.param("server")) else {
            return Response::error(StatusCode::BAD_REQUEST, "say which: `?pool=app&server=app/1`");
        };
        let site = self.edge.current();
        let Some(found) = site.pool(pool) else {
            return Response::error(StatusCode::NOT_FOUND, format!("there is no pool `{pool}`"));
        };
        let Some(index) = found.pool.position(server) else {
            let why = format!("pool `{pool}` has no server `{server}`");
            return Response::error(StatusCode::NOT_FOUND, why);
        };
        let change = found.pool.drain(index, drained, sys::clock::monotonic_ms());
        self.edge.server_changed(pool, change);
        let in_flight = found.pool.status().get(index).map_or(0, |s| s.in_flight);
        Response::json(&json!({ "server": server, "drained": drained, "in_flight": in_flight }))
    }

    /// When each certificate ends, under its first name.
    pub(crate) fn certificate_gauges(&self, before: Option<&Compiled>) {
        let family = self.edge.metrics.registry.gauge(&names::EDGE_CERTIFICATE_EXPIRY);
        let site = self.edge.current();
        let name = |c: &edge_cert::Loaded| c.info.names.first().cloned().unwrap_or_default();
        let gone = |values: &[String]| {
            let named = |c: &edge_cert::Loaded| values.first() == Some(&name(c));
            before.is_some_and(|b| b.certificates.iter().any(named)) && !site.certificates.iter().any(named)
        };
        family.remove(gone);
        for certificate in &site.certificates {
            family.with(&[&name(certificate)]).set(certificate.info.not_after_s as f64);
        }
    }
}

/// Pools and servers that are gone leave no gauges that stand still.
fn forget_series(edge: &Edge, before: &Compiled) {
    let now = edge.current();
    let gone = |values: &[String]| match values {
        [pool, server, ..] => {
            let has = |c: &Compiled| c.pool(pool).is_some_and(|p| p.pool.position(server).is_some());
            has(before) && !has(&now)
        }
        _ => false,
    };
    let registry = &edge.metrics.registry;
    registry.gauge(&names::EDGE_SERVER_UP).remove(gone);
    registry.gauge(&names::EDGE_SERVER_IN_FLIGHT).remove(gone);
}

/// What cannot change while the edge runs, where a revision changes it.
fn fixed_settings(now: &site::Edge, wanted: &site::Edge) -> Vec<String> {
    let mut errors = Vec::new();
    let mut check = |what: &str, same: bool| {
        if !same {
            errors.push(format!(
                "{what} cannot change while the edge runs; hint: restart it with the new file"
            ));
        }
    };
    check("the addresses that the edge listens on", now.https == wanted.https && now.http == wanted.http);
    check("the number of workers", now.workers == wanted.workers);
    errors
}
