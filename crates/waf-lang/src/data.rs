//! Arguments of operators, and the data files that some of them name.

use std::net::IpAddr;

use waf_text::{ByteSet, Network, Nid, UnicodeMap};

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
    let phrases: Vec<Vec<u8>> = argument
        .split(u8::is_ascii_whitespace)
        .filter(|phrase| !phrase.is_empty())
        .map(<[u8]>::to_vec)
        .collect();
    if phrases.is_empty() {
        return Err(Wrong::new("`@pm` has no phrases", "write them after it, separated by blanks"));
    }
    Ok(phrases)
}

/// One phrase a line; `#` begins a comment.
pub(crate) fn phrase_lines(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    bytes
        .split(|&b| b == b'\n')
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty() && line[0] != b'#')
        .map(<[u8]>::to_vec)
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
    let wrong = || {
        Wrong::new(
            format!("`{}` is neither an address nor a network", shown(text)),
            "write `192.0.2.7`, `192.0.2.0/24` or `2001:db8::/32`",
        )
    };
    let text = std::str::from_utf8(text).map_err(|_| wrong())?;
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = match bits {
        None => most,
        Some(bits) => bits.parse().ok().filter(|bits| *bits <= most).ok_or_else(wrong)?,
    };
    Ok(Network { address, bits })
}

/// `@validateByteRange 9,10,13,32-126,128-255`.
pub(crate) fn byte_range(argument: &[u8]) -> Result<ByteSet, Wrong> {
    let mut set = ByteSet::EMPTY;
    for part in argument.split(|&b| b == b',').map(<[u8]>::trim_ascii) {
        let wrong = || {
            Wrong::new(
                format!("`{}` is not a range of bytes", shown(part)),
                "write numbers from 0 to 255 and ranges, separated by commas: `9,10,13,32-126`",
            )
        };
        let text = std::str::from_utf8(part).map_err(|_| wrong())?;
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let first: u8 = first.trim().parse().map_err(|_| wrong())?;
        let last: u8 = last.trim().parse().map_err(|_| wrong())?;
        if first > last {
            return Err(wrong());
        }
        set = set.union(&ByteSet::range(first, last));
    }
    Ok(set)
}

/// `@validateNid cl REGEX`.
pub(crate) fn national_id(argument: &[u8]) -> Result<(Nid, String), Wrong> {
    let end = argument.iter().position(u8::is_ascii_whitespace).unwrap_or(argument.len());
    let (country, regex) = argument.split_at(end);
    let nid = match country.to_ascii_lowercase().as_slice() {
        b"cl" => Nid::Cl,
        b"us" => Nid::Us,
        _ => {
            return Err(Wrong::new(
                format!("`@validateNid` does not know the country `{}`", shown(country)),
                "write `cl` or `us`, then the expression",
            ));
        }
    };
    let regex = regex.trim_ascii_start();
    if regex.is_empty() {
        return Err(Wrong::new("`@validateNid` has no expression", "write it after the country"));
    }
    Ok((nid, utf8(regex)?.to_owned()))
}

/// The mapping of a code page in a `unicode.mapping` file: a line with the page's
/// number, then a line of `code:byte` pairs, all in hex.
pub(crate) fn unicode_map(bytes: &[u8], page: u32) -> Result<UnicodeMap, Wrong> {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let number = |line: &str| -> Option<u32> {
        let digits: String = line.chars().take_while(char::is_ascii_digit).collect();
        let rest = &line[digits.len()..];
        if rest.is_empty() || rest.starts_with([' ', '\t', '(']) { digits.parse().ok() } else { None }
    };
    while let Some(line) = lines.next() {
        if number(line) != Some(page) {
            continue;
        }
        let mut pairs = Vec::new();
        for pair in lines.next().unwrap_or_default().split_ascii_whitespace() {
            let parsed = pair.split_once(':').and_then(|(code, byte)| {
                Some((u32::from_str_radix(code, 16).ok()?, u8::from_str_radix(byte, 16).ok()?))
            });
            match parsed {
                Some(pair) => pairs.push(pair),
                None => {
                    return Err(Wrong::new(
                        format!(
                            "code page {page} has `{}`, which is not a pair `code:byte` in hex",
                            shown(pair.as_bytes())
                        ),
                        "use the `unicode.mapping` that comes with ModSecurity",
                    ));
                }
            }
        }
        pairs.sort_unstable();
        pairs.dedup_by_key(|pair| pair.0);
        return Ok(UnicodeMap { pairs });
    }
    Err(Wrong::new(format!("the file has no code page {page}"), "name one that it has, such as 20127"))
}
