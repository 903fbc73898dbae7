//! `bastide waf learn`: traffic in, the narrowest exclusions out, as a change of the file.

use super::edit::{self, Edit};
use super::findings::{self, Exclusion, Findings};
use super::samples::{Sample, Samples};
use super::seen::Seen;
use super::trial::{NoSite, Site};
use super::{cannot, site_file};
use crate::Outcome as Done;
use crate::args::{Global, WafLearn};
use crate::events;
use crate::target;
use crate::terminal::{Style, Terminal, escape};
use control::paths::Paths;
use role::Fault;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// So many of what is not proposed are told one by one.
const WITHHELD: usize = 10;

/// Where the traffic was read.
struct Read {
    samples: Samples,
    from: Vec<String>,
}

pub(crate) fn run(args: &WafLearn, global: &Global, terminal: &Terminal) -> Done {
    let file = site_file(args.file.as_deref(), global)?;
    let text = std::fs::read_to_string(&file)
        .map_err(|e| Fault::new(format!("cannot read `{}`: {e}", file.display())))?;
    let existing = edit::existing(&text);
    let site = match Site::read(&file, &[]) {
        Ok(site) => site,
        Err(why) => return cannot(why, terminal),
    };
    let read = read(args, &file, global)?;
    let (seen, tried) = look(&site, &read.samples.all);
    let found = findings::propose(&seen, args.all, &existing);
    let wanted: Vec<Exclusion> = found.proposals.iter().map(|p| p.exclusion.clone()).collect();
    let edit = edit::add(&text, &wanted)?;
    if let Err(why) = edit::check(&file, &edit) {
        return cannot(why, terminal);
    }
    let left = match still_refused(&file, &edit.added, &read.samples.all) {
        Ok(left) => left,
        Err(why) => return cannot(why, terminal),
    };
    let learnt = Learnt { read, tried, requests: seen.len(), found, edit, left, file };
    let write = args.apply && !learnt.edit.added.is_empty();
    if write {
        edit::write(&learnt.file, &learnt.edit)?;
    }
    match terminal.json {
        true => terminal.print_json(&learnt.json(write)),
        false => learnt.tell(write, terminal),
    }
    Ok(ExitCode::SUCCESS)
}

/// What came of it.
struct Learnt {
    read: Read,
    /// Requests that were run here.
    tried: usize,
    /// And events, together.
    requests: usize,
    found: Findings,
    edit: Edit,
    /// Requests that the file would refuse even so.
    left: Option<usize>,
    file: PathBuf,
}

fn read(args: &WafLearn, file: &Path, global: &Global) -> Result<Read, Fault> {
    let mut read = Read { samples: Samples::default(), from: Vec::new() };
    let sources: Vec<&str> = match args.from.is_empty() {
        true => vec!["events"],
        false => args.from.iter().map(String::as_str).collect(),
    };
    for source in sources {
        let log = |name: &str| -> Result<PathBuf, Fault> {
            let paths = match &global.site {
                Some(site) => Paths::of(site)?,
                None => target::find(global, Some(file))?,
            };
            Ok(match name {
                "capture" => paths.state_dir.join(site::waf::CAPTURE),
                "access-log" => events::access_log(&paths),
                _ => events::event_log(&paths),
            })
        };
        match source {
            "capture" | "access-log" | "events" => {
                let path = log(source)?;
                if !path.exists() {
                    return Err(nothing_recorded(source, &path));
                }
                read.samples.log(&path)?;
                read.from.push(path.display().to_string());
            }
            named => {
                for path in files(Path::new(named))? {
                    read.samples.read(&path)?;
                }
                read.from.push(named.to_owned());
            }
        }
    }
    Ok(read)
}

