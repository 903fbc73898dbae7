//! The site's own certificate authority and the certificate it issued, on disk:
//! `<state>/ca/root.pem` may be read by all, the keys by control alone.

use base::Secret;
use edge_cert::Authority;
use role::Fault;
use site::Certificate;
use std::path::{Path, PathBuf};

/// The root that people trust, in a state directory.
pub fn root_path(state_dir: &Path) -> PathBuf {
    state_dir.join("ca/root.pem")
}

/// Every machine's own names, for which the authority may always sign: the
/// database router shows them.
pub(crate) fn own_names() -> Vec<String> {
    ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec()
}

/// The certificate `<state>/ca/WHAT.pem` for these names: the one on disk while
/// it fits and is fresh, otherwise a new one.
pub(crate) fn certificate(
    state_dir: &Path,
    site: &str,
    what: &str,
    names: &[String],
    now_ms: u64,
) -> Result<Certificate, Fault> {
    let folder = state_dir.join("ca");
    sys::file::make_dir(&folder, 0o755).map_err(|e| cannot(&folder, &e))?;
    let (chain_path, key_path) = (folder.join(format!("{what}.pem")), folder.join(format!("{what}.key")));
    if let (Ok(chain_pem), Ok(key)) =
        (std::fs::read_to_string(&chain_path), std::fs::read_to_string(&key_path))
    {
        let kept = Certificate { names: names.to_vec(), chain_pem, key_pem: Secret::new(key) };
        if fits(&kept, names, now_ms) {
            return Ok(kept);
        }
    }
    let authority = authority(&folder, site, names, now_ms)?;
    let issued = authority
        .issue(names, now_ms / 1_000)
        .map_err(|e| Fault::new(format!("the certificate `{what}`: {e}")))?;
    write(&key_path, issued.key_pem.reveal(), 0o600)?;
    write(&chain_path, &issued.chain_pem, 0o644)?;
    Ok(Certificate { names: names.to_vec(), chain_pem: issued.chain_pem, key_pem: issued.key_pem })
}

/// Whether a certificate names all of `names`, works, and is not due to be renewed.
pub(crate) fn fits(certificate: &Certificate, names: &[String], now_ms: u64) -> bool {
    let Ok(loaded) = edge_cert::load(&certificate.chain_pem, &certificate.key_pem) else { return false };
    let named = names.iter().all(|name| loaded.info.names.iter().any(|n| n == name));
    let renew_at_s = edge_cert::renew_at_s(loaded.info.not_before_s, loaded.info.not_after_s);
    named && now_ms / 1_000 < renew_at_s
}

/// Whether a certificate is the one that we issued last, rather than someone else's.
pub(crate) fn is_ours(state_dir: &Path, what: &str, certificate: &Certificate) -> bool {
    std::fs::read_to_string(state_dir.join(format!("ca/{what}.pem")))
        .is_ok_and(|kept| kept == certificate.chain_pem)
}

/// The authority on disk, or a new one where there is none, or where it may not
/// sign for these names.
fn authority(folder: &Path, site: &str, names: &[String], now_ms: u64) -> Result<Authority, Fault> {
    let (root_path, key_path) = (folder.join("root.pem"), folder.join("root.key"));
    if let (Ok(root), Ok(key)) = (std::fs::read_to_string(&root_path), std::fs::read_to_string(&key_path)) {
        let authority = Authority::load(&root, &Secret::new(key)).map_err(|e| {
            Fault::new(format!("the site's certificate authority in `{}` is damaged: {e}", folder.display()))
                .hint("restore the folder from a backup, or remove it: a new authority must then be trusted anew")
        })?;
        if authority.covers(names) {
            return Ok(authority);
        }
    }
    let mut covered = names.to_vec();
    covered.extend(own_names().into_iter().filter(|name| !names.contains(name)));
    let authority = Authority::create(site, &covered, now_ms / 1_000)
        .map_err(|e| Fault::new(format!("the certificate authority: {e}")))?;
    write(&key_path, authority.key_pem().reveal(), 0o600)?;
    write(&root_path, authority.root_pem(), 0o644)?;
    Ok(authority)
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), Fault> {
    sys::file::write_atomic(path, text.as_bytes(), mode).map_err(|e| cannot(path, &e))
}

fn cannot(path: &Path, error: &std::io::Error) -> Fault {
    Fault::new(format!("cannot write `{}`: {error}", path.display()))
}
