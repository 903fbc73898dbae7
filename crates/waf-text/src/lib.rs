//! What SecLang does to a value, and what it asks of one: transformations and
//! the operators that look at bytes alone.

mod byte_set;
pub use byte_set::ByteSet;

mod transformation;
pub use transformation::Transformation;
mod network;
pub use network::Network;
mod national_id;
pub use national_id::Nid;
mod unicode_map;
pub use unicode_map::UnicodeMap;
