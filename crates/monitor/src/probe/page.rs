//! The status page: `/status`, and the same as JSON at `/status.json`.
//!
//! For visitors: it says which services are well, how they were on each of the last
//! ninety days, and what lasts. It holds names, counts and times, nothing of how the
//! site is built; probes that are not public are not on it. It needs no script; all
//! text is escaped; colours never tell anything alone.

use super::uptime::{DAY_MS, DAYS, Incident, Service, Uptime};
use crate::server::Reply;
use crate::state::{State, lock};
use bytes::Bytes;
use hyper::StatusCode;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Past incidents that are shown, of all services together.
const SHOWN: usize = 20;

/// Answers `/status`, `/status.json` and `/status.css`.
pub(crate) fn answer(state: &State, path: &str) -> Option<Reply> {
    let (content_type, body) = match path {
        "/status" | "/status/" => ("text/html; charset=utf-8", html(&Shown::of(state))),
        "/status.json" => ("application/json", as_json(&Shown::of(state)).to_string()),
        "/status.css" => ("text/css; charset=utf-8", STYLE.to_owned()),
        _ => return None,
    };
    Some(Reply::of(StatusCode::OK, content_type, Bytes::from(body)))
}

/// What is shown.
struct Shown {
    site: String,
    now_ms: u64,
    services: Vec<(String, Service)>,
}

impl Shown {
    fn of(state: &State) -> Self {
        let plan = state.plan();
        // What was public once and is not any more is not shown.
        let public: BTreeSet<&str> =
            plan.site.probes.iter().filter(|p| p.public).map(|p| p.name.as_str()).collect();
        let has_edge = plan.site.targets.iter().any(|target| target.job == "edge");
        let book: Uptime = lock(&state.uptime).clone();
        let mut services: Vec<(String, Service)> = book
            .services
            .into_iter()
            .filter(|(name, _)| public.contains(name.as_str()) || (has_edge && name == super::uptime::SITE))
            .collect();
        // The whole first.
        services.sort_by_key(|(name, _)| name != super::uptime::SITE);
        Self { site: plan.site.line.site.clone(), now_ms: sys::clock::now_ms(), services }
    }

    fn open(&self) -> impl Iterator<Item = (&str, Incident)> {
        self.services.iter().filter_map(|(name, service)| {
            let last = service.incidents.last().filter(|incident| incident.ended_ms.is_none())?;
            Some((name.as_str(), *last))
        })
    }

    /// The newest first.
    fn past(&self) -> Vec<(&str, Incident, u64)> {
        let mut all: Vec<(&str, Incident, u64)> = self
            .services
            .iter()
            .flat_map(|(name, s)| s.incidents.iter().map(move |i| (name.as_str(), *i)))
            .filter_map(|(name, incident)| Some((name, incident, incident.ended_ms?)))
            .collect();
        all.sort_by_key(|(_, _, ended)| std::cmp::Reverse(*ended));
        all.truncate(SHOWN);
        all
    }
}

fn as_json(shown: &Shown) -> Value {
    let today = shown.now_ms as i64 / DAY_MS;
    let services: Vec<Value> = shown
        .services
        .iter()
        .map(|(name, service)| {
            let days: Vec<Value> = (today - DAYS + 1..=today)
                .map(|day| {
                    let found = service.days.get(&day);
                    json!({ "date": date(day), "uptime": found.map(|d| f64::from(d.well) / f64::from(d.tried.max(1))) })
                })
                .collect();
            json!({
                "name": name,
                "well": service.is_well(),
                "uptime": service.uptime(),
                "checked_ms": service.at_ms,
                "days": days,
                "incidents": service.incidents,
            })
        })
        .collect();
    json!({
        "site": shown.site,
        "well": shown.open().next().is_none(),
        "at_ms": shown.now_ms,
        "services": services,
    })
}

