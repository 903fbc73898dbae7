//! The command of a web server: words, quotes and variables, and no shell.

use crate::diagnostic::quote;
use crate::read::{Text, Wrong};
use crate::values::text_value;

/// A command line, split into words. Single quotes keep everything as it is;
/// double quotes keep words together; a backslash outside single quotes keeps
/// the character after it; `$NAME` and `${NAME}` outside single quotes stand for
/// variables, whose values are never split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    text: String,
    words: Vec<Vec<Piece>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Variable(String),
}

text_value!(Command);

impl Command {
    /// The variables it uses, in order, each once.
    pub fn variables(&self) -> Vec<&str> {
        let mut names = Vec::new();
        for piece in self.words.iter().flatten() {
            if let Piece::Variable(name) = piece
                && !names.contains(&name.as_str())
            {
                names.push(name.as_str());
            }
        }
        names
    }

    /// Program and arguments, with the variables filled in. The error is the
    /// name of a variable that `lookup` does not have.
    pub fn argv(&self, lookup: impl Fn(&str) -> Option<String>) -> Result<Vec<String>, String> {
        let fill = |word: &Vec<Piece>| {
            let mut filled = String::new();
            for piece in word {
                match piece {
                    Piece::Text(text) => filled.push_str(text),
                    Piece::Variable(name) => filled.push_str(&lookup(name).ok_or_else(|| name.clone())?),
                }
            }
            Ok(filled)
        };
        self.words.iter().map(fill).collect()
    }
}

impl Text for Command {
    const WHAT: &'static str = "a command";
    const SAMPLE: &'static str = "\"./shop --port $PORT\"";

    fn parse(text: &str) -> Result<Self, Wrong> {
        let words = Splitter { rest: text, word: Vec::new(), started: false, words: Vec::new() }.split()?;
        if words.is_empty() {
            return Err(Wrong::new("an empty command", "write the program and its arguments"));
        }
        Ok(Self { text: text.to_owned(), words })
    }

    fn text(&self) -> String {
        self.text.clone()
    }
}

struct Splitter<'a> {
    rest: &'a str,
    word: Vec<Piece>,
    /// A word has begun, even if it is empty: `""`.
    started: bool,
    words: Vec<Vec<Piece>>,
}

impl Splitter<'_> {
    fn split(mut self) -> Result<Vec<Vec<Piece>>, Wrong> {
        while let Some(c) = self.next() {
            match c {
                c if c.is_whitespace() => self.end_word(),
                '\'' => self.single_quoted()?,
                '"' => self.double_quoted()?,
                '\\' => self.escaped()?,
                '$' => self.variable()?,
                '|' | '&' | ';' | '<' | '>' | '`' | '\0' => return Err(needs_shell(c)),
                c => self.push(c),
            }
        }
        self.end_word();
        Ok(self.words)
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    fn push(&mut self, c: char) {
        self.started = true;
        match self.word.last_mut() {
            Some(Piece::Text(text)) => text.push(c),
            _ => self.word.push(Piece::Text(c.to_string())),
        }
    }

    fn end_word(&mut self) {
        if std::mem::take(&mut self.started) {
            self.words.push(std::mem::take(&mut self.word));
        }
    }

    fn single_quoted(&mut self) -> Result<(), Wrong> {
        self.started = true;
        loop {
            match self.next() {
                Some('\'') => return Ok(()),
                Some(c) => self.push(c),
                None => return Err(unclosed('\'')),
            }
        }
    }

    fn double_quoted(&mut self) -> Result<(), Wrong> {
        self.started = true;
        loop {
            match self.next() {
                Some('"') => return Ok(()),
                Some('\\') => self.escaped()?,
                Some('$') => self.variable()?,
                Some(c) => self.push(c),
                None => return Err(unclosed('"')),
            }
        }
    }

    fn escaped(&mut self) -> Result<(), Wrong> {
        match self.next() {
            Some(c) => self.push(c),
            None => return Err(Wrong::new("the command ends in a backslash", "remove it, or write `\\\\`")),
        }
        Ok(())
    }

    fn variable(&mut self) -> Result<(), Wrong> {
        let (braced, rest) = match self.rest.strip_prefix('{') {
            Some(rest) => (true, rest),
            None => (false, self.rest),
        };
        let length = rest.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
        let (name, after) = rest.split_at(length);
        let after = if braced { after.strip_prefix('}') } else { Some(after) };
        let starts_well = name.bytes().next().is_some_and(|b| !b.is_ascii_digit());
        let Some(after) = after.filter(|_| starts_well) else {
            let hint = "write `$NAME` or `${NAME}`; a dollar sign itself is `\\$` or stands in single quotes";
            return Err(Wrong::new("a `$` without the name of a variable", hint));
        };
        self.word.push(Piece::Variable(name.to_owned()));
        self.started = true;
        self.rest = after;
        Ok(())
    }
}

fn needs_shell(c: char) -> Wrong {
    Wrong::new(
        format!("the command has {}, which only a shell understands", quote(&c.to_string())),
        "write `sh -c '…'` if it needs a shell, or put quotes around the character",
    )
}

fn unclosed(c: char) -> Wrong {
    Wrong::new(format!("the command's quote `{c}` is not closed"), "close it, or write a backslash before it")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<&[&str]>) {
        let lookup = |name: &str| match name {
            "PORT" => Some("8000".to_owned()),
            "GREETING" => Some("a b 'c".to_owned()),
            _ => None,
        };
        let argv = Command::parse(text).ok().and_then(|command| command.argv(lookup).ok());
        let expected = expected.map(|words| words.iter().map(|word| (*word).to_owned()).collect());
        assert_eq!(argv, expected, "{text}");
    }

    #[test]
    fn commands_are_split_like_a_shell_but_without_one() {
        check("./shop --port $PORT", Some(&["./shop", "--port", "8000"]));
        check("  ./shop   --listen=127.0.0.1:${PORT}  ", Some(&["./shop", "--listen=127.0.0.1:8000"]));
        check("sh -c 'exec x | y > $PORT'", Some(&["sh", "-c", "exec x | y > $PORT"]));
        check("x \"$GREETING\" $GREETING", Some(&["x", "a b 'c", "a b 'c"]));
        check("x '' \"\" a\\ b \\$PORT", Some(&["x", "", "", "a b", "$PORT"]));
        check("x \"a \\\" b\"", Some(&["x", "a \" b"]));
        for bad in
            ["", "  ", "x | y", "x > y", "x && y", "x 'y", "x \"y", "x\\", "x $", "x ${PORT", "x $1", "x `y`"]
        {
            check(bad, None);
        }
        check("x $MISSING", None);
    }
}
