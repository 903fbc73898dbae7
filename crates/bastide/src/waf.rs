//! `bastide waf`: what the rules match and why, what honest traffic needs, and whether
//! they do what their own tests say.

mod allow;
mod check;
mod edit;
mod events;
mod explain;
mod findings;
mod learn;
mod request;
mod samples;
mod seen;
mod send;
mod show;
mod test;
mod trial;

pub(crate) use explain::print;

use crate::Outcome;
use crate::args::{Global, Waf};
use crate::events::{event_log, newest};
use crate::target;
use crate::terminal::{FAILED, Terminal};
use base::EventId;
use control::paths::Paths;
use role::Fault;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use trial::NoSite;

pub(crate) fn run(command: &Waf, global: &Global, terminal: &Terminal) -> Outcome {
    match command {
        Waf::Explain(args) => explain::run(args, global, terminal),
        Waf::Events(args) => events::run(args, global, terminal),
        Waf::Learn(args) => learn::run(args, global, terminal),
        Waf::Allow(args) => allow::run(args, global, terminal),
        Waf::Test(args) => test::run(args, global, terminal),
        Waf::Check(args) => check::run(args, terminal),
    }
}

/// The WAF's event of this id.
pub(crate) fn find(paths: &Paths, id: EventId) -> Result<Option<Value>, Fault> {
    let id = id.to_string();
    let wanted = |event: &Value| event["event"] == "waf_match" && event["id"] == id.as_str();
    Ok(newest(&event_log(paths), &id, 1, wanted)?.pop())
}

/// The site's file: the one named, this folder's, or that of the running site.
fn site_file(named: Option<&Path>, global: &Global) -> Result<PathBuf, Fault> {
    if let Some(file) = named {
        return Ok(file.to_owned());
    }
    let here = Path::new("bastide.toml");
    if global.site.is_none() && here.is_file() {
        return Ok(here.to_owned());
    }
    let paths = target::find(global, None)?;
    let asked =
        crate::runtime()?.block_on(target::control(&paths).timeout(Duration::from_secs(5)).get("/site"));
    let status: Value = asked.map_err(|error| target::explain(&paths, error))?;
    status["file"].as_str().map(PathBuf::from).ok_or_else(|| {
        Fault::new(format!("site `{}` does not say which file it runs", paths.site))
            .hint("name it: `--file FILE`")
    })
}

/// A file that does not check: all that is wrong with it.
fn cannot(why: NoSite, terminal: &Terminal) -> Outcome {
    let refusal = match why {
        NoSite::Fault(fault) => return Err(fault),
        NoSite::Wrong(refusal) => refusal,
    };
    if let Some(fault) = refusal.fault {
        return Err(fault);
    }
    if terminal.json {
        terminal.print_json(&json!({ "ok": false, "diagnostics": refusal.diagnostics }));
    } else {
        crate::check::print(&refusal.diagnostics, terminal);
        terminal.note(crate::check::count(&refusal.diagnostics));
    }
    Ok(ExitCode::from(FAILED))
}
