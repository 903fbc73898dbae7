//! The files that `[waf]` is made of: the Core Rule Set wherever it lies, the
//! site's own rules, and whatever those name.

use super::Lowering;
use crate::inputs::{Inputs, Kind};
use config::{Code, CoreRules, FilePath, Span, Spanned};
use site::CoreRuleSet;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use waf_engine::settings::RuleFile;

/// Where Debian's `modsecurity-crs` puts the rules.
const DEBIAN_RULES: &str = "/usr/share/modsecurity-crs";

/// And, from the same root, what an administrator changes.
const DEBIAN_SETUP: &str = "etc/modsecurity/crs";

/// The Core Rule Set has about 60 files.
const MOST_FILES: usize = 4_000;

/// All of them together: the Core Rule Set has about 1.5 MB.
const MOST_BYTES: usize = 24 << 20;

/// What was read.
#[derive(Debug, Default)]
pub(super) struct WafFiles {
    /// Rule files in order.
    pub(super) files: Vec<RuleFile>,
    /// What they name.
    pub(super) data: Vec<RuleFile>,
    /// The Core Rule Set, where it is among them.
    pub(super) crs: Option<CoreRuleSet>,
    /// Where in the site's file each of them comes from.
    pub(super) spans: BTreeMap<String, Span>,
    bytes: usize,
}

/// A copy of the Core Rule Set as it was found.
struct Found {
    folder: PathBuf,
    setup: PathBuf,
    rules: Vec<PathBuf>,
    /// Debian's place for what an administrator excludes, after the rules.
    after: Option<PathBuf>,
}

impl WafFiles {
    pub(super) fn has(&self, name: &str) -> bool {
        self.spans.contains_key(name)
    }
}

