//! Names of tags and attributes, and URLs, that run scripts.

/// What an attribute's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attribute {
    Harmless,
    /// An attack, whatever the value.
    Script,
    /// A URL, which may be a script's.
    Url,
    /// The name of another attribute.
    Name,
}

/// Whether a tag runs a script, loads one, or changes what the page's own load.
pub(super) fn is_script_tag(name: &[u8]) -> bool {
    // Tags of SVG, and of XSL(T).
    let prefix = name.first_chunk::<3>().map(|three| three.map(upper));
    let Some(prefix) = prefix else { return false };
    if matches!(&prefix, b"SVG" | b"XSL") {
        return true;
    }
    let mut buffer = [0; NAME_MAX];
    matches!(
        plain(name, &mut buffer),
        b"APPLET"
            | b"BASE"
            | b"COMMENT" // IE: html5sec.org/#38
            | b"EMBED"
            | b"FRAME"
            | b"FRAMESET"
            | b"HANDLER" // SVG in Opera
            | b"IFRAME"
            | b"IMPORT"
            | b"ISINDEX"
            | b"LINK"
            | b"LISTENER"
            | b"META"
            | b"NOSCRIPT"
            | b"OBJECT"
            | b"SCRIPT"
            | b"STYLE"
            | b"VMLFRAME"
            | b"XML"
            | b"XSS"
    )
}

/// What an attribute of this name has for a value.
pub(super) fn attribute(name: &[u8]) -> Attribute {
    let [first, second, ..] = name else {
        return Attribute::Harmless;
    };
    // The letters that the names below begin with.
    if !matches!(
        upper(*first),
        0 | b'A' | b'B' | b'D' | b'F' | b'H' | b'L' | b'O' | b'P' | b'S' | b'T' | b'V' | b'X'
    ) {
        return Attribute::Harmless;
    }
    if let Some(five) = name.first_chunk::<5>() {
        // Any event's handler; tags of one's own making.
        let handler = upper(*first) == b'O' && upper(*second) == b'N';
        if handler || matches!(&five.map(upper), b"XMLNS" | b"XLINK") {
            return Attribute::Script;
        }
    }
    let mut buffer = [0; NAME_MAX];
    match plain(name, &mut buffer) {
        b"DATAFORMATAS" | b"DATASRC" => Attribute::Script, // IE
        b"FILTER" | b"STYLE" => Attribute::Script,
        b"ATTRIBUTENAME" => Attribute::Name, // SVG
        b"ACTION" | b"BACKGROUND" | b"BY" | b"DYNSRC" | b"FOLDER" | b"FORMACTION" | b"FROM" | b"HANDLER"
        | b"HREF" | b"LOWSRC" | b"POSTER" | b"SRC" | b"TO" | b"VALUES" | b"XLINK:HREF" => Attribute::Url,
        _ => Attribute::Harmless,
    }
}

/// Whether a URL runs a script, or holds a page: `javascript:`, `data:`, `vbscript:`,
/// `view-source:`, its letters as character references or not.
pub(super) fn is_script_url(url: &[u8]) -> bool {
    // Beyond ASCII lies what browsers have taken for white space, in UTF-8 or EUC-JP.
    let start = url.iter().position(|byte| matches!(byte, 33..=126));
    let url = &url[start.unwrap_or(url.len())..];
    // The first letter decides which may be meant; a reference may be any.
    let schemes: &[&[u8]] = match url.first().map(|&byte| upper(byte)) {
        Some(b'&') => &[b"DATA", b"VIEW-SOURCE", b"JAVA", b"VBSCRIPT"],
        Some(b'D') => &[b"DATA"],
        Some(b'J') => &[b"JAVA"],
        Some(b'V') => &[b"VIEW-SOURCE", b"VBSCRIPT"],
        _ => &[],
    };
    schemes.iter().any(|scheme| begins_with(url, scheme))
}

/// Longer than any name above.
const NAME_MAX: usize = 14;

