//! `bastide cert`: what is served, the authority's root, and trusting it.

use crate::Outcome;
use crate::args::{Cert, CertExport, CertTrust, Global, SiteFile};
use crate::events::text;
use crate::show;
use crate::status::list;
use crate::target;
use crate::terminal::{FAILED, Style, Terminal};
use control::authority::root_path;
use control::paths::Paths;
use role::Fault;
use role::client::Admin;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(5);

/// Where systems keep roots that their administrator adds, with the program that
/// takes them over: Debian's update-ca-certificates(8), Fedora's update-ca-trust(8).
const SYSTEM_STORES: &[(&str, &str, &[&str])] = &[
    ("/usr/local/share/ca-certificates", "update-ca-certificates", &[]),
    ("/etc/pki/ca-trust/source/anchors", "update-ca-trust", &["extract"]),
];

pub(crate) fn run(command: &Cert, global: &Global, terminal: &Terminal) -> Outcome {
    match command {
        Cert::Show(site) => shown(site, global, terminal),
        Cert::Export(args) => export(args, global, terminal),
        Cert::Trust(args) => trust(args, global, terminal),
    }
}

fn shown(site: &SiteFile, global: &Global, terminal: &Terminal) -> Outcome {
    let paths = target::find(global, site.file.as_deref())?;
    let edge = Admin::new(&paths.socket("edge")).timeout(PATIENCE);
    let served =
        crate::runtime()?.block_on(edge.get("/status")).ok().map(|status| status["certificates"].clone());
    let root = root(&paths).ok();
    let info = root.as_ref().and_then(|(_, pem)| edge_cert::inspect(pem).ok());
    if served.is_none() && root.is_none() {
        return Err(Fault::new(format!("site `{}` has no certificate yet", paths.site))
            .hint("`bastide up FILE` makes one"));
    }
    if terminal.json {
        let authority = root.zip(info).map(|((path, _), info)| {
            json!({ "root": path, "subject": info.issuer, "serial": info.serial,
                    "not_before_s": info.not_before_s, "not_after_s": info.not_after_s })
        });
        terminal.print_json(&json!({ "served": served, "authority": authority }));
        return Ok(ExitCode::SUCCESS);
    }
    match &served {
        None => terminal.note("the edge does not answer: what it serves is not known"),
        Some(served) => list(served).iter().for_each(|c| certificate(c, terminal)),
    }
    if let (Some((path, _)), Some(info)) = (root, info) {
        terminal.line(terminal.paint(Style::Bold, "internal authority"));
        terminal.line(format!("  name      {}", crate::terminal::escape(&info.issuer)));
        terminal.line(format!("  root      {}", path.display()));
        terminal.line(format!("  ends      {}", ends(info.not_after_s)));
        terminal
            .note("`bastide cert trust` makes this machine trust it; `bastide cert export` prints the root");
    }
    Ok(ExitCode::SUCCESS)
}

fn certificate(certificate: &Value, terminal: &Terminal) {
    let names = list(&certificate["names"]).iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ");
    terminal.line(terminal.paint(Style::Bold, crate::terminal::escape(&names)));
    terminal.line(format!("  issuer    {}", text(certificate, "issuer")));
    terminal.line(format!("  serial    {}", text(certificate, "serial")));
    terminal.line(format!("  ends      {}", ends(certificate["not_after_s"].as_u64().unwrap_or_default())));
    if let Some(renew) = certificate["renew_at_s"].as_u64() {
        terminal.line(format!("  renewal   {}", show::date_time(renew * 1_000)));
    }
}

/// `2027-02-21 07:12:17Z, in 89 d`.
fn ends(at_s: u64) -> String {
    let now_s = sys::clock::now_ms() / 1_000;
    let at = show::date_time(at_s.saturating_mul(1_000));
    match at_s.checked_sub(now_s) {
        Some(left) => format!("{at}, in {}", show::span(left.saturating_mul(1_000))),
        None => format!("{at}: it has ended"),
    }
}