/// A file, or all files of a folder, by name.
fn files(path: &Path) -> Result<Vec<PathBuf>, Fault> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let cannot = |e: std::io::Error| Fault::new(format!("cannot read `{}`: {e}", path.display()));
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).map_err(cannot)? {
        let path = entry.map_err(cannot)?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn nothing_recorded(source: &str, path: &Path) -> Fault {
    let fault = Fault::new(format!("there is no `{}`", path.display()));
    match source {
        "capture" => fault.hint("`capture = { every = 100 }` in `[waf]` and `bastide reload` begin one; no rule refuses anything for it"),
        "access-log" => fault.hint("the site writes one while it runs, unless the file says `access_log = false`"),
        _ => fault.hint("the site writes it while it runs; `--from FILE` reads recorded traffic"),
    }
}

/// What the rules see in each, and how many were tried here.
fn look(site: &Site, samples: &[Sample]) -> (Vec<Seen>, usize) {
    let mut tried = 0;
    let look = |sample: &Sample| match sample {
        Sample::Event(seen) => seen.clone(),
        Sample::Request(request) => {
            tried += 1;
            let mut request = request.clone();
            // A log may not say for which host, or name one of long ago.
            if request.authority.is_empty() {
                request.authority = site.host().into();
                request.headers.insert(0, ("Host".into(), site.host().into()));
            }
            site.try_out(&request).seen(&request)
        }
    };
    let seen = samples.iter().map(look).collect();
    (seen, tried)
}

/// How many of the requests the file would still refuse with what was added; none
/// where there were only events, which cannot be tried again.
fn still_refused(file: &Path, added: &[Exclusion], samples: &[Sample]) -> Result<Option<usize>, NoSite> {
    if added.is_empty() || !samples.iter().any(|s| matches!(s, Sample::Request(_))) {
        return Ok(None);
    }
    let extra: Vec<waf_engine::settings::Exclusion> = added
        .iter()
        .map(|e| waf_engine::settings::Exclusion { rule: e.rule, path: e.path.clone(), arg: e.arg.clone() })
        .collect();
    let site = Site::read(file, &extra)?;
    let requests: Vec<Sample> = samples
        .iter()
        .filter_map(|s| match s {
            Sample::Request(request) => Some(Sample::Request(request.clone())),
            Sample::Event(_) => None,
        })
        .collect();
    Ok(Some(look(&site, &requests).0.iter().filter(|s| s.refused).count()))
}

impl Learnt {
    fn tell(&self, written: bool, terminal: &Terminal) {
        let found = &self.found;
        terminal.note(format!(
            "looked at {} requests of {}: the rules refuse {}",
            self.requests,
            self.read.from.join(", "),
            found.refused,
        ));
        if self.read.samples.without_body > 0 {
            terminal.note(format!(
                "note: {} of them are lines of an access log, which has no bodies and few headers (and Bastide's no query): `capture` in `[waf]` keeps whole requests",
                self.read.samples.without_body
            ));
        }
        if self.read.samples.cut > 0 {
            terminal.note(format!(
                "note: the bodies of {} were not kept whole (`capture = {{ body = … }}`, or secrets in them): the rest was not looked at",
                self.read.samples.cut
            ));
        }
        if self.read.samples.unread > 0 {
            terminal
                .note(format!("note: {} lines hold no request that is understood", self.read.samples.unread));
        }
        for one in &found.proposals {
            let clients = match one.clients {
                0 => String::new(),
                1 => ", 1 client".to_owned(),
                n => format!(", {n} clients"),
            };
            let paths = if one.paths > 1 { format!(", {} paths", one.paths) } else { String::new() };
            let requests = findings::requests(one.requests);
            terminal.line(format!(
                "{}  {requests}{clients}{paths}",
                terminal.paint(Style::Bold, one.exclusion.toml())
            ));
            terminal.line(format!("    {}", one.message));
            if one.attacks > 0 {
                let attacks = findings::requests(one.attacks);
                terminal.line(format!(
                    "    {} of attackers met it here, too",
                    terminal.paint(Style::Warn, attacks)
                ));
            }
            let id = one.id.as_ref().map_or(String::new(), |id| format!("  (event {})", escape(id)));
            terminal.line(format!("    e.g. {}{id}", terminal.paint(Style::Dim, &one.example)));
        }
        if !found.withheld.is_empty() {
            terminal.line(terminal.paint(Style::Warn, "not proposed:"));
        }
        for one in found.withheld.iter().take(WITHHELD) {
            terminal.line(format!(
                "  rule {} on {}, {}×: {}",
                one.rule,
                escape(&one.path),
                one.requests,
                escape(&one.why)
            ));
            terminal.line(format!("    e.g. {}", terminal.paint(Style::Dim, &one.example)));
        }
        if found.withheld.len() > WITHHELD {
            terminal.line(format!("  and {} more: `--json` lists them", found.withheld.len() - WITHHELD));
        }
        if !found.withheld.is_empty() {
            terminal.note(
                "note: should one of those be honest: `bastide waf allow --rule RULE --path PATH --arg ARG`",
            );
        }
        if self.edit.added.is_empty() {
            terminal.note("nothing to add to the file");
            return;
        }
        edit::print(
            &edit::diff(&self.file.display().to_string(), &self.edit.before, &self.edit.after),
            terminal,
        );
        if let Some(left) = self.left {
            terminal.note(format!(
                "with this, {left} of the {} requests tried here would be refused",
                self.tried
            ));
        }
        match written {
            true => terminal.note(format!("written; `bastide reload {}` applies it", self.file.display())),
            false => terminal.note("`--apply` writes it; look at the examples first: whoever attacks the site would like to be let through"),
        }
    }

    fn json(&self, written: bool) -> Value {
        let proposals = self.found.proposals.iter().map(|one| {
            json!({
                "exclude": one.exclusion.json(), "message": one.message, "requests": one.requests,
                "clients": one.clients, "paths": one.paths, "attacks": one.attacks, "example": one.example, "event": one.id,
            })
        });
        let withheld = self.found.withheld.iter().map(|one| {
            json!({
                "rule": one.rule, "message": one.message, "path": one.path, "requests": one.requests,
                "why": one.why, "example": one.example, "event": one.id,
            })
        });
        json!({
            "file": self.file, "from": self.read.from, "requests": self.requests, "tried": self.tried,
            "unread": self.read.samples.unread, "cut": self.read.samples.cut, "refused": self.found.refused,
            "proposals": proposals.collect::<Vec<_>>(), "not_proposed": withheld.collect::<Vec<_>>(),
            "added": self.edit.added.iter().map(Exclusion::json).collect::<Vec<_>>(),
            "diff": edit::diff(&self.file.display().to_string(), &self.edit.before, &self.edit.after),
            "still_refused": self.left, "written": written,
        })
    }
}
