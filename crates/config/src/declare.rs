//! How a key is declared: once, as a small document, by `table!`.
//!
//! From one declaration come the field of the typed configuration, the reader
//! with its messages, the JSON schema and the reference. Adding a key is adding
//! one entry to a `table!` under `keys/`.

use crate::read::Value;

/// A key as it is documented.
#[derive(Debug)]
pub struct Key {
    /// As it is written in the file.
    pub name: &'static str,
    /// What it takes.
    pub kind: fn() -> Kind,
    /// What holds when it is not written.
    pub presence: Presence,
    /// The least and the greatest value, as written in the file.
    pub range: Option<fn() -> (String, String)>,
    /// What it means.
    pub meaning: &'static str,
    /// Why one would write or change it.
    pub why: &'static str,
    /// A line of the file.
    pub example: &'static str,
}

/// What holds when a key is not written.
#[derive(Debug)]
pub enum Presence {
    /// The file is refused.
    Required,
    /// Nothing, or what the meaning says.
    Optional,
    /// This value, as it would be written.
    Default(fn() -> String),
    /// The defaults of each key of an inline table.
    Nested,
}

/// A table of the file as it is documented.
#[derive(Debug)]
pub struct TableDoc {
    /// `[pool.NAME]`, or the key that an inline table is the value of.
    pub title: &'static str,
    /// What it is for.
    pub about: &'static str,
    /// Its keys, in the order of the reference.
    pub keys: &'static [Key],
    /// Keys that later versions bring, with what to do until then.
    pub later: &'static [(&'static str, &'static str)],
}

