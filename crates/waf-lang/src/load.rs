//! Files, line by line, into rules.

use std::sync::Arc;

use crate::action::{self, Action};
use crate::control::ids;
use crate::data::{self, Read};
use crate::directive::{self, Directive, count};
use crate::error::{LoadError, Wrong, shown};
use crate::files::{Files, join, matching, unicode_map_name};
use crate::lines::{Arg, Line, lines};
use crate::model::{Directives, Note, Place, RuleSet, Test};
use crate::operator;
use crate::rules::{Change, Draft, Drafts, Which};
use crate::target::{targets, utf8};

/// After so many errors the rest is not looked at.
pub const MAX_ERRORS: usize = 50;
/// How deep files may include one another.
const MAX_DEPTH: usize = 64;
/// How many files may be read, a file as often as it is included.
const MAX_FILES: usize = 10_000;

/// Reads rules out of files. All that is wrong is answered, up to [`MAX_ERRORS`];
/// with one error there are no rules.
///
/// # Errors
///
/// Whatever does not parse, is not known, or is not supported.
pub fn parse(files: &Files) -> Result<RuleSet, Vec<LoadError>> {
    let mut loader = Loader {
        files,
        drafts: Drafts::default(),
        directives: Directives::default(),
        notes: Vec::new(),
        errors: Vec::new(),
        including: Vec::new(),
        read: 0,
    };
    for root in &files.roots {
        if !files.all.contains_key(root) {
            loader.error(&Place { file: root.as_str().into(), line: 0 }, data::no_file(root));
            continue;
        }
        loader.file(root, &Place { file: root.as_str().into(), line: 0 });
    }
    loader.drafts.end(&mut loader.notes);
    if !loader.errors.is_empty() {
        return Err(loader.errors);
    }
    let Loader { drafts, directives, mut notes, .. } = loader;
    match drafts.finish(&mut notes) {
        Ok(items) => Ok(RuleSet { items, directives, notes }),
        Err(wrongs) => {
            Err(wrongs.into_iter().take(MAX_ERRORS).map(|(at, wrong)| load_error(&at, wrong)).collect())
        }
    }
}

fn load_error(at: &Place, wrong: Wrong) -> LoadError {
    LoadError { file: at.file.to_string(), line: at.line, what: wrong.what, hint: wrong.hint }
}

struct Loader<'a> {
    files: &'a Files,
    drafts: Drafts,
    directives: Directives,
    notes: Vec<Note>,
    errors: Vec<LoadError>,
    /// The files that are being read, each included by the one before.
    including: Vec<String>,
    read: usize,
}

/// The files as an operator of one of them names them.
struct From<'a> {
    files: &'a Files,
    name: &'a str,
}

impl Read for From<'_> {
    fn read(&self, name: &str) -> Option<&[u8]> {
        self.files.all.get(&join(self.name, name)).map(Vec::as_slice)
    }
}

