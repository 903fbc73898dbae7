//! `bastide waf check`: the rules of a site's file, or rule files alone, loaded as the
//! edge would load them.

use super::cannot;
use super::explain::mode;
use super::trial;
use crate::Outcome as Done;
use crate::args::WafCheck;
use crate::show;
use crate::terminal::{FAILED, Style, Terminal, escape};
use control::inputs::{Inputs, Kind};
use role::Fault;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use waf_engine::settings::{Limits, Mode, RawBody, RuleFile, Settings};
use waf_engine::{Engine, LoadError};

/// Notes shown where `--notes` does not ask for all.
const NOTES: usize = 5;

pub(crate) fn run(args: &WafCheck, terminal: &Terminal) -> Done {
    match args.files.as_slice() {
        [file] if file.extension().is_some_and(|e| e == "toml") => of_site(file, args, terminal),
        files => of_files(files, args, terminal),
    }
}

fn of_site(file: &Path, args: &WafCheck, terminal: &Terminal) -> Done {
    let (edge, warnings) = match trial::lowered(file) {
        Ok(lowered) => lowered,
        Err(why) => return cannot(why, terminal),
    };
    let Some(waf) = edge.waf else { return Err(trial::no_waf(file)) };
    // Notes on rules come below, all or some of them.
    let warnings: Vec<_> = warnings.into_iter().filter(|w| w.severity != config::Severity::Note).collect();
    if !terminal.json {
        crate::check::print(&warnings, terminal);
    }
    let mut engines = Vec::new();
    let all = std::iter::once(waf.settings.clone()).chain(waf.routes.iter().map(|own| waf.settings_of(own)));
    for settings in all {
        match load(&settings) {
            Ok(loaded) => engines.push((settings, loaded)),
            Err(errors) => return wrong(&errors, terminal),
        }
    }
    let crs = waf.crs.as_ref();
    let routes: Vec<Value> = waf
        .routes
        .iter()
        .zip(&engines[1..])
        .map(|(own, (settings, loaded))| {
            let names: Vec<&str> = own
                .routes
                .iter()
                .filter_map(|at| edge.routes.routes.get(*at as usize))
                .map(|route| route.name.as_str())
                .collect();
            let (_, left) = loaded.engine.rules();
            json!({ "routes": names, "mode": mode(settings.mode), "tx": settings.tx, "removed": own.remove, "rules_run": left })
        })
        .collect();
    let (settings, loaded) = &engines[0];
    let mut data = about(settings, loaded);
    data["mode"] = mode(settings.mode).into();
    data["crs"] = crs.map_or(Value::Null, |crs| json!({ "version": crs.version, "folder": crs.folder }));
    data["routes"] = routes.clone().into();
    data["warnings"] = json!(warnings);
    if terminal.json {
        terminal.print_json(&data);
        return Ok(ExitCode::SUCCESS);
    }
    tell(settings, loaded, &format!(", mode {}", mode(settings.mode)), terminal);
    if let Some(crs) = crs {
        terminal.line(format!(
            "  the OWASP Core Rule Set {} of {}",
            escape(&crs.version),
            escape(&crs.folder)
        ));
    }
    if !settings.tx.is_empty() {
        let set = settings
            .tx
            .iter()
            .map(|(name, value)| format!("{name} = {value}"))
            .collect::<Vec<_>>()
            .join(", ");
        terminal.line(format!("  {}", escape(&set)));
    }
    for route in &routes {
        let names = list(&route["routes"]).join(", ");
        let set = route["tx"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|pair| format!("{} = {}", text(&pair[0]), text(&pair[1])));
        let removed =
            route["removed"].as_array().into_iter().flatten().map(|id| format!("without rule {id}"));
        let said = set.chain(removed).collect::<Vec<_>>().join(", ");
        terminal.line(format!(
            "  on {names}: {}, {} rules, {said}",
            text(&route["mode"]),
            route["rules_run"]
        ));
    }
    notes(loaded, args.notes, terminal);
    Ok(ExitCode::SUCCESS)
}

