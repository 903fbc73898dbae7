//! Errors and notices: SQLSTATE, severity, message, detail, hint (55.8 "Error
//! and Notice Message Fields", appendix A "PostgreSQL Error Codes").

use crate::frame::{Fields, Malformed, message, put_string};
use bytes::BytesMut;

/// The SQLSTATEs that the router itself sends.
pub mod sqlstate {
    /// Cannot reach the server.
    pub const CONNECTION_FAILURE: &str = "08006";
    /// Whether the transaction took effect is not known.
    pub const TRANSACTION_RESOLUTION_UNKNOWN: &str = "08007";
    /// The client broke the protocol.
    pub const PROTOCOL_VIOLATION: &str = "08P01";
    /// Not built.
    pub const FEATURE_NOT_SUPPORTED: &str = "0A000";
    /// Wrong password.
    pub const INVALID_PASSWORD: &str = "28P01";
    /// Not allowed to log in.
    pub const INVALID_AUTHORIZATION: &str = "28000";
    /// No such prepared statement.
    pub const INVALID_STATEMENT_NAME: &str = "26000";
    /// Too many sessions.
    pub const TOO_MANY_CONNECTIONS: &str = "53300";
    /// Ended by the operator.
    pub const ADMIN_SHUTDOWN: &str = "57P01";
    /// Not now.
    pub const CANNOT_CONNECT_NOW: &str = "57P03";
    /// A write on a server that only reads.
    pub const READ_ONLY_TRANSACTION: &str = "25006";
    /// A replica cancelled a read that stood in the way of replay.
    pub const SERIALIZATION_FAILURE: &str = "40001";
    /// Cancelled by the client.
    pub const QUERY_CANCELED: &str = "57014";
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The statement failed; the session goes on.
    Error,
    /// The session ends.
    Fatal,
}

/// An error that we send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Statement or session.
    pub severity: Severity,
    /// From [`sqlstate`].
    pub code: &'static str,
    /// What happened, lower case.
    pub message: String,
    /// What to do; empty where nothing is known.
    pub hint: String,
}

impl Report {
    /// An error that ends the statement.
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, code, message: message.into(), hint: String::new() }
    }

    /// An error that ends the session.
    pub fn fatal(code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Fatal, code, message: message.into(), hint: String::new() }
    }

    /// The same with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// Writes `ErrorResponse`.
    pub fn write(&self, out: &mut BytesMut) {
        let severity: &[u8] = match self.severity {
            Severity::Error => b"ERROR",
            Severity::Fatal => b"FATAL",
        };
        message(out, b'E', |out| {
            let mut field = |letter: u8, value: &[u8]| {
                out.extend_from_slice(&[letter]);
                put_string(out, value);
            };
            field(b'S', severity);
            field(b'V', severity);
            field(b'C', self.code.as_bytes());
            field(b'M', self.message.as_bytes());
            if !self.hint.is_empty() {
                field(b'H', self.hint.as_bytes());
            }
            out.extend_from_slice(&[0]);
        });
    }
}

/// The fields of an error or notice that we read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorFields<'a> {
    /// The severity, never translated.
    pub severity: &'a [u8],
    /// The SQLSTATE, five characters.
    pub code: &'a [u8],
    /// The message.
    pub message: &'a [u8],
}

impl<'a> ErrorFields<'a> {
    /// Reads the body of `ErrorResponse` or `NoticeResponse`; fields that we do not know are passed over.
    pub fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut fields = Fields(body);
        let mut found = Self::default();
        loop {
            let letter = fields.byte("error field")?;
            if letter == 0 {
                return Ok(found);
            }
            let value = fields.string("error field's value")?;
            match letter {
                b'V' => found.severity = value,
                b'C' => found.code = value,
                b'M' => found.message = value,
                _ => {}
            }
        }
    }

    /// `SQLSTATE message`, for a log line or another error; cut to 300 characters, escaped.
    pub fn describe(&self) -> String {
        let message: String = String::from_utf8_lossy(self.message).chars().take(300).collect();
        format!("{} ({})", message.escape_debug(), String::from_utf8_lossy(self.code).escape_debug())
    }

    /// The SQLSTATE's class for a metric: two characters of the alphabet it is made of, or `??`.
    pub fn class(&self) -> &'a str {
        match self.code {
            [a, b, ..] if a.is_ascii_alphanumeric() && b.is_ascii_alphanumeric() => {
                std::str::from_utf8(&self.code[..2]).unwrap_or("??")
            }
            _ => "??",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::HEADER;

    #[test]
    fn reports_read_back() {
        let mut out = BytesMut::new();
        Report::fatal(sqlstate::CANNOT_CONNECT_NOW, "the primary is away").hint("wait").write(&mut out);
        let fields = ErrorFields::parse(&out[HEADER..]).unwrap();
        assert_eq!(fields.severity, b"FATAL");
        assert_eq!(fields.code, b"57P03");
        assert_eq!(fields.class(), "57");
        assert_eq!(fields.describe(), "the primary is away (57P03)");
    }
}
