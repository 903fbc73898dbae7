//! What SecLang does to a value, and what it asks of one: transformations and
//! the operators that look at bytes alone.
//!
//! Values are bytes, never text: nothing here is lossy, and nothing fails on
//! what is not UTF-8. Each transformation also says, as byte sets, what it can
//! change and where its output's bytes come from ([`Transformation::triggers`],
//! [`Transformation::sources`]), which lets the engine skip rules without
//! running them.
//!
//! Never: I/O, state between calls. All is linear in the value's length, but for
//! [`schema`], which counts its steps; the output of a transformation is at most
//! four times the value (or a digest).
//!
//! Sources: the ModSecurity reference manual (v3), *Transformation functions*
//! and *Operators*; ModSecurity v3's and Coraza's behaviour, as their own unit
//! cases fix it. Where the two differ the cases decide, and the difference is
//! noted at the transformation.

mod byte_set;
pub use byte_set::ByteSet;

mod transformation;
pub use transformation::{Context, Transformation};
mod network;
pub use network::{IpSet, Network, NetworkError};
mod national_id;
pub use national_id::Nid;
pub mod operator;
pub mod schema;
mod unicode_map;
pub use unicode_map::UnicodeMap;