fn text(value: &Value) -> String {
    value.as_str().map(escape).unwrap_or_default()
}

fn list(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(text).collect()
}

fn of_files(paths: &[PathBuf], args: &WafCheck, terminal: &Terminal) -> Done {
    let (files, data) = read(paths)?;
    let settings = Settings {
        mode: Mode::Rules,
        files,
        data,
        tx: Vec::new(),
        exclude: Vec::new(),
        processors_by_content_type: true,
        raw_body: RawBody::default(),
        limits: Limits::default(),
    };
    let loaded = match load(&settings) {
        Ok(loaded) => loaded,
        Err(errors) => return wrong(&errors, terminal),
    };
    if terminal.json {
        terminal.print_json(&about(&settings, &loaded));
        return Ok(ExitCode::SUCCESS);
    }
    tell(&settings, &loaded, "", terminal);
    notes(&loaded, args.notes, terminal);
    Ok(ExitCode::SUCCESS)
}

/// An engine and how long it took to load.
struct Loaded {
    engine: Engine,
    took: Duration,
}

fn load(settings: &Settings) -> Result<Loaded, Vec<LoadError>> {
    let began = Instant::now();
    Engine::load(settings).map(|engine| Loaded { engine, took: began.elapsed() })
}

fn wrong(errors: &[LoadError], terminal: &Terminal) -> Done {
    if terminal.json {
        let errors: Vec<Value> = errors
            .iter()
            .map(|e| json!({ "file": e.file, "line": e.line, "what": e.what, "hint": e.hint }))
            .collect();
        terminal.print_json(&json!({ "ok": false, "errors": errors }));
    } else {
        for error in errors {
            let at =
                if error.line > 0 { format!("{}:{}", error.file, error.line) } else { error.file.clone() };
            terminal.note(format!(
                "{} {}: {}",
                terminal.paint_err(Style::Bad, "error:"),
                escape(&at),
                escape(&error.what)
            ));
            if let Some(hint) = &error.hint {
                terminal.note(format!("  hint: {}", escape(hint)));
            }
        }
        terminal.note(format!("{} errors", errors.len()));
    }
    Ok(ExitCode::from(FAILED))
}

/// How many rules each file has, in the order of the files.
fn per_file<'e>(settings: &Settings, loaded: &'e Loaded) -> Vec<(String, usize)> {
    let mut count: BTreeMap<&'e str, usize> = BTreeMap::new();
    for rule in loaded.engine.catalogue() {
        *count.entry(&rule.at.file).or_default() += 1;
    }
    let names = settings.files.iter().chain(&settings.data).map(|file| file.name.as_str());
    let counted = names.filter_map(|name| Some((name.to_owned(), count.remove(name)?)));
    counted.collect()
}

fn about(settings: &Settings, loaded: &Loaded) -> Value {
    let (rules, left) = loaded.engine.rules();
    let files = per_file(settings, loaded);
    let files: Vec<Value> =
        files.into_iter().map(|(file, rules)| json!({ "file": file, "rules": rules })).collect();
    let notes = loaded.engine.notes().iter();
    let notes: Vec<Value> =
        notes.map(|n| json!({ "file": &*n.at.file, "line": n.at.line, "note": n.text })).collect();
    json!({
        "ok": true, "rules": rules, "rules_run": left, "files": files, "notes": notes,
        "exclusions": settings.exclude.len(), "body_limit_bytes": settings.limits.request_body.0,
        "response_body_limit_bytes": settings.limits.response_body.0, "load_ms": loaded.took.as_millis() as u64,
    })
}

fn tell(settings: &Settings, loaded: &Loaded, beside: &str, terminal: &Terminal) {
    let (rules, left) = loaded.engine.rules();
    let files = per_file(settings, loaded);
    let exclusions = match settings.exclude.len() {
        0 => String::new(),
        1 => ", 1 exclusion".to_owned(),
        n => format!(", {n} exclusions"),
    };
    terminal.line(format!(
        "{} {rules} rules in {} files, {left} left to run{beside}{exclusions}, bodies up to {}, loaded in {} ms",
        terminal.paint(Style::Good, "ok"),
        files.len(),
        show::bytes(settings.limits.request_body.0 as f64),
        loaded.took.as_millis(),
    ));
    for (file, rules) in files {
        terminal.line(format!("  {rules:>4}  {}", escape(&file)));
    }
}

