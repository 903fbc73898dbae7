//! Messages from a server (55.7, those marked B).

use crate::frame::{Fields, Malformed, message, put_string};
use bytes::BytesMut;

/// What `ReadyForQuery` says of the session's transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TransactionStatus {
    /// `I`: outside.
    #[default]
    Idle,
    /// `T`: inside.
    InTransaction,
    /// `E`: inside one that failed.
    Failed,
}

/// What a server asks of a client that logs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authentication<'a> {
    /// Nothing more.
    Ok,
    /// A clear-text password.
    Cleartext,
    /// An MD5 password.
    Md5,
    /// SASL with one of these mechanisms (each ended by a zero).
    Sasl(&'a [u8]),
    /// The next SASL challenge.
    SaslContinue(&'a [u8]),
    /// SASL's last word.
    SaslFinal(&'a [u8]),
    /// Kerberos, GSSAPI, SSPI and the like, by number.
    Other(i32),
}

/// Reads the body of an authentication request (`R`).
pub fn parse_authentication(body: &[u8]) -> Result<Authentication<'_>, Malformed> {
    let mut fields = Fields(body);
    Ok(match fields.int32("authentication request")? {
        0 => Authentication::Ok,
        3 => Authentication::Cleartext,
        5 => Authentication::Md5,
        10 => Authentication::Sasl(fields.0),
        11 => Authentication::SaslContinue(fields.0),
        12 => Authentication::SaslFinal(fields.0),
        other => Authentication::Other(other),
    })
}

/// Reads the body of `ReadyForQuery` (`Z`).
pub fn parse_ready(body: &[u8]) -> Result<TransactionStatus, Malformed> {
    match body {
        b"I" => Ok(TransactionStatus::Idle),
        b"T" => Ok(TransactionStatus::InTransaction),
        b"E" => Ok(TransactionStatus::Failed),
        [other] => Err(Malformed::Value { field: "transaction status", value: i64::from(*other) }),
        _ => Err(Malformed::Truncated("transaction status")),
    }
}

/// Reads the body of `ParameterStatus` (`S`).
pub fn parse_parameter_status(body: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let mut fields = Fields(body);
    let pair = (fields.string("parameter name")?, fields.string("parameter value")?);
    fields.end()?;
    Ok(pair)
}

/// Reads the body of `BackendKeyData` (`K`): process id and secret.
pub fn parse_key_data(body: &[u8]) -> Result<(i32, i32), Malformed> {
    let mut fields = Fields(body);
    let pair = (fields.int32("process id")?, fields.int32("secret key")?);
    fields.end()?;
    Ok(pair)
}

/// Reads the body of `CommandComplete` (`C`): `INSERT 0 1`, `DISCARD ALL`.
pub fn parse_command_tag(body: &[u8]) -> Result<&[u8], Malformed> {
    Fields(body).string("command tag")
}

/// Reads the body of `DataRow` (`D`): each column's bytes, or none for NULL. At
/// most `limit` columns.
pub fn parse_row(body: &[u8], limit: usize) -> Result<Vec<Option<&[u8]>>, Malformed> {
    let mut fields = Fields(body);
    let count = fields.int16("column count")?;
    if count < 0 || count as usize > limit {
        return Err(Malformed::Value { field: "column count", value: i64::from(count) });
    }
    let mut columns = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let length = fields.int32("column length")?;
        columns.push(match usize::try_from(length) {
            Ok(length) => Some(fields.take(length, "column")?),
            Err(_) if length == -1 => None,
            Err(_) => return Err(Malformed::Value { field: "column length", value: i64::from(length) }),
        });
    }
    fields.end()?;
    Ok(columns)
}

/// Writes `AuthenticationOk`.
pub fn authentication_ok(out: &mut BytesMut) {
    authentication(out, 0, b"");
}

/// Writes `AuthenticationSASL` offering one mechanism.
pub fn authentication_sasl(out: &mut BytesMut, mechanism: &str) {
    let mut list = mechanism.as_bytes().to_vec();
    list.extend_from_slice(&[0, 0]);
    authentication(out, 10, &list);
}

