//! Paths.

/// Removes empty and `.` segments, and each `..` with the segment before it;
/// nothing climbs above an absolute path's root, and a relative one keeps the
/// `..` that lead out of it. With `windows`, a backslash separates as well and
/// comes out as `/`.
///
/// Only `.` and `..` themselves are special; ModSecurity v3 also takes a
/// segment that merely ends in two dots (`bar..`) for a step back.
pub(super) fn normalize(value: &[u8], windows: bool, out: &mut Vec<u8>) {
    let separates = |byte: &u8| *byte == b'/' || (windows && *byte == b'\\');
    let absolute = value.first().is_some_and(separates);
    let trailing = value.last().is_some_and(separates);
    if absolute {
        out.push(b'/');
    }
    let root = out.len();
    // What stands before it is `..` that nothing can take back.
    let mut floor = root;
    for segment in value.split(separates) {
        match segment {
            b"" | b"." => {}
            b".." if out.len() > floor => {
                let cut = memchr::memrchr(b'/', &out[floor..]).unwrap_or(0);
                out.truncate(floor + cut);
            }
            b".." if absolute => {}
            _ => {
                if out.len() > root {
                    out.push(b'/');
                }
                out.extend_from_slice(segment);
                if segment == b".." {
                    floor = out.len();
                }
            }
        }
    }
    if trailing && out.len() > root {
        out.push(b'/');
    }
}
