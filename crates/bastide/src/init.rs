//! `bastide init`: a file to begin with.

use crate::Outcome;
use crate::args::Init;
use crate::terminal::Terminal;
use role::Fault;
use serde_json::json;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::process::ExitCode;

/// What the static template serves until there is something better.
const PAGE: &str = "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>It works</title>\n<h1>It works</h1>\n";

pub(crate) fn run(args: &Init, terminal: &Terminal) -> Outcome {
    let template = config::TEMPLATES
        .iter()
        .find(|t| t.name == args.template)
        .ok_or_else(|| Fault::new(format!("there is no template `{}`", args.template)))?;
    let file = args.dir.join("bastide.toml");
    fs::create_dir_all(&args.dir).map_err(|e| cannot(&args.dir, &e))?;
    write_new(&file, template.text)?;
    let mut written = vec![file.clone()];
    if template.name == "static" {
        let folder = args.dir.join("public");
        if !folder.exists() {
            fs::create_dir(&folder).map_err(|e| cannot(&folder, &e))?;
            write_new(&folder.join("index.html"), PAGE)?;
            written.push(folder.join("index.html"));
        }
    }
    if terminal.json {
        terminal.print_json(&json!({ "template": template.name, "written": written }));
        return Ok(ExitCode::SUCCESS);
    }
    for path in &written {
        terminal.line(path.display());
    }
    let next = match template.name {
        "static" => "put your files into `public`".to_owned(),
        _ => format!("say in `{}` how your program is started: `run`", file.display()),
    };
    let which = if args.dir == Path::new(".") { String::new() } else { format!(" {}", file.display()) };
    terminal.note(format!("next: {next}; then `bastide check{which}` and `bastide up{which}`"));
    Ok(ExitCode::SUCCESS)
}

fn write_new(path: &Path, text: &str) -> Result<(), Fault> {
    let file = OpenOptions::new().write(true).create_new(true).open(path);
    let mut file = file.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => {
            Fault::new(format!("`{}` exists already, and nothing was written", path.display()))
                .hint("name another folder, `bastide init DIR`, or move the file away")
        }
        _ => cannot(path, &error),
    })?;
    file.write_all(text.as_bytes()).map_err(|e| cannot(path, &e))
}

fn cannot(path: &Path, error: &std::io::Error) -> Fault {
    Fault::new(format!("cannot write `{}`: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Color;

    #[test]
    fn nothing_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let args = Init { dir: folder.path().join("a"), template: "static".into() };
        let terminal = Terminal::new(Color::Never, true);
        run(&args, &terminal).unwrap();
        fs::write(folder.path().join("a/bastide.toml"), "mine").unwrap();
        let fault = run(&args, &terminal).unwrap_err().to_string();
        assert!(fault.contains("exists already") && fault.contains("hint:"), "{fault}");
        assert_eq!(fs::read_to_string(folder.path().join("a/bastide.toml")).unwrap(), "mine");
    }
}
