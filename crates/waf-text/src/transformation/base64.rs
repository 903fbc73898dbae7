//! Base64 (RFC 4648 §4).

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const NONE: u8 = 255;

/// Each byte's six bits, or [`NONE`].
static VALUES: [u8; 256] = values(false);
/// The same, and RFC 4648 §5's `-` and `_` for `+` and `/`.
static VALUES_EXT: [u8; 256] = values(true);

const fn values(url_safe: bool) -> [u8; 256] {
    let mut table = [NONE; 256];
    let mut i = 0;
    while i < 64 {
        table[ALPHABET[i] as usize] = i as u8;
        i += 1;
    }
    if url_safe {
        table[b'-' as usize] = 62;
        table[b'_' as usize] = 63;
    }
    table
}

pub(super) fn encode(value: &[u8], out: &mut Vec<u8>) {
    out.reserve(value.len().div_ceil(3) * 4);
    for three in value.chunks(3) {
        let bits = u32::from(three[0]) << 16
            | u32::from(three.get(1).copied().unwrap_or(0)) << 8
            | u32::from(three.get(2).copied().unwrap_or(0));
        for place in 0..4 {
            if place > three.len() {
                out.push(b'=');
            } else {
                out.push(ALPHABET[(bits >> (18 - 6 * place) & 63) as usize]);
            }
        }
    }
}

/// Up to the first byte that is not of the alphabet, but for line ends, which
/// are skipped; padding is not needed. So Coraza and ModSecurity 2; v3 answers
/// nothing for what is not valid throughout, which one stray byte evades.
pub(super) fn decode(value: &[u8], out: &mut Vec<u8>) {
    let mut sink = Bits::default();
    for &byte in value {
        match VALUES[usize::from(byte)] {
            NONE if byte == b'\r' || byte == b'\n' => {}
            NONE => break,
            six => sink.push(six, out),
        }
    }
}

/// Whatever is not of the alphabet is skipped. As in v3, padding after the
/// first byte of four means that the value is no Base64: it becomes nothing.
pub(super) fn decode_ext(value: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    let mut sink = Bits::default();
    for &byte in value {
        match VALUES_EXT[usize::from(byte)] {
            NONE if byte == b'=' && sink.place == 1 => return out.truncate(start),
            NONE => {}
            six => sink.push(six, out),
        }
    }
}

/// Six bits at a time into bytes.
#[derive(Default)]
struct Bits {
    /// Those not yet written, at the low end.
    held: u32,
    /// How many sextets of the present four have come.
    place: u8,
}

impl Bits {
    fn push(&mut self, six: u8, out: &mut Vec<u8>) {
        self.held = self.held << 6 | u32::from(six);
        match self.place {
            0 => {}
            1 => out.push((self.held >> 4) as u8),
            2 => out.push((self.held >> 2) as u8),
            _ => out.push(self.held as u8),
        }
        self.place = (self.place + 1) % 4;
    }
}
