//! The helper that speaks to the kernel's firewall: the only process of ours that
//! stays root. It takes typed requests, one JSON object a line, from a Unix
//! socket that only control's user may open, and nothing else.

use firewall::{Request, Response};
use role::{Fault, Shutdown};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

/// A request's line, at most: a policy of thousands of entries.
const MAX_REQUEST: u64 = 4 << 20;

/// The helper's socket in a run directory.
pub fn socket_path(run_dir: &Path) -> PathBuf {
    run_dir.join("privileged.sock")
}

/// Serves until it is told to stop; then our table leaves the kernel with the
/// site. Killed, it leaves the policy in force.
pub async fn run(run_dir: &Path, owner: Option<(u32, u32)>, shutdown: Shutdown) -> Result<(), Fault> {
    let path = socket_path(run_dir);
    let listener = sys::socket::listen_unix(&path, 0o600)
        .and_then(|listener| {
            if let Some((uid, gid)) = owner {
                std::os::unix::fs::lchown(&path, Some(uid), Some(gid))?;
            }
            UnixListener::from_std(listener)
        })
        .map_err(|e| Fault::new(format!("cannot serve `{}`: {e}", path.display())))?;
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                // One after the other: the kernel's rules change by one hand only.
                Ok((stream, _)) => converse(stream).await,
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
            () = shutdown.wait() => break,
        }
    }
    match firewall::serve_one(Request::Status) {
        Response::Status { status } if status.present => match firewall::serve_one(Request::Remove) {
            Response::Failed { what, hint } => Err(Fault::new(what).hint(hint)),
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

async fn converse(stream: UnixStream) {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    let mut read = BufReader::new(read.take(MAX_REQUEST));
    // A client that stays silent must not keep others out.
    let patience = Duration::from_secs(2);
    let Ok(Ok(count)) = tokio::time::timeout(patience, read.read_line(&mut line)).await else { return };
    if count == 0 {
        return;
    }
    let response = match serde_json::from_str(&line) {
        Ok(request) => firewall::serve_one(request),
        Err(error) => Response::Failed {
            what: format!("not a request: {error}"),
            hint: "control and helper differ in version".into(),
        },
    };
    if let Ok(mut text) = serde_json::to_vec(&response) {
        text.push(b'\n');
        let _ = write.write_all(&text).await;
    }
}

/// Asks the helper; the error is what and why.
pub async fn ask(run_dir: &Path, request: &Request) -> Result<Response, String> {
    let exchange = async {
        let mut stream = UnixStream::connect(socket_path(run_dir)).await?;
        let mut text = serde_json::to_vec(request)?;
        text.push(b'\n');
        stream.write_all(&text).await?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).await?;
        Ok::<Response, std::io::Error>(serde_json::from_str(&line)?)
    };
    match tokio::time::timeout(Duration::from_secs(10), exchange).await {
        Ok(Ok(Response::Failed { what, hint })) => Err(format!("{what}\n  hint: {hint}")),
        Ok(Ok(response)) => Ok(response),
        Ok(Err(error)) => Err(format!(
            "the firewall's helper does not answer: {error}\n  hint: it is started where the file says `apply = true` when root brings the site up: `bastide down`, then `bastide up`"
        )),
        Err(_) => Err("the firewall's helper does not answer within 10 s".to_owned()),
    }
}
