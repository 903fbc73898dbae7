//! Request bodies, read into names and values for the rules to look at.
//!
//! Each processor takes the bytes of one body (or of a query string, or of a
//! `Cookie` line), and hands what it finds to a [`Sink`] in the order of the
//! bytes. Names and values are byte slices: of the input where nothing had to be
//! decoded, of the caller's [`Scratch`] where it had; the sink copies what it
//! keeps. With a warm `Scratch` a benign body is read without an allocation.
//!
//! | function | content type | names |
//! |---|---|---|
//! | [`urlencoded`] | `application/x-www-form-urlencoded`, query strings | as sent |
//! | [`cookies`] | the `Cookie` field | as sent |
//! | [`multipart`] | `multipart/form-data` | the part's `name` |
//! | [`json`] | `application/json` | `json.a.b`, `json.list.array_0` |
//! | [`ndjson`] | `application/x-ndjson` | `json.array_<line>.a` |
//! | [`graphql`] | `application/graphql` | `graphql.query`, `graphql.<field>.<argument>` |
//! | [`graphql_json`] | JSON that carries GraphQL | as JSON, and as GraphQL |
//! | [`grpc`], [`protobuf`] | `application/grpc`, `application/x-protobuf` | `grpc.1.2` |
//! | [`xml::Document`] | `text/xml`, `application/xml` | XPath results; `xml.a.b` on request |
//! | [`decode::Decoder`] | `Content-Encoding: gzip, deflate, br, zstd` | none |
//!
//! **What v3 of ModSecurity does is the measure** wherever rules can see it: the
//! strictness flags and messages of multipart, the names of JSON, what counts as
//! an invalid percent-escape. Where we differ on purpose, the module says so.
//!
//! **Never**: fetches anything, reads a DTD, expands an entity that the document
//! declares, builds a tree of JSON, or panics on what a client sent. Work is
//! linear in the input (XPath: in the nodes a selector visits, and bounded by a
//! budget); memory is bounded by [`Limits`] and by the input's length.
//!
//! **Partial bodies**: where the engine inspects only the first part of a body,
//! `complete` is `false`: the end is then no error, and what the end cut is
//! handed over as far as it was read.
//!
//! Sources: the reference manual of ModSecurity v3 and its regression tests;
//! RFC 7578 and RFC 2046 (multipart), RFC 8259 (JSON), RFC 6265 §4.2 (cookies),
//! XML 1.0 (fifth edition), XPath 1.0, the GraphQL specification (October 2021),
//! gRPC over HTTP/2, Protocol Buffers' encoding, RFC 9110 §8.4 (content codings).

pub mod decode;
mod error;
mod forms;
mod graphql;
mod grpc;
mod json;
mod limits;
mod multipart;
mod scratch;
mod sink;
#[cfg(test)]
mod testing;
pub mod xml;

pub use error::{Error, ErrorKind};
pub use forms::{Form, cookies, urlencoded};
pub use graphql::{graphql, graphql_json};
pub use grpc::{grpc, protobuf};
pub use json::{json, ndjson};
pub use limits::Limits;
pub use multipart::{Flags, Multipart, multipart};
pub use scratch::Scratch;
pub use sink::{File, Full, Sink};
