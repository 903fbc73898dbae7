//! Running `nft(8)`.

use super::Failure;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Where distributions put it. Not `PATH`: what runs as root is not looked up in
/// what somebody's environment says.
const PLACES: &[&str] = &["/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft", "/usr/local/sbin/nft"];

/// Runs a script as one transaction: all of it or nothing.
pub(super) fn run(script: &str) -> Result<(), Failure> {
    let output = call(&["-f", "-"], script)?;
    if output.status.success() { Ok(()) } else { Err(failure(&output)) }
}

/// Asks for something as JSON; none where it does not exist.
pub(super) fn ask(arguments: &[&str]) -> Result<Option<serde_json::Value>, Failure> {
    let output = call(&[&["-j"], arguments].concat(), "")?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return if text.contains("No such file or directory") { Ok(None) } else { Err(failure(&output)) };
    }
    let parsed = serde_json::from_slice(&output.stdout);
    parsed.map(Some).map_err(|error| {
        Failure::new(
            format!("cannot read what `nft -j` says: {error}"),
            "check that `nft --version` is 0.9.8 or newer",
        )
    })
}

fn call(arguments: &[&str], input: &str) -> Result<Output, Failure> {
    let Some(program) = PLACES.iter().find(|place| Path::new(place).exists()) else {
        return Err(Failure::new("the program `nft` is missing", "install the package `nftables`"));
    };
    let started = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("LC_ALL", "C")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let finished = started.and_then(|mut child| {
        // A pipe holds 64 KiB and nft reads all before it writes, so this cannot wait
        // on each other. A broken pipe means that nft ended early: its status says why.
        let mut stdin = child.stdin.take();
        let written = stdin.as_mut().map_or(Ok(()), |pipe| pipe.write_all(input.as_bytes()));
        drop(stdin);
        let output = child.wait_with_output()?;
        match written {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            _ => Ok(output),
        }
    });
    finished.map_err(|error| {
        Failure::new(format!("cannot run `{program}`: {error}"), "check that it works by hand")
    })
}

fn failure(output: &Output) -> Failure {
    let text = String::from_utf8_lossy(&output.stderr);
    if text.contains("Operation not permitted") || text.contains("must be root") {
        let what = "the kernel does not let this process change the firewall";
        return Failure::new(what, "run as root, or with the capability `CAP_NET_ADMIN`");
    }
    if text.contains("Unable to initialize Netlink socket") || text.contains("Protocol not supported") {
        let what = "this kernel has no nftables";
        return Failure::new(what, "load the module `nf_tables`, or set `apply = false` in `[firewall]`");
    }
    // The first line names the error, the following ones draw it.
    let line = text.lines().find(|line| line.contains("rror")).or_else(|| text.lines().next()).unwrap_or("");
    let shown: String = line.chars().filter(|c| !c.is_control()).take(300).collect();
    Failure::new(format!("`nft` refused: {shown}"), "`nft list ruleset` shows what is in the kernel")
}