impl Lowering<'_> {
    /// Everything that `[waf]` names, in the order in which it is read: the Core Rule
    /// Set's setup, its plugins' settings, `before`, the plugins' first part, the
    /// rules, the plugins' second part, `rules`. What is wrong is noted.
    pub(super) fn waf_files(&mut self, keys: &Spanned<config::Waf>) -> WafFiles {
        let mut read = WafFiles::default();
        let crs = self.core_rules(keys);
        let span = keys.crs.as_ref().map_or(keys.span, |crs| crs.span);
        let plugins = self.plugins(keys, crs.as_ref());
        let plugins_span = keys.plugins.as_ref().map_or(span, |plugins| plugins.span);
        let of = |ending: &str| -> Vec<PathBuf> {
            let fits = |path: &&PathBuf| path.to_string_lossy().ends_with(ending);
            plugins.iter().filter(fits).cloned().collect()
        };
        if let Some(found) = &crs {
            self.root(&found.setup, span, &mut read);
        }
        for path in of("-config.conf") {
            self.root(&path, plugins_span, &mut read);
        }
        self.own_rules(&keys.before, &mut read);
        for path in of("-before.conf") {
            self.root(&path, plugins_span, &mut read);
        }
        if let Some(found) = &crs {
            let first = read.spans.keys().cloned().collect::<BTreeSet<_>>();
            for path in found.rules.iter().chain(&found.after) {
                self.root(path, span, &mut read);
            }
            let mut files: BTreeSet<String> =
                read.spans.keys().filter(|name| !first.contains(*name)).cloned().collect();
            files.insert(self.rule_name(&found.setup));
            let version = version_of(&read.files);
            read.crs = Some(CoreRuleSet { folder: found.folder.display().to_string(), version, files });
        }
        for path in of("-after.conf") {
            self.root(&path, plugins_span, &mut read);
        }
        self.own_rules(&keys.rules, &mut read);
        read
    }

    /// The copy that the file asks for.
    fn core_rules(&mut self, keys: &Spanned<config::Waf>) -> Option<Found> {
        let hint = "install Debian's with `apt install modsecurity-crs`, or name the folder of a copy: `crs = \"./coreruleset-4.28.0\"`";
        let (folder, span) = match &keys.crs {
            Some(crs) => match &crs.value {
                CoreRules::Off => return None,
                CoreRules::Installed => (PathBuf::from(DEBIAN_RULES), crs.span),
                CoreRules::Folder(path) => (self.inputs.resolve(&path.0), crs.span),
            },
            None if !keys.rules.is_empty() => return None,
            None if self.inputs.kind(Path::new(DEBIAN_RULES)) != Kind::Folder => {
                let message = match keys.before.is_empty() {
                    true => {
                        "no Core Rule Set is installed and `rules` names nothing, so nothing is inspected"
                    }
                    false => "no Core Rule Set is installed: only the rules of `before` are run",
                };
                self.warning(Code::NoEffect, keys.span, message, hint);
                return None;
            }
            None => (PathBuf::from(DEBIAN_RULES), keys.span),
        };
        match find(self.inputs, &folder) {
            Ok(found) => Some(found),
            Err(why) => {
                self.error(
                    Code::File,
                    span,
                    format!("there is no Core Rule Set in `{}`: {why}", folder.display()),
                    hint,
                );
                None
            }
        }
    }

    fn plugins(&mut self, keys: &Spanned<config::Waf>, crs: Option<&Found>) -> Vec<PathBuf> {
        match (&keys.plugins, crs) {
            (Some(path), Some(_)) => match self.folder(path, "the folder of plugins") {
                Some(folder) => {
                    let found = self.inputs.glob(&folder.join("*.conf"));
                    if found.is_empty() {
                        let message = format!("no plugin is in `{}`", folder.display());
                        self.warning(
                            Code::NoEffect,
                            path.span,
                            message,
                            "plugins are files such as `NAME-before.conf`",
                        );
                    }
                    found
                }
                None => Vec::new(),
            },
            (None, Some(found)) => self.inputs.glob(&found.folder.join("plugins/*.conf")),
            (_, None) => Vec::new(),
        }
    }

    fn own_rules(&mut self, wanted: &[Spanned<FilePath>], read: &mut WafFiles) {
        for rules in wanted {
            let pattern = self.inputs.resolve(&rules.value.0);
            let is_pattern = rules.value.0.to_string_lossy().contains(['*', '?', '[']);
            let paths = if is_pattern { self.inputs.glob(&pattern) } else { vec![pattern.clone()] };
            if paths.is_empty() {
                let hint =
                    "paths are relative to the folder of this file; `*` stands for any part of a file's name";
                self.error(Code::File, rules.span, format!("no file is `{}`", pattern.display()), hint);
            }
            for path in paths {
                self.root(&path, rules.span, read);
            }
        }
    }

    /// Reads a rule file, and what it names.
    fn root(&mut self, path: &Path, span: Span, read: &mut WafFiles) {
        let name = self.rule_name(path);
        if read.files.iter().any(|file| file.name == name) {
            let message = format!("the rule file `{}` is read twice", path.display());
            self.error(Code::Duplicate, span, message, "name it once");
            return;
        }
        match self.inputs.loose_text_of(path) {
            Ok(text) => {
                if self.note_file(&name, &text, span, read) {
                    read.files.push(RuleFile { name: name.clone(), text: text.clone() });
                    self.references(&name, &text, span, read);
                }
            }
            Err(why) => {
                let message = format!("the rule file `{}` cannot be read: {why}", path.display());
                self.error(Code::File, span, message, "paths are relative to the folder of this file");
            }
        }
    }

    /// Reads what a rule file names, and what that names.
    fn references(&mut self, name: &str, text: &str, span: Span, read: &mut WafFiles) {
        let mut left = vec![(name.to_owned(), text.to_owned())];
        while let Some((from, text)) = left.pop() {
            for reference in waf_lang::referenced(&from, text.as_bytes()) {
                let wanted = &reference.name_or_pattern;
                let path = self.inputs.resolve(Path::new(wanted));
                let rules = reference.kind == waf_lang::Kind::Rules;
                let paths = match rules {
                    true if self.inputs.kind(&path) == Kind::Folder => self.inputs.below(&path),
                    true if wanted.contains(['*', '?', '[']) => self.inputs.glob(&path),
                    _ => vec![path.clone()],
                };
                if paths.is_empty() && !reference.optional {
                    let message = format!("{from}:{}: `{wanted}` matches no file", reference.line);
                    let hint = "correct it, or write `IncludeOptional` where it may be missing";
                    self.error(Code::File, span, message, hint);
                }
                for path in paths {
                    let absolute = Path::new(wanted).is_absolute();
                    let name = if absolute { path.display().to_string() } else { self.rule_name(&path) };
                    if read.has(&name) {
                        continue;
                    }
                    match self.inputs.loose_text_of(&path) {
                        Ok(text) => {
                            if !self.note_file(&name, &text, span, read) {
                                return;
                            }
                            read.data.push(RuleFile { name: name.clone(), text: text.clone() });
                            if rules {
                                left.push((name, text));
                            }
                        }
                        Err(_) if reference.optional => {}
                        Err(why) => {
                            let line = reference.line;
                            let message =
                                format!("{from}:{line}: `{}` cannot be read: {why}", path.display());
                            let hint = "names in a rule file are relative to that file's folder";
                            self.error(Code::File, span, message, hint);
                        }
                    }
                }
            }
        }
    }

    /// Counts a file; false where it is one too many.
    fn note_file(&mut self, name: &str, text: &str, span: Span, read: &mut WafFiles) -> bool {
        read.bytes += text.len();
        read.spans.insert(name.to_owned(), span);
        if read.spans.len() <= MOST_FILES && read.bytes <= MOST_BYTES {
            return true;
        }
        let most = MOST_BYTES >> 20;
        let message =
            format!("the WAF's rules are more than {MOST_FILES} files or {most} MiB, with `{name}`");
        self.error(
            Code::File,
            span,
            message,
            "an `Include` names more than was meant, or a list belongs elsewhere",
        );
        false
    }

    /// As messages and events call a file: relative to the site's file where it lies there.
    fn rule_name(&self, path: &Path) -> String {
        path.strip_prefix(self.inputs.folder()).unwrap_or(path).display().to_string()
    }
}

