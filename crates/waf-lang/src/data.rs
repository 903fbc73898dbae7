//! Arguments of operators, and the data files that some of them name.

use waf_text::{ByteSet, Network, Nid, UnicodeMap, operator};

use crate::error::{Wrong, shown};
use crate::files::data_names;
use crate::target::utf8;

/// Whoever knows the files' bytes, by the name as written.
pub(crate) trait Read {
    /// The bytes; `None` where there is no such file.
    fn read(&self, name: &str) -> Option<&[u8]>;
}

/// The files that an argument names, at least one.
pub(crate) fn each<'a>(
    operator: &str,
    argument: &[u8],
    data: &'a dyn Read,
) -> Result<Vec<(String, &'a [u8])>, Wrong> {
    let names = data_names(argument);
    if names.is_empty() {
        return Err(Wrong::new(
            format!("`@{operator}` names no file"),
            "name one, relative to this file's folder",
        ));
    }
    let mut found = Vec::with_capacity(names.len());
    for name in names {
        if name.starts_with("http://") || name.starts_with("https://") {
            return Err(Wrong::new(
                format!("`{name}` is not a file"),
                "data is not fetched over the network; fetch it yourself and name the file",
            ));
        }
        match data.read(&name) {
            Some(bytes) => found.push((name, bytes)),
            None => return Err(no_file(&name)),
        }
    }
    Ok(found)
}

pub(crate) fn no_file(name: &str) -> Wrong {
    Wrong::new(
        format!("the file `{}` is not there, or cannot be read", shown(name.as_bytes())),
        "names are relative to the folder of the file that names them",
    )
}

/// `@pm a b c`.
pub(crate) fn phrases(argument: &[u8]) -> Result<Vec<Vec<u8>>, Wrong> {
    let phrases = operator::phrases(argument);
    if phrases.is_empty() {
        return Err(Wrong::new("`@pm` has no phrases", "write them after it, separated by blanks"));
    }
    Ok(phrases)
}

/// One phrase a line; `#` begins a comment.
pub(crate) fn phrase_lines(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    operator::phrases_from_file(bytes).into_iter().map(<[u8]>::to_vec)
}

/// `@ipMatch 10.0.0.0/8,::1`.
pub(crate) fn networks(argument: &[u8]) -> Result<Vec<Network>, Wrong> {
    let mut found = Vec::new();
    for part in argument.split(|&b| b == b',').map(<[u8]>::trim_ascii).filter(|part| !part.is_empty()) {
        found.push(network(part)?);
    }
    if found.is_empty() {
        return Err(Wrong::new(
            "`@ipMatch` names no network",
            "write addresses or networks, separated by commas",
        ));
    }
    Ok(found)
}

/// One network a line, or several separated by commas; `#` begins a comment.
pub(crate) fn network_lines(name: &str, bytes: &[u8]) -> Result<Vec<Network>, Wrong> {
    let mut found = Vec::new();
    for (number, line) in bytes.split(|&b| b == b'\n').enumerate() {
        let line = line.split(|&b| b == b'#').next().unwrap_or_default();
        for part in line.split(|&b| b == b',' || b.is_ascii_whitespace()).filter(|part| !part.is_empty()) {
            found.push(network(part).map_err(|wrong| Wrong {
                what: format!("`{}` line {}: {}", shown(name.as_bytes()), number + 1, wrong.what),
                ..wrong
            })?);
        }
    }
    Ok(found)
}

fn network(text: &[u8]) -> Result<Network, Wrong> {
    let hint = "write `192.0.2.7`, `192.0.2.0/24` or `2001:db8::/32`";
    match std::str::from_utf8(text).map(str::parse) {
        Ok(Ok(network)) => Ok(network),
        Ok(Err(error)) => Err(Wrong::new(shown(error.to_string().as_bytes()), hint)),
        Err(_) => Err(Wrong::new(format!("`{}` is no IP address", shown(text)), hint)),
    }
}

/// `@validateByteRange 9,10,13,32-126,128-255`.
pub(crate) fn byte_range(argument: &[u8]) -> Result<ByteSet, Wrong> {
    let hint = "write numbers from 0 to 255 and ranges, separated by commas: `9,10,13,32-126`";
    if argument.trim_ascii().is_empty() {
        return Err(Wrong::new("`@validateByteRange` has no range", hint));
    }
    match operator::ByteRange::parse(&String::from_utf8_lossy(argument)) {
        Ok(range) => Ok(range.allowed),
        Err(error) => Err(Wrong::new(shown(error.to_string().as_bytes()), hint)),
    }
}

/// `@validateNid cl REGEX`.
pub(crate) fn national_id(argument: &[u8]) -> Result<(Nid, String), Wrong> {
    let end = argument.iter().position(u8::is_ascii_whitespace).unwrap_or(argument.len());
    let (country, regex) = argument.split_at(end);
    let Some(nid) = Nid::parse(&String::from_utf8_lossy(country).to_ascii_lowercase()) else {
        return Err(Wrong::new(
            format!("`@validateNid` does not know the country `{}`", shown(country)),
            "write `cl` or `us`, then the expression",
        ));
    };
    let regex = regex.trim_ascii_start();
    if regex.is_empty() {
        return Err(Wrong::new("`@validateNid` has no expression", "write it after the country"));
    }
    Ok((nid, utf8(regex)?.to_owned()))
}

/// The mapping of a code page in a `unicode.mapping` file.
pub(crate) fn unicode_map(bytes: &[u8], page: u32) -> Result<UnicodeMap, Wrong> {
    UnicodeMap::parse(&String::from_utf8_lossy(bytes), page).map_err(|what| {
        Wrong::new(
            shown(what.as_bytes()),
            "use the `unicode.mapping` that comes with ModSecurity; pages such as 20127 are in it",
        )
    })
}
