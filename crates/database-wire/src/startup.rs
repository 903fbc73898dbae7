//! The first packet of a connection, which has no tag (55.7: StartupMessage,
//! SSLRequest, GSSENCRequest, CancelRequest).

use crate::frame::{Fields, Malformed, put_string};
use bytes::BytesMut;

/// The largest start-up packet, as PostgreSQL's `MAX_STARTUP_PACKET_LENGTH`.
pub const MAX_STARTUP: usize = 10_000;

const PROTOCOL_3_0: i32 = 196_608;
const CANCEL: i32 = 80_877_102;
const SSL: i32 = 80_877_103;
const GSS: i32 = 80_877_104;

/// What a client opens with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Startup {
    /// May we speak TLS?
    Ssl,
    /// May we speak GSSAPI encryption?
    Gss,
    /// Cancel what the session with this key is doing.
    Cancel {
        /// The process id given in `BackendKeyData`.
        process: i32,
        /// The secret given there.
        secret: i32,
    },
    /// A session.
    Session {
        /// The minor version asked for; above 0 it is answered with `NegotiateProtocolVersion`.
        minor: u16,
        /// `user`, `database`, and settings, in the order sent.
        parameters: Vec<(String, String)>,
    },
}

/// The size of the packet at the front of `buffer` once its length is there.
pub fn packet_size(buffer: &[u8]) -> Result<Option<usize>, Malformed> {
    let Some(head) = buffer.first_chunk::<4>() else { return Ok(None) };
    let length = i64::from(i32::from_be_bytes(*head));
    if !(8..=MAX_STARTUP as i64).contains(&length) {
        return Err(Malformed::Length { tag: 0, length });
    }
    Ok(Some(length as usize))
}

/// Reads a whole packet, its length included.
pub fn parse(packet: &[u8]) -> Result<Startup, Malformed> {
    let mut fields = Fields(packet);
    let _length = fields.int32("length")?;
    match fields.int32("protocol version")? {
        SSL => fields.end().map(|()| Startup::Ssl),
        GSS => fields.end().map(|()| Startup::Gss),
        CANCEL => {
            let process = fields.int32("process id")?;
            let secret = fields.int32("secret key")?;
            fields.end()?;
            Ok(Startup::Cancel { process, secret })
        }
        version if version >> 16 == 3 => {
            let mut parameters = Vec::new();
            loop {
                let name = text(fields.string("parameter name")?, "parameter name")?;
                if name.is_empty() {
                    fields.end()?;
                    return Ok(Startup::Session { minor: version as u16, parameters });
                }
                parameters.push((name, text(fields.string("parameter value")?, "parameter value")?));
            }
        }
        version => Err(Malformed::Value { field: "protocol version", value: i64::from(version >> 16) }),
    }
}

/// Names and values must be UTF-8 for us: what is not cannot name a login of ours.
fn text(bytes: &[u8], field: &'static str) -> Result<String, Malformed> {
    String::from_utf8(bytes.to_vec()).map_err(|_| Malformed::Truncated(field))
}

/// Writes a StartupMessage.
pub fn session(out: &mut BytesMut, parameters: &[(String, String)]) {
    packet(out, PROTOCOL_3_0, |out| {
        for (name, value) in parameters {
            put_string(out, name.as_bytes());
            put_string(out, value.as_bytes());
        }
        out.extend_from_slice(&[0]);
    });
}

/// Writes a CancelRequest.
pub fn cancel(out: &mut BytesMut, process: i32, secret: i32) {
    packet(out, CANCEL, |out| {
        out.extend_from_slice(&process.to_be_bytes());
        out.extend_from_slice(&secret.to_be_bytes());
    });
}

/// Writes an SSLRequest.
pub fn ssl(out: &mut BytesMut) {
    packet(out, SSL, |_| {});
}

fn packet(out: &mut BytesMut, code: i32, body: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&code.to_be_bytes());
    body(out);
    let length = (out.len() - start) as u32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_read_back() {
        let parameters: Vec<(String, String)> =
            [("user", "shop"), ("database", "shop"), ("options", "-c geqo=off")]
                .map(|(n, v)| (n.into(), v.into()))
                .into();
        let mut out = BytesMut::new();
        session(&mut out, &parameters);
        assert_eq!(packet_size(&out), Ok(Some(out.len())));
        assert_eq!(parse(&out), Ok(Startup::Session { minor: 0, parameters }));

        out.clear();
        cancel(&mut out, 7, -9);
        assert_eq!(parse(&out), Ok(Startup::Cancel { process: 7, secret: -9 }));
        out.clear();
        ssl(&mut out);
        assert_eq!(parse(&out), Ok(Startup::Ssl));
    }

    #[test]
    fn impossible_packets_are_refused() {
        for length in [0i32, 7, -1, 10_001, i32::MAX] {
            assert!(packet_size(&length.to_be_bytes()).is_err(), "{length}");
        }
        let v2 = [0, 0, 0, 8, 0, 2, 0, 0];
        assert_eq!(parse(&v2), Err(Malformed::Value { field: "protocol version", value: 2 }));
        let unterminated = [0, 0, 0, 12, 0, 3, 0, 0, b'u', b's', b'e', b'r'];
        assert!(parse(&unterminated).is_err());
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80)) {
            let _ = packet_size(&bytes);
            let _ = parse(&bytes);
            for version in [PROTOCOL_3_0, CANCEL, SSL, GSS] {
                let mut packet = vec![0; 4];
                packet.extend(version.to_be_bytes());
                packet.extend(&bytes);
                let _ = parse(&packet);
            }
        }
    }
}
