//! What bounds an inspection, and the rules the engine has of its own.

/// Arguments (query, form fields, JSON values) and file names together.
/// ModSecurity's `SecArgumentsLimit` has the same default.
pub const ARGUMENTS_MAX: usize = 1_000;
/// Objects and arrays inside one another in JSON.
pub const JSON_DEPTH_MAX: usize = 64;
/// Bytes of all header lines of one part of a multipart body.
pub const PART_HEAD_MAX: usize = 4_096;
/// Bytes of names and values kept for one request, in multiples of the body limit:
/// room for the body itself, its values, and what JSON repeats in its names.
pub const KEPT_PER_BODY_LIMIT: usize = 4;
/// Added to the above, for the head.
pub const KEPT_FOR_HEAD: usize = 256 << 10;
/// Bytes of transformed values kept for further rules; beyond, they are made anew.
pub const TRANSFORMED_MAX: usize = 1 << 20;
/// Values reported for one rule on one request.
pub const MATCHES_PER_RULE: usize = 4;
/// Matches reported for one request.
pub const MATCHES_PER_REQUEST: usize = 64;
/// Bytes of a value shown in a report.
pub const SHOWN_MAX: usize = 256;
/// Size of one compiled regular expression, in bytes.
pub const REGEX_SIZE_MAX: usize = 1 << 20;
/// Lazily built automaton of one regular expression, in bytes, each worker.
pub const REGEX_CACHE_MAX: usize = 1 << 20;
/// Rules in all files together.
pub const RULES_MAX: usize = 10_000;

/// The rules the engine has of its own. They deny like others, and `exclude`
/// lets them pass like others.
pub mod builtin {
    /// More arguments, depth or bytes than [`super`] allows: what is beyond was
    /// not inspected. Status 400.
    pub const TOO_MUCH: u64 = 10;
    /// A body that does not parse as its content type says: what a web server
    /// makes of it cannot be known. Status 400.
    pub const UNREADABLE_BODY: u64 = 11;
    /// A body beyond the inspection limit, where the settings refuse it. Status 413.
    pub const BODY_TOO_LARGE: u64 = 12;
    /// Rule files use ids from here on.
    pub const FIRST_FREE: u64 = 100;
}