fn html(shown: &Shown) -> String {
    let mut out = String::with_capacity(16 << 10);
    let title =
        if shown.site.is_empty() { "Status".to_owned() } else { format!("{} – status", shown.site) };
    let _ = writeln!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{0}</title>\n\
         <link rel=\"stylesheet\" href=\"/status.css\">\n</head>\n<body>\n<main>\n<h1>{0}</h1>",
        escape(&title)
    );
    let open: Vec<(&str, Incident)> = shown.open().collect();
    let (class, said) = match (open.len(), shown.services.len()) {
        (_, 0) => ("unknown", "Nothing is watched yet.".to_owned()),
        (0, _) => ("good", "All services are well.".to_owned()),
        (1, _) => ("bad", "One service is not well.".to_owned()),
        (n, _) => ("bad", format!("{n} services are not well.")),
    };
    let _ = writeln!(out, "<p class=\"whole {class}\" role=\"status\">{said}</p>");
    if !open.is_empty() {
        out.push_str("<section aria-labelledby=\"open\">\n<h2 id=\"open\">Open incidents</h2>\n<ul>\n");
        for (name, incident) in &open {
            let _ = writeln!(
                out,
                "<li><strong>{}</strong> is not well since {} ({}).</li>",
                escape(name),
                time(incident.began_ms),
                span(shown.now_ms.saturating_sub(incident.began_ms))
            );
        }
        out.push_str("</ul>\n</section>\n");
    }
    for (at, (name, service)) in shown.services.iter().enumerate() {
        one(&mut out, at, name, service, shown.now_ms);
    }
    let past = shown.past();
    if !past.is_empty() {
        out.push_str("<section aria-labelledby=\"past\">\n<h2 id=\"past\">Past incidents</h2>\n<ul>\n");
        for (name, incident, ended_ms) in past {
            let _ = writeln!(
                out,
                "<li><strong>{}</strong>: {} to {} ({}).</li>",
                escape(name),
                time(incident.began_ms),
                time(ended_ms),
                span(ended_ms.saturating_sub(incident.began_ms))
            );
        }
        out.push_str("</ul>\n</section>\n");
    }
    let _ = writeln!(
        out,
        "</main>\n<footer><p>Times are UTC. Made at {}. <a href=\"/status.json\">As JSON</a></p></footer>\n</body>\n</html>",
        time(shown.now_ms)
    );
    out
}

fn one(out: &mut String, at: usize, name: &str, service: &Service, now_ms: u64) {
    let today = now_ms as i64 / DAY_MS;
    let (class, word) = if service.is_well() { ("good", "well") } else { ("bad", "not well") };
    let _ = writeln!(
        out,
        "<section class=\"service\" aria-labelledby=\"s{at}\">\n<h2 id=\"s{at}\">{}</h2>\n\
         <p class=\"now {class}\">{word}</p>",
        escape(name)
    );
    let known = service.days.range(today - DAYS + 1..=today);
    let worst: Vec<String> = known
        .filter(|(_, day)| day.well < day.tried)
        .map(|(day, found)| {
            format!("{}: {}", date(*day), percent(f64::from(found.well) / f64::from(found.tried.max(1))))
        })
        .collect();
    let uptime = service.uptime().map_or("not known".to_owned(), percent);
    let label = format!(
        "The last {DAYS} days: well {uptime} of the time, {} with failures",
        match worst.len() {
            1 => "1 day".to_owned(),
            n => format!("{n} days"),
        }
    );
    let _ = write!(out, "<div class=\"days\" role=\"img\" aria-label=\"{}\">", escape(&label));
    for day in today - DAYS + 1..=today {
        let (class, said) = match service.days.get(&day) {
            None => ("none", "not known".to_owned()),
            Some(found) => {
                let part = f64::from(found.well) / f64::from(found.tried.max(1));
                let class = match part {
                    1.0.. => "good",
                    0.99.. => "fair",
                    _ => "bad",
                };
                (class, percent(part))
            }
        };
        let _ = write!(out, "<span class=\"{class}\" title=\"{}: {said}\"></span>", date(day));
    }
    let _ = writeln!(out, "</div>\n<p class=\"uptime\">{uptime} in {DAYS} days</p>");
    if !worst.is_empty() {
        out.push_str("<details><summary>Days with failures</summary><ul>");
        for day in worst.iter().rev() {
            let _ = write!(out, "<li>{day}</li>");
        }
        out.push_str("</ul></details>\n");
    }
    out.push_str("</section>\n");
}

/// Rounded down, so that 100 % is said only of that.
fn percent(part: f64) -> String {
    match part {
        1.0.. => "100 %".to_owned(),
        _ => format!("{:.2} %", (part * 10_000.0).floor() / 100.0),
    }
}

fn date(day: i64) -> String {
    jiff::Timestamp::from_millisecond(day.saturating_mul(DAY_MS))
        .map_or_else(|_| "?".to_owned(), |at| at.strftime("%Y-%m-%d").to_string())
}

fn time(at_ms: u64) -> String {
    jiff::Timestamp::from_millisecond(at_ms as i64)
        .map_or_else(|_| "?".to_owned(), |at| at.strftime("%Y-%m-%d %H:%M").to_string())
}

fn span(ms: u64) -> String {
    let minutes = ms / 60_000;
    match minutes {
        0 => "less than a minute".to_owned(),
        1..=119 => format!("{minutes} min"),
        120..=2_879 => format!("{} h", minutes / 60),
        _ => format!("{} days", minutes / 1_440),
    }
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() => out.push(char::REPLACEMENT_CHARACTER),
            c => out.push(c),
        }
    }
    out
}

/// Text has a contrast of 7:1 on its ground, bars one of 3:1 (WCAG 2.2, 1.4.6 and 1.4.11).
const STYLE: &str = "\
:root { color-scheme: light dark; --ground: #ffffff; --text: #1c1f23; --dim: #4a5057; --line: #c9ced4;
  --good: #11653b; --fair: #8a5a00; --bad: #a31220; --none: #868e96; }
