//! Whitespace, and the command line's idea of it.

/// C's `isspace`: tab, line feed, vertical tab, form feed, return, space.
pub(super) const fn is(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// What `removeWhitespace` looks for: also both bytes of the no-break space in
/// UTF-8, 0xC2 0xA0, wherever they stand, as ModSecurity v3 does.
pub(super) const fn removed(byte: u8) -> bool {
    is(byte) || matches!(byte, 0xa0 | 0xc2)
}

pub(super) fn trim_left(value: &[u8]) -> &[u8] {
    let from = value.iter().position(|&byte| !is(byte)).unwrap_or(value.len());
    &value[from..]
}

pub(super) fn trim_right(value: &[u8]) -> &[u8] {
    let to = value.iter().rposition(|&byte| !is(byte)).map_or(0, |last| last + 1);
    &value[..to]
}

/// A run of whitespace becomes one space.
pub(super) fn compress(value: &[u8], out: &mut Vec<u8>) {
    let mut within = false;
    for &byte in value {
        let space = is(byte);
        if !space {
            out.push(byte);
        } else if !within {
            out.push(b' ');
        }
        within = space;
    }
}

/// What a shell would make of spaces, quotes and case, roughly: the manual's
/// *cmdLine*. Quotes, backslashes and carets vanish, separators become one
/// space, none before `/` or `(`; letters become small.
pub(super) fn cmd_line(value: &[u8], out: &mut Vec<u8>) {
    let mut space = false;
    for &byte in value {
        match byte {
            b'"' | b'\'' | b'\\' | b'^' => {}
            b' ' | b',' | b';' | b'\t' | b'\r' | b'\n' => {
                if !space {
                    out.push(b' ');
                }
                space = true;
            }
            b'/' | b'(' => {
                if space {
                    out.pop();
                }
                out.push(byte);
                space = false;
            }
            _ => {
                out.push(byte.to_ascii_lowercase());
                space = false;
            }
        }
    }
}
