//! Two parts that would listen at the same place.

use crate::diagnostic::Code;
use crate::keys::site::ListenAddress;
use crate::read::Context;
use crate::sections::Sections;
use crate::span::Span;
use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

struct Listener {
    what: String,
    at: Vec<SocketAddr>,
    span: Span,
}

pub(super) fn check(file: &Sections, cx: &mut Context) {
    let listeners = listeners(file);
    let mut by_port: HashMap<u16, Vec<&Listener>> = HashMap::new();
    for later in &listeners {
        let port = later.at.first().map_or(0, SocketAddr::port);
        let others = by_port.entry(port).or_default();
        if let Some(first) = others.iter().find(|first| overlap(first, later)) {
            let message = format!("{} and {} both listen on port {port}", first.what, later.what);
            let problem = cx.error(Code::Conflict, later.span, message).hint("give one another port");
            if first.span != Span::default() {
                problem.related(first.span, format!("{} is here", first.what));
            }
        } else {
            others.push(later);
        }
    }
}

fn listeners(file: &Sections) -> Vec<Listener> {
    let mut all = Vec::new();
    if let Some(site) = &file.site {
        for (what, addresses) in [("HTTPS", &site.listen.https), ("plain HTTP", &site.listen.http)] {
            for address in addresses.iter().flat_map(|addresses| addresses.iter()) {
                all.push(Listener { what: what.to_owned(), at: places(address.value), span: address.span });
            }
        }
    }
    for database in &file.databases {
        let what = format!("the database `{}`", database.name.as_str());
        let span = if database.listen.given { database.listen.span } else { database.name.span };
        all.push(Listener { what, at: vec![database.listen.value], span });
    }
    if let Some(monitor) = &file.monitor {
        let what = if monitor.listen.given { "the monitor" } else { "the monitor (by default)" };
        all.push(Listener {
            what: what.to_owned(),
            at: vec![monitor.listen.value],
            span: monitor.listen.span,
        });
    }
    // Said of what is written, not of a default.
    all.sort_by_key(|listener| listener.span.start);
    all
}

fn places(address: ListenAddress) -> Vec<SocketAddr> {
    match address {
        ListenAddress::At(address) => vec![address],
        ListenAddress::Port(port) => {
            vec![
                SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
                SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)),
            ]
        }
    }
}

fn overlap(first: &Listener, later: &Listener) -> bool {
    let same = |a: &SocketAddr, b: &SocketAddr| {
        a.port() != 0
            && a.port() == b.port()
            && a.is_ipv4() == b.is_ipv4()
            && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
    };
    first.at.iter().any(|a| later.at.iter().any(|b| same(a, b)))
}
