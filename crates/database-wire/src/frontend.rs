//! Messages from a client (55.7, those marked F).

use crate::frame::{Fields, Malformed, message, put_string};
use bytes::BytesMut;

/// A statement or a portal, in `Describe` and `Close`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// `S`.
    Statement,
    /// `P`.
    Portal,
}

/// A message from a client. Names and statements are bytes in the client's encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frontend<'a> {
    /// `Q`: one string of statements.
    Query {
        /// The string.
        sql: &'a [u8],
    },
    /// `P`: prepare.
    Parse {
        /// The statement's name; empty is the unnamed one.
        name: &'a [u8],
        /// The statement.
        sql: &'a [u8],
        /// The count and object ids of parameter types, as sent.
        types: &'a [u8],
    },
    /// `B`: make a portal of a statement and values.
    Bind {
        /// The portal's name.
        portal: &'a [u8],
        /// The statement's name.
        statement: &'a [u8],
        /// Formats and values, as sent.
        values: &'a [u8],
    },
    /// `D`.
    Describe(Target, &'a [u8]),
    /// `E`: run a portal.
    Execute {
        /// The portal's name.
        portal: &'a [u8],
        /// Rows at most; 0 means all.
        max_rows: i32,
    },
    /// `C`.
    Close(Target, &'a [u8]),
    /// `S`: the end of a batch.
    Sync,
    /// `H`: send what there is.
    Flush,
    /// `F`: the old function call.
    FunctionCall,
    /// `d`.
    CopyData,
    /// `c`.
    CopyDone,
    /// `f`.
    CopyFail,
    /// `p`: a password or SASL message.
    Password(&'a [u8]),
    /// `X`: the session ends.
    Terminate,
}

/// Whether a client may send messages with this tag once its session runs.
pub const fn is_known(tag: u8) -> bool {
    matches!(tag, b'Q' | b'P' | b'B' | b'D' | b'E' | b'C' | b'S' | b'H' | b'F' | b'd' | b'c' | b'f' | b'X')
}

/// Reads a message's body.
pub fn parse(tag: u8, body: &[u8]) -> Result<Frontend<'_>, Malformed> {
    let mut fields = Fields(body);
    let parsed = match tag {
        b'Q' => Frontend::Query { sql: fields.string("statement")? },
        b'P' => {
            let name = fields.string("statement name")?;
            let sql = fields.string("statement")?;
            let types = fields.0;
            let count = fields.int16("parameter type count")?;
            if count < 0 {
                return Err(Malformed::Value { field: "parameter type count", value: i64::from(count) });
            }
            fields.take(count as usize * 4, "parameter types")?;
            Frontend::Parse { name, sql, types }
        }
        b'B' => {
            let portal = fields.string("portal name")?;
            let statement = fields.string("statement name")?;
            // PostgreSQL reads the values; a mistake in them is its to report.
            let values = fields.take(fields.0.len(), "values")?;
            Frontend::Bind { portal, statement, values }
        }
        b'D' => {
            let (target, name) = target(&mut fields)?;
            Frontend::Describe(target, name)
        }
        b'C' => {
            let (target, name) = target(&mut fields)?;
            Frontend::Close(target, name)
        }
        b'E' => {
            Frontend::Execute { portal: fields.string("portal name")?, max_rows: fields.int32("row limit")? }
        }
        b'S' => Frontend::Sync,
        b'H' => Frontend::Flush,
        b'X' => Frontend::Terminate,
        b'c' => Frontend::CopyDone,
        b'F' | b'd' | b'f' | b'p' => {
            let body = fields.take(fields.0.len(), "body")?;
            match tag {
                b'F' => Frontend::FunctionCall,
                b'd' => Frontend::CopyData,
                b'f' => Frontend::CopyFail,
                _ => Frontend::Password(body),
            }
        }
        other => return Err(Malformed::Unexpected(other)),
    };
    fields.end()?;
    Ok(parsed)
}

fn target<'a>(fields: &mut Fields<'a>) -> Result<(Target, &'a [u8]), Malformed> {
    let target = match fields.byte("target")? {
        b'S' => Target::Statement,
        b'P' => Target::Portal,
        other => return Err(Malformed::Value { field: "target", value: i64::from(other) }),
    };
    Ok((target, fields.string("name")?))
}

/// Writes `Query`.
pub fn query(out: &mut BytesMut, sql: &str) {
    message(out, b'Q', |out| put_string(out, sql.as_bytes()));
}

/// Writes `Parse`; `types` as in [`Frontend::Parse`], `&[0, 0]` for none.
pub fn parse_message(out: &mut BytesMut, name: &[u8], sql: &[u8], types: &[u8]) {
    message(out, b'P', |out| {
        put_string(out, name);
        put_string(out, sql);
        out.extend_from_slice(types);
    });
}