/// What a value looks like.
#[derive(Clone, Debug)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Integer {
        /// The least.
        min: i64,
        /// The greatest.
        max: i64,
    },
    /// A number, with or without a fraction.
    Number,
    /// One of a few whole numbers.
    Codes(&'static [i64]),
    /// A string of some form.
    Text {
        /// What the string is, with its article: `a duration`.
        what: &'static str,
        /// As written in the file.
        sample: &'static str,
    },
    /// One of a few strings, each with its meaning.
    Choice(&'static [(&'static str, &'static str)]),
    /// A list of one kind.
    List(Box<Kind>),
    /// A table whose keys are free.
    Map {
        /// What the keys are.
        keys: &'static str,
        /// What the values are.
        values: Box<Kind>,
    },
    /// An inline table.
    Table(&'static TableDoc),
    /// One of a kind, or a list of them.
    OneOrMore(Box<Kind>),
    /// Any of several.
    OneOf(Vec<Kind>),
}

impl Kind {
    /// The same without an example, for where there is little room.
    pub fn brief(&self) -> String {
        match self {
            Self::Text { what, .. } => (*what).to_owned(),
            Self::List(item) => format!("a list, each {}", item.brief()),
            Self::OneOrMore(item) => format!("{}, or a list of these", item.brief()),
            Self::Map { keys, values } => format!("a table from {keys} to {}", values.brief()),
            Self::OneOf(kinds) => one_of(kinds.iter().map(Self::brief)),
            Self::Bool
            | Self::Integer { .. }
            | Self::Number
            | Self::Codes(_)
            | Self::Choice(_)
            | Self::Table(_) => self.describe(),
        }
    }

    /// For messages and the reference: `an integer`, `a list of host names`.
    pub fn describe(&self) -> String {
        match self {
            Self::Bool => "`true` or `false`".to_owned(),
            Self::Integer { .. } => "an integer".to_owned(),
            Self::Number => "a number".to_owned(),
            Self::Codes(codes) => one_of(codes.iter().map(|code| format!("`{code}`"))),
            Self::Text { what, sample } => format!("{what} such as `{sample}`"),
            Self::Choice(options) => one_of(options.iter().map(|(name, _)| format!("`\"{name}\"`"))),
            Self::List(item) => format!("a list, each {}", item.describe()),
            Self::Map { keys, values } => format!("a table from {keys} to {}", values.describe()),
            Self::Table(doc) => {
                let required = doc.keys.iter().filter(|key| matches!(key.presence, Presence::Required));
                let shown: Vec<&str> = required.map(|key| key.name).collect();
                match shown.is_empty() {
                    true => "a table `{ … }`".to_owned(),
                    false => format!("a table `{{ {} = … }}`", shown.join(" = …, ")),
                }
            }
            Self::OneOrMore(item) => format!("{}, or a list of these", item.describe()),
            Self::OneOf(kinds) => one_of(kinds.iter().map(Kind::describe)),
        }
    }
}

fn one_of(parts: impl Iterator<Item = String>) -> String {
    let parts: Vec<String> = parts.collect();
    match parts.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        Some((last, _)) => last.clone(),
        None => String::new(),
    }
}

/// A value as it would be written in the file.
pub(crate) fn shown<T: Value>(value: T) -> String {
    value.show()
}

/// Declares a table of the file: a struct whose fields are keys.
///
/// ```text
/// table! {
///     /// What the table is for.
///     pub struct Firewall: "[firewall]";
///
///     /// What the key means.
///     default revert_after: Millis = defaults::REVERT_AFTER, in Millis(5_000)..=Millis(3_600_000);
///     why "…"; example r#"revert_after = "5m""#;
/// }
/// ```
///
/// Before a key stands `required`, `optional` (the field is an `Option`),
/// `default` (with `= value`) or `nested` (an inline table that is read as empty
/// where it is absent). `as "for"` names a key that Rust would not have.
macro_rules! table {
    (
        $(#[doc = $about:literal])+
        pub struct $Name:ident: $title:literal $(, later { $($later:literal: $until:literal),+ $(,)? })?;
        $(
            $(#[doc = $meaning:literal])+
            $presence:ident $field:ident $(as $key:literal)?: $ty:ty $(= $default:expr)? $(, in $range:expr)?;
            why $why:literal; example $example:literal;
        )+
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, PartialEq)]
        pub struct $Name {
            $(
                $(#[doc = $meaning])+
                pub $field: crate::declare::field_type!($presence $ty),
            )+
        }

        impl crate::read::Table for $Name {
            const DOC: &'static crate::declare::TableDoc = &crate::declare::TableDoc {
                title: $title,
                about: concat!($($about, "\n"),+),
                keys: &[$(
                    crate::declare::Key {
                        name: crate::declare::key_name!($field $($key)?),
                        kind: <$ty as crate::read::Value>::kind,
                        presence: crate::declare::presence!($presence $ty $(= $default)?),
                        range: crate::declare::range_doc!($ty $(, $range)?),
                        meaning: concat!($($meaning, "\n"),+),
                        why: $why,
                        example: $example,
                    },
                )+],
                later: &[$($(($later, $until)),+)?],
            };

            fn read_table(
                table: crate::read::TableNode<'_>,
                cx: &mut crate::read::Context,
            ) -> Option<Self> {
                use crate::declare::{key_name, range_check, read_field};
                cx.refuse_unknown(table, Self::DOC);
                $(
                    let $field = {
                        let mut field: crate::read::Field<'_, '_, $ty> =
                            crate::read::Field::new(table, Self::DOC, key_name!($field $($key)?), cx);
                        field.check = range_check!($($range)?);
                        read_field!($presence field $(, $default)?)
                    };
                )+
                Some(Self { $($field: $field?),+ })
            }
        }

        impl crate::read::Value for $Name {
            fn kind() -> crate::declare::Kind {
                crate::declare::Kind::Table(<Self as crate::read::Table>::DOC)
            }

            fn read(node: crate::read::Node<'_>, cx: &mut crate::read::Context) -> Option<Self> {
                let table = node.inline_table(Self::kind, cx)?;
                let place = format!("{} of {}", cx.key_name(), cx.place);
                cx.within(place, |cx| <Self as crate::read::Table>::read_table(table, cx))
            }

            fn show(&self) -> String {
                "{ … }".to_owned()
            }
        }
    };
}

macro_rules! field_type {
    (optional $ty:ty) => { Option<crate::Spanned<$ty>> };
    ($presence:ident $ty:ty) => { crate::Spanned<$ty> };
}

macro_rules! key_name {
    ($field:ident $key:literal) => {
        $key
    };
    ($field:ident) => {
        stringify!($field)
    };
}

macro_rules! presence {
    (required $ty:ty) => {
        crate::declare::Presence::Required
    };
    (optional $ty:ty) => {
        crate::declare::Presence::Optional
    };
    (nested $ty:ty) => {
        crate::declare::Presence::Nested
    };
    (default $ty:ty = $default:expr) => {
        crate::declare::Presence::Default(|| crate::declare::shown::<$ty>($default))
    };
}

macro_rules! range_doc {
    ($ty:ty) => {
        None
    };
    ($ty:ty, $range:expr) => {
        Some(|| {
            let range: std::ops::RangeInclusive<$ty> = $range;
            let (low, high) = range.into_inner();
            (crate::declare::shown(low), crate::declare::shown(high))
        })
    };
}

macro_rules! range_check {
    () => {
        None
    };
    ($range:expr) => {
        Some(|value| crate::read::beyond(value, $range))
    };
}

macro_rules! read_field {
    (required $field:ident) => {
        $field.required()
    };
    (optional $field:ident) => {
        $field.optional()
    };
    (nested $field:ident) => {
        $field.nested()
    };
    (default $field:ident, $default:expr) => {
        $field.or_default(|| $default)
    };
}

/// Declares a key's few possible strings as an enum.
macro_rules! choice {
    (
        $(#[doc = $about:literal])+
        pub enum $Name:ident { $( #[doc = $meaning:literal] $Variant:ident = $text:literal, )+ }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $Name { $( #[doc = $meaning] $Variant, )+ }

        impl $Name {
            /// As it is written in the file.
            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$Variant => $text, )+ }
            }
        }

        impl crate::read::Value for $Name {
            fn kind() -> crate::declare::Kind {
                const { crate::declare::Kind::Choice(&[$( ($text, $meaning.trim_ascii()) ),+]) }
            }

            fn read(node: crate::read::Node<'_>, cx: &mut crate::read::Context) -> Option<Self> {
                let (text, span) = node.text(Self::kind, cx)?;
                match text {
                    $( $text => Some(Self::$Variant), )+
                    _ => {
                        cx.refuse_choice(text, span, &[$( $text ),+]);
                        None
                    }
                }
            }

            fn show(&self) -> String {
                format!("\"{}\"", self.as_str())
            }
        }
    };
}

pub(crate) use {choice, field_type, key_name, presence, range_check, range_doc, read_field, table};
