//! The WAF: what has no effect, and what contradicts itself.

use crate::diagnostic::Code;
use crate::keys::waf::{CoreRules, Mode, RouteWaf, RouteWafKeys, Waf};
use crate::read::Context;
use crate::sections::Sections;
use crate::span::Spanned;

pub(super) fn check(file: &Sections, cx: &mut Context) {
    let waf = match &file.waf {
        Some(Some(waf)) => Some(waf),
        // One with mistakes: whatever routes say may have an effect.
        Some(None) => return,
        None => None,
    };
    for route in &file.routes {
        let RouteWaf::Own(own) = &route.waf.value else { continue };
        match waf {
            Some(waf) => of_route(own, waf, cx),
            None => {
                cx.warning(Code::NoEffect, route.waf.span, "there is no `[waf]`, so this has no effect")
                    .hint("add a table `[waf]`; `bastide explain waf` says what it takes");
            }
        }
    }
    let Some(waf) = waf else { return };
    let none = waf.crs.as_ref().is_some_and(|crs| crs.value == CoreRules::Off);
    if none && waf.rules.is_empty() && waf.before.is_empty() {
        cx.warning(Code::NoEffect, waf.span, "the WAF has no rules, so nothing is inspected").hint(
            "leave `crs` out to use the Core Rule Set that is installed, or name rule files: `rules = [\"./waf/*.conf\"]`",
        );
    }
    if none && let Some(plugins) = &waf.plugins {
        cx.warning(Code::NoEffect, plugins.span, "plugins have no effect without the Core Rule Set")
            .hint("remove `crs = false`, or `plugins`");
    }
    levels(waf.paranoia.as_ref(), waf.detection_paranoia.as_ref(), cx);
    if let Some(ban) = &waf.ban {
        let blocks = |own: &RouteWaf| match own {
            RouteWaf::Off => false,
            RouteWaf::On => waf.mode.value == Mode::Block,
            RouteWaf::Own(own) => own.mode.as_ref().map_or(waf.mode.value, |mode| mode.value) == Mode::Block,
        };
        if waf.mode.value != Mode::Block && !file.routes.iter().any(|route| blocks(&route.waf.value)) {
            cx.warning(Code::NoEffect, ban.span, "nothing is blocked, so nobody is banned")
                .hint("events ban clients in mode `\"block\"` alone");
        }
    }
    if let Some(capture) = &waf.capture
        && capture.every.value == 0
        && !capture.events.value
    {
        cx.warning(Code::NoEffect, capture.span, "no request is captured")
            .hint("write `every = 100` for one in a hundred, or leave `events` out");
    }
}

fn of_route(own: &RouteWafKeys, waf: &Waf, cx: &mut Context) {
    let paranoia = own.paranoia.as_ref().or(waf.paranoia.as_ref());
    levels(paranoia, own.detection_paranoia.as_ref(), cx);
}

/// The Core Rule Set refuses every request where less is run than decides.
fn levels(decides: Option<&Spanned<u32>>, runs: Option<&Spanned<u32>>, cx: &mut Context) {
    if let (Some(decides), Some(runs)) = (decides, runs)
        && runs.value < decides.value
    {
        let message =
            format!("`detection_paranoia` is {}, below `paranoia`, which is {}", runs.value, decides.value);
        cx.error(Code::Conflict, runs.span, message).hint(
            "rules that are not run cannot decide: give it the same level or a higher one, or leave it out",
        );
    }
}
