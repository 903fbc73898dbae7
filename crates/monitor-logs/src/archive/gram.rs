//! A frame's signature: which runs of five bytes its text may have.
//!
//! One bit for each of them (one hash, no more: a text that is searched for has many
//! runs, and all must be there). ASCII letters are taken as small ones, so that a
//! search that ignores case can use it, too. Runs across line ends are left out.

/// Bytes of a run: with fewer, addresses would have all of theirs in every frame.
pub(super) const RUN: usize = 5;

/// log2 of the bits it is built with; halved while it is emptier than it need be.
const BITS: u32 = 18;

/// Bytes of the largest.
pub(super) const MAX_BYTES: usize = 1 << (BITS - 3);

/// Bytes of the smallest.
const MIN_BYTES: usize = 128;

/// The signature of lines.
pub(super) fn signature(text: &[u8]) -> Vec<u8> {
    let mut bits = vec![0_u64; MAX_BYTES / 8];
    let mut run = 0_u64;
    let mut since = 0; // Bytes of this line that are in `run`.
    for byte in text {
        if *byte == b'\n' {
            since = 0;
            continue;
        }
        run = (run << 8 | u64::from(byte.to_ascii_lowercase())) & MASK;
        since += 1;
        if since >= RUN {
            let at = hash(run);
            bits[at >> 6] |= 1 << (at & 63);
        }
    }
    // Halves are laid over one another while less than a third of the bits would be set.
    let mut set: u32 = bits.iter().map(|word| word.count_ones()).sum();
    while bits.len() * 8 > MIN_BYTES && (set as usize) * 6 < bits.len() * 64 {
        let half = bits.len() / 2;
        let (low, high) = bits.split_at_mut(half);
        low.iter_mut().zip(high).for_each(|(low, high)| *low |= *high);
        bits.truncate(half);
        set = bits.iter().map(|word| word.count_ones()).sum();
    }
    bits.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// What a text must have to be in a frame: the hashes of its runs.
pub(super) fn runs(text: &[u8]) -> Vec<usize> {
    text.windows(RUN)
        .filter(|window| !window.contains(&b'\n'))
        .map(|window| {
            hash(window.iter().fold(0, |run, byte| run << 8 | u64::from(byte.to_ascii_lowercase())))
        })
        .collect()
}

/// Whether a frame with this signature may have all these runs.
pub(super) fn may_have(signature: &[u8], runs: &[usize]) -> bool {
    if !signature.len().is_power_of_two() {
        return true; // Nothing that we wrote: look inside.
    }
    let mask = signature.len() * 8 - 1;
    runs.iter().all(|run| signature[(run & mask) >> 3] & 1 << (run & 7) != 0)
}

const MASK: u64 = (1 << (8 * RUN)) - 1;

/// Fibonacci hashing: the top bits of a product with 2^64 / φ.
fn hash(run: u64) -> usize {
    (run.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - BITS)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_never_passed_over() {
        let mut text = Vec::new();
        for n in 0..4_000_u64 {
            let line = format!("10.{}.{}.7 GET /Orders/{:x} 200\n", n % 50, n % 200, n * 2_654_435_761);
            text.extend_from_slice(line.as_bytes());
        }
        let signature = signature(&text);
        for line in text.split(|b| *b == b'\n') {
            for length in [5, 9, 20] {
                for part in line.windows(length.min(line.len().max(1))).step_by(3) {
                    assert!(may_have(&signature, &runs(part)));
                }
            }
        }
        assert!(may_have(&signature, &runs(b"ORDERS/")), "case is ignored");
        assert!(may_have(&signature, &runs(b"abc")), "a short text says nothing");
        let absent = (0..1_000_u64)
            .filter(|n| may_have(&signature, &runs(format!("192.168.{}.{}", n % 256, n / 4).as_bytes())));
        assert!(absent.count() < 20, "what is not there is nearly always passed over");
        assert_eq!(super::signature(b"").len(), MIN_BYTES);
        assert!(
            !may_have(&super::signature(b"a line\nof two"), &runs(b"line\nof"))
                || runs(b"line\nof").is_empty()
        );
    }
}
