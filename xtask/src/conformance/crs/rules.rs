//! The rule files of a copy of the Core Rule Set, wherever its layout has them.

use std::path::{Path, PathBuf};
use waf_engine::settings::{Limits, Mode, RuleFile, Settings};

/// What a server's own configuration says before the rules are read: the part of
/// ModSecurity's recommended one that the cases rely on, and the types of bodies
/// that the Core Rule Set's own test setup looks into.
const SERVER: &str = r#"
SecRuleEngine DetectionOnly
SecRequestBodyAccess On
SecRequestBodyLimit 13107200
SecRequestBodyNoFilesLimit 131072
SecRequestBodyLimitAction Reject
SecRequestBodyJsonDepthLimit 512
SecArgumentsLimit 1000
SecResponseBodyAccess On
SecResponseBodyMimeType text/plain text/html text/xml application/json
SecResponseBodyLimit 524288
SecResponseBodyLimitAction ProcessPartial
SecArgumentSeparator &
SecCookieFormat 0
SecRule REQUEST_HEADERS:Content-Type "^(?:application(?:/soap\+|/)|text/)xml" \
    "id:200000,phase:1,t:none,t:lowercase,pass,nolog,ctl:requestBodyProcessor=XML"
SecRule REQUEST_HEADERS:Content-Type "^application/json" \
    "id:200001,phase:1,t:none,t:lowercase,pass,nolog,ctl:requestBodyProcessor=JSON"
SecRule REQUEST_HEADERS:Content-Type "^application/[a-z0-9.-]+[+]json" \
    "id:200006,phase:1,t:none,t:lowercase,pass,nolog,ctl:requestBodyProcessor=JSON"
SecRule REQBODY_ERROR "!@eq 0" \
    "id:200002,phase:2,t:none,log,deny,status:400,msg:'Failed to parse request body.',logdata:'%{reqbody_error_msg}',severity:2"
SecRule MULTIPART_STRICT_ERROR "!@eq 0" \
    "id:200003,phase:2,t:none,log,deny,status:400,msg:'Multipart request body failed strict validation.'"
SecRule MULTIPART_UNMATCHED_BOUNDARY "@eq 1" \
    "id:200004,phase:2,t:none,log,deny,msg:'Multipart parser detected a possible unmatched boundary.'"
"#;

/// The settings that the Core Rule Set documents for its tests.
const TX: [(&str, &str); 10] = [
    ("blocking_paranoia_level", "4"),
    // The name in versions 2 and 3.
    ("paranoia_level", "4"),
    ("crs_validate_utf8_encoding", "1"),
    ("arg_name_length", "100"),
    ("arg_length", "400"),
    ("total_arg_length", "64000"),
    ("max_num_args", "255"),
    ("max_file_size", "64100"),
    // The rules say `sizes`, the documentation also `size`.
    ("combined_file_sizes", "65535"),
    ("combined_file_size", "65535"),
];

/// Settings with the rules found at `dir`: the folder of the rules, or the one
/// that has it as `rules`. The setup file lies in it, beside it, or where Debian
/// puts it.
pub(super) fn settings(dir: &Path) -> Result<Settings, String> {
    let inner = dir.join("rules");
    let dir = if inner.is_dir() { inner } else { dir.to_path_buf() };
    let mut files = vec![RuleFile { name: "server.conf".to_owned(), text: SERVER.to_owned() }];
    let setup = setup_file(&dir)?;
    files.push(read(&setup)?);
    let (mut rules, mut data) = (Vec::new(), Vec::new());
    let error = |error: std::io::Error| format!("{}: {error}", dir.display());
    for entry in std::fs::read_dir(&dir).map_err(error)? {
        let path = entry.map_err(error)?.path();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("conf") if path != setup => rules.push(path),
            Some("data") => data.push(path),
            _ => {}
        }
    }
    if rules.is_empty() {
        return Err(format!("no `.conf` file in `{}`; hint: name the folder of the rules", dir.display()));
    }
    // Debian keeps what an administrator writes beside its setup file.
    for name in ["REQUEST-900-EXCLUSION-RULES-BEFORE-CRS.conf", "RESPONSE-999-EXCLUSION-RULES-AFTER-CRS.conf"]
    {
        let path = setup.with_file_name(name);
        if path.is_file() && !rules.contains(&path) {
            rules.push(path);
        }
    }
    // The files' names are their order, wherever they lie.
    rules.sort_by_key(|path| path.file_name().map(ToOwned::to_owned));
    data.sort();
    for path in rules {
        files.push(read(&path)?);
    }
    Ok(Settings {
        mode: Mode::Detect,
        files,
        data: data.iter().map(|path| read(path)).collect::<Result<_, _>>()?,
        tx: TX.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        exclude: Vec::new(),
        processors_by_content_type: false,
        raw_body: Default::default(),
        limits: Limits::default(),
    })
}

fn setup_file(rules: &Path) -> Result<PathBuf, String> {
    let mut places = vec![rules.to_path_buf()];
    places.extend(rules.parent().map(Path::to_path_buf));
    // usr/share/modsecurity-crs/rules and etc/modsecurity/crs, under whatever root
    // the package is unpacked.
    places.extend(rules.ancestors().nth(4).map(|root| root.join("etc/modsecurity/crs")));
    let names = ["crs-setup.conf", "crs-setup.conf.example"];
    let candidates = places.iter().flat_map(|place| names.iter().map(move |name| place.join(name)));
    let found = candidates.into_iter().find(|path| path.is_file());
    found.ok_or_else(|| {
        format!("no `crs-setup.conf` or `crs-setup.conf.example` in `{}` or beside it", rules.display())
    })
}

/// A file's text; what is not UTF-8 is carried as Latin-1.
fn read(path: &Path) -> Result<RuleFile, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => error.as_bytes().iter().map(|&b| char::from(b)).collect(),
    };
    Ok(RuleFile { name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(), text })
}