/// Looks for the Core Rule Set in a folder: a release (`crs-setup.conf`, `rules/`), all
/// in one folder, the folder of the rules alone, or Debian's, whose setup lies elsewhere.
fn find(inputs: &Inputs, folder: &Path) -> Result<Found, String> {
    if inputs.kind(folder) != Kind::Folder {
        return Err("it is not a folder".to_owned());
    }
    let inner = folder.join("rules");
    let place = if inputs.kind(&inner) == Kind::Folder { inner } else { folder.to_owned() };
    let is_file = |path: &Path| matches!(inputs.kind(path), Kind::File { .. });
    // Wherever the package was unpacked: the part of the path before its own.
    let debian = [folder, folder.parent().unwrap_or(folder)]
        .into_iter()
        .find(|path| path.ends_with(DEBIAN_RULES.trim_start_matches('/')))
        .and_then(|path| path.ancestors().nth(3))
        .map(|root| root.join(DEBIAN_SETUP));
    let mut places = vec![folder.to_owned(), place.clone()];
    places.extend(debian.clone());
    if place == folder {
        places.extend(folder.parent().map(Path::to_owned));
    }
    let setups =
        places.iter().flat_map(|place| ["crs-setup.conf", "crs-setup.conf.example"].map(|n| place.join(n)));
    let setup = setups.into_iter().find(|path| is_file(path));
    let rules: Vec<PathBuf> =
        inputs.glob(&place.join("*.conf")).into_iter().filter(|path| Some(path) != setup.as_ref()).collect();
    if !rules.iter().any(|path| name_of(path).starts_with("REQUEST-9")) {
        return Err(format!("`{}` has no `REQUEST-9….conf`", place.display()));
    }
    let setup = setup
        .ok_or("neither `crs-setup.conf` nor `crs-setup.conf.example` is in it or beside its `rules`")?;
    // What Debian's administrators exclude, before and after.
    let mut all = rules;
    let mut after = None;
    if let Some(folder) = debian {
        let before = folder.join("REQUEST-900-EXCLUSION-RULES-BEFORE-CRS.conf");
        if is_file(&before) {
            all.insert(0, before);
        }
        after = Some(folder.join("RESPONSE-999-EXCLUSION-RULES-AFTER-CRS.conf")).filter(|path| is_file(path));
    }
    Ok(Found { folder: folder.to_owned(), setup, rules: all, after })
}

fn name_of(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// `4.28.0` of `# OWASP CRS ver.4.28.0`, which each of its files begins with.
fn version_of(files: &[RuleFile]) -> String {
    let version = |file: &RuleFile| {
        let (_, rest) = file.text.lines().take(5).find_map(|line| line.split_once(" ver."))?;
        rest.split_whitespace().next().map(str::to_owned)
    };
    files.iter().find_map(version).unwrap_or_else(|| "unknown".to_owned())
}