/// A name in capitals without NUL, which old browsers pass over; nothing for a long one.
fn plain<'b>(name: &[u8], buffer: &'b mut [u8; NAME_MAX]) -> &'b [u8] {
    let mut len = 0;
    for &byte in name {
        if byte == 0 {
            continue;
        }
        if len == NAME_MAX {
            return &[];
        }
        buffer[len] = upper(byte);
        len += 1;
    }
    &buffer[..len]
}

fn upper(byte: u8) -> u8 {
    byte.to_ascii_uppercase()
}

/// Whether a text begins with capitals, in any case, once its character references are read;
/// what browsers pass over is passed over: white space and controls at the beginning, NUL and
/// line feeds anywhere.
fn begins_with(text: &[u8], capitals: &[u8]) -> bool {
    let mut rest = text;
    let mut expected = capitals.iter();
    let mut begun = false;
    while expected.len() > 0 {
        if rest.is_empty() {
            return false;
        }
        let (code, len) = character(rest);
        rest = &rest[len..];
        if (!begun && code <= 32) || code == 0 || code == 10 {
            continue;
        }
        begun = true;
        // A letter is raised before it is cut to a byte, as libinjection does.
        let code = if matches!(code, 0x61..=0x7a) { code - 32 } else { code };
        if expected.next() != Some(&(code as u8)) {
            return false;
        }
    }
    true
}

/// The first character, a numeric reference read (`&#106;`, `&#x6a`), and its length.
fn character(text: &[u8]) -> (u32, usize) {
    let (base, digits) = match text {
        [b'&', b'#', b'x' | b'X', digits @ ..] => (16, digits),
        [b'&', b'#', digits @ ..] => (10, digits),
        _ => return (u32::from(text[0]), 1),
    };
    let ampersand = (u32::from(b'&'), 1);
    let mut code = 0;
    let mut count = 0;
    for &byte in digits {
        let Some(digit) = char::from(byte).to_digit(base) else {
            break;
        };
        code = code * base + digit;
        count += 1;
        // Beyond Unicode: no reference.
        if code > 0x10_00ff {
            return ampersand;
        }
    }
    if count == 0 {
        return ampersand;
    }
    let semicolon = usize::from(digits.get(count) == Some(&b';'));
    (code, text.len() - digits.len() + count + semicolon)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags() {
        for (name, expected) in [
            ("script", true),
            ("SCR\0IPT", true),
            ("svg", true),
            ("svganything", true),
            ("xsl:x", true),
            ("xml", true),
            ("b", false),
            ("scripts", false),
            ("noscriptnoscript", false),
            ("\0\0\0", false),
            ("", false),
        ] {
            assert_eq!(is_script_tag(name.as_bytes()), expected, "{name:?}");
        }
    }

    #[test]
    fn attributes() {
        use Attribute::*;
        for (name, expected) in [
            ("onclick", Script),
            ("ONx--", Script),
            ("on", Harmless),
            ("once", Harmless),
            ("xmlns:a", Script),
            ("xlink:href", Script),
            ("style", Script),
            ("href", Url),
            ("\0href", Url),
            ("by", Url),
            ("attributeName", Name),
            ("class", Harmless),
            ("a", Harmless),
            ("", Harmless),
        ] {
            assert_eq!(attribute(name.as_bytes()), expected, "{name:?}");
        }
    }

    #[test]
    fn urls() {
        for (url, expected) in [
            ("javascript:alert(1)", true),
            ("java", true),
            ("jav", false),
            (" \t\u{a0}JaVa\nScript:", true),
            ("&#106;ava", true),
            ("&#x6A;ava", true),
            ("&#x6Aava", false),
            ("&#0;&#1;&#32;data:", true),
            ("j&#0;a&#10;va", true),
            ("j&#32;ava", false),
            ("&#x10FFFFF;java", false),
            ("&#;java", false),
            ("&#x;java", false),
            ("&#", false),
            ("&", false),
            ("vbscript:", true),
            ("view-source:x", true),
            ("https://example.com", false),
            ("", false),
        ] {
            assert_eq!(is_script_url(url.as_bytes()), expected, "{url:?}");
        }
    }
}