@media (prefers-color-scheme: dark) { :root { --ground: #14171a; --text: #e8eaed; --dim: #b4bac1; --line: #3b4148;
  --good: #4cc38a; --fair: #e2b340; --bad: #ff9592; --none: #7b848e; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--text); font: 1rem/1.5 system-ui, sans-serif; }
main, footer { max-width: 46rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.5rem; margin: 1rem 0; }
h2 { font-size: 1.1rem; margin: 0; }
a { color: inherit; }
.whole { border: 1px solid var(--line); border-left: .5rem solid var(--none); padding: .75rem 1rem; font-weight: 600; }
.whole.good { border-left-color: var(--good); }
.whole.bad { border-left-color: var(--bad); }
section { margin: 1.5rem 0; }
.service { border: 1px solid var(--line); border-radius: .4rem; padding: 1rem; display: grid; grid-template-columns: 1fr auto; gap: .5rem; }
.now { margin: 0; font-weight: 600; }
.now.good { color: var(--good); }
.now.bad { color: var(--bad); }
.days { grid-column: 1 / -1; display: flex; gap: 1px; height: 2rem; }
.days span { flex: 1 1 0; min-width: 1px; background: var(--none); align-self: flex-end; height: 30%; }
.days .good { background: var(--good); height: 100%; }
.days .fair { background: var(--fair); height: 80%; }
.days .bad { background: var(--bad); height: 60%; }
.uptime, details { grid-column: 1 / -1; margin: 0; color: var(--dim); }
footer { color: var(--dim); border-top: 1px solid var(--line); }
";

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = DAY_MS as u64;

    fn shown(now_ms: u64) -> Shown {
        let mut book = Uptime::default();
        for minute in 0..1_440 * 3 {
            let at_ms = now_ms - 3 * DAY + minute * 60_000;
            book.note("<b>shop</b> & \"co\"", at_ms, !(100..160).contains(&minute));
            book.note("api", at_ms, minute < 4_300);
        }
        Shown { site: "shop".into(), now_ms, services: book.services.into_iter().collect() }
    }

    #[test]
    fn the_page_says_what_is_and_was() {
        let html = html(&shown(20_000 * DAY + 3_600_000));
        for part in [
            "<p class=\"whole bad\" role=\"status\">One service is not well.</p>",
            "<strong>api</strong> is not well since",
            "&lt;b&gt;shop&lt;/b&gt; &amp; &quot;co&quot;</h2>",
            "(60 min).</li>",
            "98.61 % in 90 days",
            "<li>2024-10-01: 95.",
            "Days with failures",
        ] {
            assert!(html.contains(part), "{part} not in {html}");
        }
        assert!(
            !html.contains("<b>")
                && !html.contains("<script")
                && !html.contains("style=")
                && !html.contains("http")
        );
        // Every tag that is opened is closed, in order.
        let mut open: Vec<&str> = Vec::new();
        for tag in html.split('<').skip(1).filter(|tag| !tag.starts_with('!')) {
            let name = tag.split(['>', ' ']).next().unwrap();
            match name.strip_prefix('/') {
                Some(name) => assert_eq!(open.pop(), Some(name)),
                None if matches!(name, "meta" | "link") => {}
                None => open.push(name),
            }
        }
        assert!(open.is_empty());
        assert_eq!(html.matches("<h1>").count(), 1);
        assert_eq!(html.matches("<span class=").count(), 180);
    }

    #[test]
    fn the_same_is_there_as_json() {
        let json = as_json(&shown(20_000 * DAY + 3_600_000));
        assert_eq!(json["well"], false);
        assert_eq!(json["services"][1]["name"], "api");
        assert_eq!(json["services"][0]["days"].as_array().unwrap().len(), 90);
        assert_eq!(json["services"][0]["incidents"].as_array().unwrap().len(), 1);
        let none = Shown { site: String::new(), now_ms: 0, services: Vec::new() };
        assert_eq!(as_json(&none)["well"], true);
        assert!(html(&none).contains("Nothing is watched yet."));
    }

    /// WCAG 2.2, "relative luminance" and "contrast ratio".
    #[test]
    fn colours_have_their_contrast() {
        let luminance = |hex: &str| {
            let channel = |at: usize| {
                let value = f64::from(u8::from_str_radix(&hex[at..at + 2], 16).unwrap()) / 255.0;
                if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
            };
            0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
        };
        let (light, dark) = STYLE.split_once("@media").unwrap();
        for (scheme, text) in [("light", light), ("dark", dark)] {
            let colour = |name: &str| text.split(&format!("--{name}: ")).nth(1).unwrap().get(..7).unwrap();
            let ground = luminance(colour("ground"));
            for (name, least) in
                [("text", 7.0), ("dim", 7.0), ("good", 7.0), ("bad", 7.0), ("fair", 3.0), ("none", 3.0)]
            {
                let other = luminance(colour(name));
                let ratio = (ground.max(other) + 0.05) / (ground.min(other) + 0.05);
                assert!(ratio >= least, "{scheme} {name}: {ratio:.2}");
            }
        }
    }
}