/// Writes `Bind`; `values` as in [`Frontend::Bind`], [`NO_VALUES`] for none.
pub fn bind(out: &mut BytesMut, portal: &[u8], statement: &[u8], values: &[u8]) {
    message(out, b'B', |out| {
        put_string(out, portal);
        put_string(out, statement);
        out.extend_from_slice(values);
    });
}

/// No parameter formats, no values, no result formats (all text).
pub const NO_VALUES: &[u8] = &[0, 0, 0, 0, 0, 0];

/// Writes `Describe`.
pub fn describe(out: &mut BytesMut, target: Target, name: &[u8]) {
    message(out, b'D', |out| put_target(out, target, name));
}

/// Writes `Close`.
pub fn close(out: &mut BytesMut, target: Target, name: &[u8]) {
    message(out, b'C', |out| put_target(out, target, name));
}

fn put_target(out: &mut BytesMut, target: Target, name: &[u8]) {
    out.extend_from_slice(match target {
        Target::Statement => b"S",
        Target::Portal => b"P",
    });
    put_string(out, name);
}

/// Writes `Execute`.
pub fn execute(out: &mut BytesMut, portal: &[u8], max_rows: i32) {
    message(out, b'E', |out| {
        put_string(out, portal);
        out.extend_from_slice(&max_rows.to_be_bytes());
    });
}

/// Writes `Sync`.
pub fn sync(out: &mut BytesMut) {
    message(out, b'S', |_| {});
}

/// Writes `Terminate`.
pub fn terminate(out: &mut BytesMut) {
    message(out, b'X', |_| {});
}

/// Writes `SASLInitialResponse`.
pub fn sasl_initial(out: &mut BytesMut, mechanism: &str, response: &[u8]) {
    message(out, b'p', |out| {
        put_string(out, mechanism.as_bytes());
        out.extend_from_slice(&(response.len() as u32).to_be_bytes());
        out.extend_from_slice(response);
    });
}

/// Writes `SASLResponse`.
pub fn sasl_response(out: &mut BytesMut, response: &[u8]) {
    message(out, b'p', |out| out.extend_from_slice(response));
}

/// Reads the body of a `SASLInitialResponse`: mechanism and response.
pub fn parse_sasl_initial(body: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let mut fields = Fields(body);
    let mechanism = fields.string("mechanism")?;
    let length = fields.int32("response length")?;
    let length = usize::try_from(length)
        .map_err(|_| Malformed::Value { field: "response length", value: i64::from(length) })?;
    let response = fields.take(length, "response")?;
    fields.end()?;
    Ok((mechanism, response))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::HEADER;

    #[test]
    fn messages_read_back() {
        let mut out = BytesMut::new();
        query(&mut out, "select 1");
        assert_eq!(parse(out[0], &out[HEADER..]), Ok(Frontend::Query { sql: b"select 1" }));
        out.clear();
        parse_message(&mut out, b"s1", b"select $1", &[0, 1, 0, 0, 0, 23]);
        let expected = Frontend::Parse { name: b"s1", sql: b"select $1", types: &[0, 1, 0, 0, 0, 23] };
        assert_eq!(parse(out[0], &out[HEADER..]), Ok(expected));
        out.clear();
        bind(&mut out, b"", b"s1", NO_VALUES);
        let expected = Frontend::Bind { portal: b"", statement: b"s1", values: NO_VALUES };
        assert_eq!(parse(out[0], &out[HEADER..]), Ok(expected));
        out.clear();
        close(&mut out, Target::Portal, b"c1");
        assert_eq!(parse(out[0], &out[HEADER..]), Ok(Frontend::Close(Target::Portal, b"c1")));
        out.clear();
        execute(&mut out, b"", 5);
        assert_eq!(parse(out[0], &out[HEADER..]), Ok(Frontend::Execute { portal: b"", max_rows: 5 }));
        out.clear();
        sasl_initial(&mut out, "SCRAM-SHA-256", b"n,,n=,r=x");
        assert_eq!(
            parse_sasl_initial(&out[HEADER..]),
            Ok((b"SCRAM-SHA-256".as_slice(), b"n,,n=,r=x".as_slice()))
        );
    }

    #[test]
    fn a_name_with_a_zero_cannot_smuggle_fields() {
        let mut out = BytesMut::new();
        parse_message(&mut out, b"a\0select 2", b"select 1", &[0, 0]);
        let expected = Frontend::Parse { name: b"a", sql: b"select 1", types: &[0, 0] };
        assert_eq!(parse(out[0], &out[HEADER..]), Ok(expected));
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(
            tag in proptest::prelude::any::<u8>(),
            bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80),
        ) {
            let _ = parse(tag, &bytes);
            let _ = parse_sasl_initial(&bytes);
            for tag in *b"QPBDECSHFdcfpX" {
                let _ = parse(tag, &bytes);
            }
        }
    }
}
