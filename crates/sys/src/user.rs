//! Users of the system.

use std::io;

/// An entry of the user database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The login name.
    pub name: String,
    /// The numeric user id.
    pub uid: u32,
    /// The numeric id of its own group.
    pub gid: u32,
}

/// Whether this process is root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// This process' effective user id.
pub fn uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Looks a name up in `/etc/passwd` (passwd(5)).
pub fn find(name: &str) -> io::Result<Option<User>> {
    let text = std::fs::read_to_string("/etc/passwd")?;
    Ok(text.lines().filter_map(parse_line).find(|user| user.name == name))
}

fn parse_line(line: &str) -> Option<User> {
    let mut fields = line.split(':');
    let name = fields.next()?.to_owned();
    let _password = fields.next()?;
    Some(User { name, uid: fields.next()?.parse().ok()?, gid: fields.next()?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    #[test]
    fn finds_root_and_misses_nobody_of_that_name() {
        assert_eq!(super::find("root").unwrap().unwrap().uid, 0);
        assert_eq!(super::find("no such user").unwrap(), None);
        assert_eq!(super::parse_line("broken"), None);
    }
}