impl<'a> Loader<'a> {
    fn error(&mut self, at: &Place, wrong: Wrong) {
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(load_error(at, wrong));
        }
    }

    /// Reads a file that is there; `at` is where it is named.
    fn file(&mut self, name: &'a str, at: &Place) {
        if self.including.iter().any(|outer| outer == name) {
            let wrong = Wrong::new(
                format!("`{name}` includes itself: {}", self.including.join(" includes ")),
                "take one of the `Include` lines out",
            );
            return self.error(at, wrong);
        }
        self.read += 1;
        if self.including.len() >= MAX_DEPTH || self.read > MAX_FILES {
            let wrong = Wrong::new(
                format!(
                    "too many files: {MAX_DEPTH} may include one another, and {MAX_FILES} may be read in all"
                ),
                "include each file once, from one file",
            );
            return self.error(at, wrong);
        }
        self.including.push(name.to_owned());
        let file: Arc<str> = name.into();
        let files = self.files;
        for line in lines(&files.all[name]) {
            if self.errors.len() >= MAX_ERRORS {
                break;
            }
            let at = Place { file: file.clone(), line: line.number };
            if let Some(number) = line.blanks_after_backslash {
                let wrong = Wrong::new(
                    "blanks follow the backslash that ends the line",
                    "take them out, so that the backslash continues the line",
                );
                self.error(&Place { line: number, ..at.clone() }, wrong);
                self.drafts.unreadable(line.names_rule());
                continue;
            }
            if let Some(number) = line.comment {
                let text = "a comment inside a continued line is left out, with all that stands on its line"
                    .to_owned();
                self.notes.push(Note { at: Place { line: number, ..at.clone() }, text });
            }
            if let Err(wrong) = self.line(name, &at, &line) {
                self.error(&at, wrong);
            }
        }
        self.including.pop();
    }

    fn line(&mut self, file: &'a str, at: &Place, line: &Line<'_>) -> Result<(), Wrong> {
        let args = match line.args() {
            Ok((args, unclosed)) => {
                if unclosed {
                    let text =
                        "the quote around the actions is never closed: they end with the line".to_owned();
                    self.notes.push(Note { at: at.clone(), text });
                }
                args
            }
            Err(wrong) => {
                // The chain goes on as if the rule had been read.
                self.drafts.unreadable(line.names_rule());
                return Err(wrong);
            }
        };
        let Some((name, args)) = args.split_first() else { return Ok(()) };
        let (name, directive) = directive::find(&name.text)?;
        if !matches!(directive, Directive::Loader) {
            if let Some(text) = directive.apply(name, args, &mut self.directives)? {
                self.notes.push(Note { at: at.clone(), text });
            }
            return Ok(());
        }
        match name {
            "SecRule" => self.rule(file, at, line, args),
            "SecAction" => self.action(at, line, args),
            "SecMarker" => {
                let [marker] = args else { return Err(count(name, args.len(), "one argument")) };
                self.drafts.marker(action::shared(&marker.text)?)
            }
            "SecDefaultAction" => {
                let [actions] = args else { return Err(count(name, args.len(), "one argument")) };
                match self.actions(at, line, actions) {
                    Some(actions) => self.drafts.default_action(at.clone(), actions, &mut self.notes),
                    None => Ok(()),
                }
            }
            "Include" | "IncludeOptional" => self.include(file, at, args, name == "IncludeOptional"),
            "SecUnicodeMapFile" => self.unicode_map(file, args),
            _ => self.change(at, line, name, args),
        }
    }

    /// Parses actions and reports what is wrong, each at its own line.
    fn actions(&mut self, at: &Place, line: &Line<'_>, arg: &Arg<'_>) -> Option<Vec<Action>> {
        let (actions, wrongs) = action::parse(&arg.text);
        let fine = wrongs.is_empty();
        for (offset, wrong) in wrongs {
            self.error(&Place { line: line.number_at(arg, offset), ..at.clone() }, wrong);
        }
        fine.then_some(actions)
    }

    fn rule(&mut self, file: &str, at: &Place, line: &Line<'_>, args: &[Arg<'_>]) -> Result<(), Wrong> {
        let (variables, condition, own) = match args {
            [variables, condition] => (variables, condition, None),
            [variables, condition, actions] => (variables, condition, Some(actions)),
            _ => {
                self.drafts.unreadable(true);
                return Err(count("SecRule", args.len(), "variables, an operator and actions"));
            }
        };
        let targets = match targets(&variables.text) {
            Ok(targets) => Some(targets),
            Err(wrong) => {
                self.error(&Place { line: line.number_at(variables, 0), ..at.clone() }, wrong);
                None
            }
        };
        let files = From { files: self.files, name: file };
        let parsed = match operator::parse(&condition.text, &files) {
            Ok(parsed) => Some(parsed),
            Err(wrong) => {
                self.error(&Place { line: line.number_at(condition, 0), ..at.clone() }, wrong);
                None
            }
        };
        let actions = match own {
            None => Some(Vec::new()),
            Some(actions) => self.actions(at, line, actions),
        };
        let chain = match (&actions, own) {
            (Some(actions), _) => actions.contains(&Action::Chain),
            (None, Some(own)) => action::parse(&own.text).0.contains(&Action::Chain),
            (None, None) => false,
        };
        let (Some(targets), Some(parsed), Some(actions)) = (targets, parsed, actions) else {
            return self.drafts.link(at, None, chain);
        };
        if let Some(text) = parsed.note {
            self.notes.push(Note { at: at.clone(), text });
        }
        let test = Test {
            targets,
            negated: parsed.negated,
            operator: parsed.operator,
            written: String::from_utf8_lossy(&condition.text).into_owned(),
        };
        self.drafts.link(at, Some(Draft { at: at.clone(), test: Some(test), actions }), chain)
    }

    fn action(&mut self, at: &Place, line: &Line<'_>, args: &[Arg<'_>]) -> Result<(), Wrong> {
        let [own] = args else {
            self.drafts.unreadable(true);
            return Err(count("SecAction", args.len(), "actions alone"));
        };
        let Some(actions) = self.actions(at, line, own) else {
            let chain = action::parse(&own.text).0.contains(&Action::Chain);
            return self.drafts.link(at, None, chain);
        };
        let chain = actions.contains(&Action::Chain);
        self.drafts.link(at, Some(Draft { at: at.clone(), test: None, actions }), chain)
    }

    fn include(&mut self, file: &str, at: &Place, args: &[Arg<'_>], optional: bool) -> Result<(), Wrong> {
        if args.is_empty() {
            return Err(count("Include", 0, "at least one file"));
        }
        for arg in args {
            let pattern = join(file, utf8(&arg.text)?);
            let files = self.files;
            let found = matching(&files.all, &pattern);
            if found.is_empty() && !optional {
                return Err(Wrong::new(
                    format!("`Include {}` matches no file", shown(&arg.text)),
                    "names are relative to the folder of the file that names them; `IncludeOptional` may match none",
                ));
            }
            for name in found {
                self.file(name, at);
            }
        }
        Ok(())
    }

    /// `SecUnicodeMapFile unicode.mapping 20127`.
    fn unicode_map(&mut self, file: &str, args: &[Arg<'_>]) -> Result<(), Wrong> {
        let Some((page, names)) = args.split_last().filter(|(_, names)| !names.is_empty()) else {
            return Err(count("SecUnicodeMapFile", args.len(), "a file and a code page"));
        };
        let name = unicode_map_name(names.iter().map(Arg::str));
        let page = page.str().parse().map_err(|_| {
            Wrong::new(
                format!("`{}` is not a code page", shown(&page.text)),
                "write the file, then the page's number: `SecUnicodeMapFile unicode.mapping 20127`",
            )
        })?;
        let files = From { files: self.files, name: file };
        let bytes = files.read(&name).ok_or_else(|| data::no_file(&name))?;
        self.directives.unicode_map = Some(Arc::new(data::unicode_map(bytes, page)?));
        Ok(())
    }

    /// `SecRuleRemove…`, `SecRuleUpdate…`.
    fn change(&mut self, at: &Place, line: &Line<'_>, name: &str, args: &[Arg<'_>]) -> Result<(), Wrong> {
        let change = match (name, args) {
            ("SecRuleRemoveById", [_, ..]) => {
                let mut all = Vec::new();
                for arg in args {
                    all.extend(ids(&arg.text)?);
                }
                Change::Remove(Which::Ids(all))
            }
            ("SecRuleRemoveByTag", [tag]) => Change::Remove(Which::Tag(tag.text.to_vec())),
            ("SecRuleRemoveByMsg", [msg]) => Change::Remove(Which::Msg(msg.text.to_vec())),
            ("SecRuleUpdateTargetById", [which, new]) => {
                Change::Targets(Which::Ids(ids(&which.text)?), targets(&new.text)?)
            }
            ("SecRuleUpdateTargetByTag", [tag, new]) => {
                Change::Targets(Which::Tag(tag.text.to_vec()), targets(&new.text)?)
            }
            ("SecRuleUpdateTargetByMsg", [msg, new]) => {
                Change::Targets(Which::Msg(msg.text.to_vec()), targets(&new.text)?)
            }
            ("SecRuleUpdateActionById", [which, new]) => {
                let (id, offset) = chain_offset(&which.text)?;
                let Some(actions) = self.actions(at, line, new) else { return Ok(()) };
                Change::Actions(id, offset, actions)
            }
            (_, [_, _, _]) if name.starts_with("SecRuleUpdateTarget") => {
                return Err(Wrong::new(
                    format!("`{name}` cannot replace one variable by another"),
                    "take the old one out with `!NAME` and add the new one, in two lines",
                ));
            }
            _ if name.starts_with("SecRuleRemove") => return Err(count(name, args.len(), "what to remove")),
            _ => return Err(count(name, args.len(), "which rules, and what changes")),
        };
        self.drafts.change(at.clone(), name, change)
    }
}

/// `12345` or `12345:1`.
fn chain_offset(text: &[u8]) -> Result<(u64, usize), Wrong> {
    let colon = text.iter().position(|&b| b == b':');
    let (id, offset) = colon.map_or((text, b"0".as_slice()), |at| (&text[..at], &text[at + 1..]));
    match (action::whole(id), action::whole(offset).and_then(|n| usize::try_from(n).ok())) {
        (Some(id), Some(offset)) => Ok((id, offset)),
        _ => Err(Wrong::new(
            format!("`{}` is not a rule's id", shown(text)),
            "write one id, or `id:1` for the second rule of its chain",
        )),
    }
}
