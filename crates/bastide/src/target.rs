//! Which site a command is about: the one named by `--site`, the one of a file,
//! the one of this folder's `bastide.toml`, or the only one that runs.

use crate::args::Global;
use control::paths::Paths;
use role::Fault;
use role::client::{Admin, Error};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// The paths of the site that is meant.
pub(crate) fn find(global: &Global, file: Option<&Path>) -> Result<Paths, Fault> {
    if let Some(name) = &global.site {
        return Paths::of(name);
    }
    if let Some(file) = file {
        return Paths::of(&control::compile::site_name(file)?);
    }
    let here = Path::new("bastide.toml");
    if here.is_file() {
        return Paths::of(&control::compile::site_name(here)?);
    }
    let running = running_sites()?;
    match running.as_slice() {
        [one] => Paths::of(one),
        [] => Err(Fault::new("no site runs here, and this folder has no `bastide.toml`")
            .hint("`bastide up FILE` starts one")),
        many => Err(Fault::new(format!("several sites run here: {}", many.join(", ")))
            .hint("name one: `--site NAME`")),
    }
}

fn running_sites() -> Result<Vec<String>, Fault> {
    // Any name will do: only the folder above is of interest.
    let above = Paths::of("x")?.run_dir;
    let Some(above) = above.parent() else { return Ok(Vec::new()) };
    let Ok(entries) = std::fs::read_dir(above) else { return Ok(Vec::new()) };
    let mut names: Vec<String> = entries
        .flatten()
        .filter(|e| e.path().join("control.sock").exists())
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    Ok(names)
}

/// Control's admin socket.
pub(crate) fn control(paths: &Paths) -> Admin {
    Admin::new(&paths.socket("control"))
}

/// The fault of someone who may not ask a role of a site that another user runs.
pub(crate) fn denied(paths: &Paths, role: &str) -> Option<Fault> {
    let refused = UnixStream::connect(paths.socket(role)).err()?;
    (refused.kind() == std::io::ErrorKind::PermissionDenied).then(|| {
        Fault::new(format!("you may not ask `{role}` of site `{}`: another user runs it", paths.site))
            .hint("run it as the user that ran `bastide up`, or as root")
    })
}

/// Whether somebody has a role's socket open, whether or not they answer.
pub(crate) fn listens(paths: &Paths, role: &str) -> bool {
    match UnixStream::connect(paths.socket(role)) {
        Ok(_) => true,
        Err(error) => error.kind() == std::io::ErrorKind::PermissionDenied,
    }
}

/// What a role's or control's refusal means to the operator.
pub(crate) fn explain(paths: &Paths, error: Error) -> Fault {
    if let (Error::Unreachable { .. }, Some(fault)) = (&error, denied(paths, "control")) {
        return fault;
    }
    match error {
        Error::Unreachable { .. } if !paths.socket("control").exists() => {
            Fault::new(format!("site `{}` is not up", paths.site)).hint("`bastide up FILE` starts it")
        }
        Error::Unreachable { why, .. } => {
            Fault::new(format!("control of site `{}` does not answer: {why}", paths.site)).hint(format!(
                "its log is `{}`; `bastide up FILE` starts it again",
                paths.logs().join("control.log").display()
            ))
        }
        Error::Refused { errors, .. } => Fault::new(errors.join("\n")),
    }
}
