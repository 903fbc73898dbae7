//! Files to begin with: `bastide init`.

/// A file to begin with.
#[derive(Clone, Copy, Debug)]
pub struct Template {
    /// As it is asked for: `app`.
    pub name: &'static str,
    /// What it is for.
    pub about: &'static str,
    /// The file, with comments.
    pub text: &'static str,
}

/// All of them, the simplest first.
pub const TEMPLATES: &[Template] = &[
    Template { name: "static", about: "a folder of files", text: include_str!("templates/static.toml") },
    Template {
        name: "app",
        about: "an application that listens on $PORT",
        text: include_str!("templates/app.toml"),
    },
    Template {
        name: "app-database",
        about: "an application with a PostgreSQL database",
        text: include_str!("templates/app-database.toml"),
    },
];

/// The smallest file that serves something.
pub const fn minimal_example() -> &'static str {
    "[[route]]\npath  = \"/*\"\nfiles = \"./public\"\n"
}