fn notes(loaded: &Loaded, all: bool, terminal: &Terminal) {
    let notes = loaded.engine.notes();
    let shown = if all { notes.len() } else { NOTES.min(notes.len()) };
    for note in &notes[..shown] {
        terminal.note(format!("note: {}:{}: {}", escape(&note.at.file), note.at.line, escape(&note.text)));
    }
    if shown < notes.len() {
        terminal.note(format!(
            "note: {} more things have no effect here: `--notes` lists them",
            notes.len() - shown
        ));
    }
}

/// Rule files and all that they name. A folder stands for its `*.conf`, with the Core
/// Rule Set's setup before them where it lies there or above.
fn read(paths: &[PathBuf]) -> Result<(Vec<RuleFile>, Vec<RuleFile>), Fault> {
    let mut roots = Vec::new();
    for path in paths {
        match path.is_dir() {
            true => roots.extend(folder(path)?),
            false => roots.push(path.clone()),
        }
    }
    // There is no site's file; the rule files are read as they would be for one.
    let inputs = Inputs::read(Path::new("/dev/null"))
        .map_err(|e| Fault::new(format!("cannot read `/dev/null`: {e}")))?;
    let (mut files, mut data) = (Vec::new(), Vec::new());
    let mut left = Vec::new();
    for path in &roots {
        let text = inputs
            .loose_text_of(path)
            .map_err(|why| Fault::new(format!("the rule file `{}` cannot be read: {why}", path.display())))?;
        let name = path.display().to_string();
        left.push((name.clone(), text.clone()));
        files.push(RuleFile { name, text });
    }
    let mut known: std::collections::BTreeSet<String> = files.iter().map(|f| f.name.clone()).collect();
    while let Some((from, text)) = left.pop() {
        for reference in waf_lang::referenced(&from, text.as_bytes()) {
            let wanted = Path::new(&reference.name_or_pattern);
            let rules = reference.kind == waf_lang::Kind::Rules;
            let found = match rules {
                true if inputs.kind(wanted) == Kind::Folder => inputs.below(wanted),
                true if reference.name_or_pattern.contains(['*', '?', '[']) => inputs.glob(wanted),
                _ => vec![wanted.to_owned()],
            };
            for path in found {
                let name = path.display().to_string();
                // What is missing is told by the loader, with its line.
                let Ok(text) = inputs.loose_text_of(&path) else { continue };
                if known.insert(name.clone()) {
                    data.push(RuleFile { name: name.clone(), text: text.clone() });
                    if rules {
                        left.push((name, text));
                    }
                }
            }
        }
    }
    Ok((files, data))
}

fn folder(path: &Path) -> Result<Vec<PathBuf>, Fault> {
    let cannot = |e: std::io::Error| Fault::new(format!("cannot read `{}`: {e}", path.display()));
    let mut rules = Vec::new();
    for entry in std::fs::read_dir(path).map_err(cannot)? {
        let path = entry.map_err(cannot)?.path();
        if path.extension().is_some_and(|e| e == "conf")
            && path.file_name().is_some_and(|n| n != "crs-setup.conf")
        {
            rules.push(path);
        }
    }
    rules.sort();
    if rules.is_empty() {
        return Err(Fault::new(format!("no `*.conf` is in `{}`", path.display()))
            .hint("name the folder that holds the rule files, or the files in their order"));
    }
    let above = path.parent().unwrap_or(path);
    let places = [path, above]
        .into_iter()
        .flat_map(|p| ["crs-setup.conf", "crs-setup.conf.example"].map(|n| p.join(n)));
    let mut all: Vec<PathBuf> = places.into_iter().find(|p| p.is_file()).into_iter().collect();
    all.extend(rules);
    Ok(all)
}