/// The root's path and text.
fn root(paths: &Paths) -> Result<(PathBuf, String), Fault> {
    let path = root_path(&paths.state_dir);
    match std::fs::read_to_string(&path) {
        Ok(pem) => Ok((path, pem)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(Fault::new(format!(
            "site `{}` has no authority of its own: there is no `{}`",
            paths.site,
            path.display()
        ))
        .hint("`bastide up` makes one where the file says `tls = \"internal\"`, which is the default")),
        Err(error) => Err(Fault::new(format!("cannot read `{}`: {error}", path.display()))),
    }
}

fn export(args: &CertExport, global: &Global, terminal: &Terminal) -> Outcome {
    let paths = target::find(global, args.site.file.as_deref())?;
    let (_, pem) = root(&paths)?;
    let Some(to) = &args.to else {
        match terminal.json {
            true => terminal.print_json(&json!({ "site": paths.site, "root_pem": pem })),
            false => terminal.line(pem.trim_end()),
        }
        return Ok(ExitCode::SUCCESS);
    };
    sys::file::write_atomic(to, pem.as_bytes(), 0o644)
        .map_err(|e| Fault::new(format!("cannot write `{}`: {e}", to.display())))?;
    if terminal.json {
        terminal.print_json(&json!({ "site": paths.site, "written": to }));
    } else {
        terminal.note(format!("the root of site `{}` is in `{}`", paths.site, to.display()));
    }
    Ok(ExitCode::SUCCESS)
}

/// One place that was changed, or not.
struct Done {
    place: String,
    ok: bool,
    said: String,
}

fn trust(args: &CertTrust, global: &Global, terminal: &Terminal) -> Outcome {
    let paths = target::find(global, args.site.file.as_deref())?;
    let name = format!("bastide-{}", paths.site);
    let pem = if args.undo { String::new() } else { root(&paths)?.1 };
    let mut all = vec![system(&name, &pem, args.undo)];
    all.extend(browsers(&name, &root_path(&paths.state_dir), args.undo));
    let ok = all.iter().any(|d| d.ok);
    if terminal.json {
        let places: Vec<Value> =
            all.iter().map(|d| json!({ "place": d.place, "ok": d.ok, "said": d.said })).collect();
        terminal.print_json(&json!({ "site": paths.site, "undo": args.undo, "places": places }));
    } else {
        for done in &all {
            let word = if done.ok {
                terminal.paint(Style::Good, "done")
            } else {
                terminal.paint(Style::Warn, "not done")
            };
            terminal.line(format!("{word}  {}: {}", done.place, done.said));
        }
        if ok && !args.undo {
            terminal.note("restart browsers that run; `bastide cert trust --undo` takes it all back");
        }
    }
    Ok(ExitCode::from(if ok { 0 } else { FAILED }))
}

fn system(name: &str, pem: &str, undo: bool) -> Done {
    let place = "this system".to_owned();
    let not = |said: String| Done { place: "this system".to_owned(), ok: false, said };
    let Some((folder, program, args)) =
        SYSTEM_STORES.iter().find(|(folder, _, _)| Path::new(folder).is_dir())
    else {
        return not(
            "it keeps trusted roots in none of the places known; `bastide cert export` writes the root"
                .to_owned(),
        );
    };
    let path = Path::new(folder).join(format!("{name}.crt"));
    if undo && !path.exists() {
        return Done { place, ok: true, said: format!("`{}` was not there", path.display()) };
    }
    if !sys::user::is_root() {
        return not(format!(
            "only root may change `{folder}`; run it again with `sudo`, keeping `--site` or FILE"
        ));
    }
    let changed = match undo {
        true => std::fs::remove_file(&path),
        false => sys::file::write_atomic(&path, pem.as_bytes(), 0o644),
    };
    if let Err(error) = changed {
        return not(format!("cannot change `{}`: {error}", path.display()));
    }
    match Command::new(program).args(*args).stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => {
            let said = if undo { "removed" } else { "added" };
            Done { place, ok: true, said: format!("{said} `{}` and ran `{program}`", path.display()) }
        }
        Ok(output) => not(format!("`{program}` failed: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => not(format!("`{}` is changed, but `{program}` cannot be run: {error}", path.display())),
    }
}

/// Chromium's and Firefox' own stores, through NSS' certutil(1).
fn browsers(name: &str, root: &Path, undo: bool) -> Vec<Done> {
    let stores = stores();
    if stores.is_empty() {
        return Vec::new();
    }
    let mut all = Vec::new();
    for store in stores {
        let database = format!("sql:{}", store.display());
        let mut command = Command::new("certutil");
        match undo {
            true => command.args(["-D", "-d", &database, "-n", name]),
            false => command.args(["-A", "-d", &database, "-n", name, "-t", "C,,", "-i"]).arg(root),
        };
        let place = store.display().to_string();
        let done = match command.stdin(Stdio::null()).output() {
            Ok(output) if output.status.success() => {
                Done { place, ok: true, said: if undo { "removed" } else { "added" }.to_owned() }
            }
            Ok(output) => {
                Done { place, ok: false, said: String::from_utf8_lossy(&output.stderr).trim().to_owned() }
            }
            Err(error) => {
                let said = format!("`certutil`: {error}; `apt install libnss3-tools` has it");
                return vec![Done { place: "browsers' own stores".to_owned(), ok: false, said }];
            }
        };
        all.push(done);
    }
    all
}

/// NSS databases of this user: Chromium's one, Firefox' one a profile.
fn stores() -> Vec<PathBuf> {
    let Some(home) = std::env::var_os("HOME").map(PathBuf::from) else { return Vec::new() };
    let mut stores = vec![home.join(".pki/nssdb")];
    for profiles in [".mozilla/firefox", "snap/firefox/common/.mozilla/firefox"] {
        let entries = std::fs::read_dir(home.join(profiles)).into_iter().flatten().flatten();
        stores.extend(entries.map(|entry| entry.path()));
    }
    stores.retain(|store| store.join("cert9.db").is_file());
    stores
}