/// Writes `AuthenticationSASLContinue`.
pub fn authentication_sasl_continue(out: &mut BytesMut, data: &[u8]) {
    authentication(out, 11, data);
}

/// Writes `AuthenticationSASLFinal`.
pub fn authentication_sasl_final(out: &mut BytesMut, data: &[u8]) {
    authentication(out, 12, data);
}

fn authentication(out: &mut BytesMut, code: i32, data: &[u8]) {
    message(out, b'R', |out| {
        out.extend_from_slice(&code.to_be_bytes());
        out.extend_from_slice(data);
    });
}

/// Writes `ParameterStatus`.
pub fn parameter_status(out: &mut BytesMut, name: &str, value: &str) {
    message(out, b'S', |out| {
        put_string(out, name.as_bytes());
        put_string(out, value.as_bytes());
    });
}

/// Writes `BackendKeyData`.
pub fn key_data(out: &mut BytesMut, process: i32, secret: i32) {
    message(out, b'K', |out| {
        out.extend_from_slice(&process.to_be_bytes());
        out.extend_from_slice(&secret.to_be_bytes());
    });
}

/// Writes `ReadyForQuery`.
pub fn ready(out: &mut BytesMut, status: TransactionStatus) {
    let letter = match status {
        TransactionStatus::Idle => b"I",
        TransactionStatus::InTransaction => b"T",
        TransactionStatus::Failed => b"E",
    };
    message(out, b'Z', |out| out.extend_from_slice(letter));
}

/// Writes `NegotiateProtocolVersion`: we speak 3.0, and know none of `options`
/// (names that begin with `_pq_.`).
pub fn negotiate_version(out: &mut BytesMut, options: &[&str]) {
    message(out, b'v', |out| {
        out.extend_from_slice(&0i32.to_be_bytes());
        out.extend_from_slice(&(options.len() as u32).to_be_bytes());
        for option in options {
            put_string(out, option.as_bytes());
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::HEADER;

    #[test]
    fn messages_read_back() {
        for status in [TransactionStatus::Idle, TransactionStatus::InTransaction, TransactionStatus::Failed] {
            let mut out = BytesMut::new();
            ready(&mut out, status);
            assert_eq!(parse_ready(&out[HEADER..]), Ok(status));
        }
        let mut out = BytesMut::new();
        parameter_status(&mut out, "TimeZone", "UTC");
        assert_eq!(parse_parameter_status(&out[HEADER..]), Ok((b"TimeZone".as_slice(), b"UTC".as_slice())));
        out.clear();
        key_data(&mut out, -1, 77);
        assert_eq!(parse_key_data(&out[HEADER..]), Ok((-1, 77)));
        out.clear();
        authentication_sasl(&mut out, "SCRAM-SHA-256");
        assert_eq!(
            parse_authentication(&out[HEADER..]),
            Ok(Authentication::Sasl(b"SCRAM-SHA-256\0\0".as_slice()))
        );
    }

    #[test]
    fn rows() {
        let body = [0, 2, 0, 0, 0, 1, b'x', 0xff, 0xff, 0xff, 0xff];
        assert_eq!(parse_row(&body, 2), Ok(vec![Some(b"x".as_slice()), None]));
        assert!(parse_row(&body, 1).is_err());
        assert!(parse_row(&[0, 1, 0, 0, 0, 9, b'x'], 4).is_err());
        assert!(parse_row(&[0xff, 0xff], 4).is_err());
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80)) {
            let _ = parse_authentication(&bytes);
            let _ = parse_ready(&bytes);
            let _ = parse_parameter_status(&bytes);
            let _ = parse_key_data(&bytes);
            let _ = parse_command_tag(&bytes);
            let _ = parse_row(&bytes, 100);
            let _ = crate::ErrorFields::parse(&bytes);
        }
    }
}
