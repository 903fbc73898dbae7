//! What the database router and each PostgreSQL member receive.

use crate::Certificate;
use base::{Address, Secret};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;

/// What the router role receives: all databases of this machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Databases {
    /// One for each `[database.NAME]`.
    pub databases: Vec<Database>,
}

/// One database behind one router port.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Database {
    /// The name in the file, `main`.
    pub name: String,
    /// Where clients connect; inherited sockets are named `database.NAME`.
    pub listen: Vec<SocketAddr>,
    /// Who may connect, and with which password; the router uses the same towards members.
    pub users: Vec<User>,
    /// The router's own login on members: `pg_monitor` and the right to terminate its own backends.
    pub monitor: User,
    /// The members.
    pub members: Vec<Member>,
    /// How statements are routed and connections pooled.
    pub route: database_route::settings::Settings,
    /// Whether an acknowledged write is on a replica too.
    pub durability: Durability,
    /// The certificate offered to clients; none refuses TLS.
    pub tls: Option<Certificate>,
}

/// A login.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct User {
    /// The role's name.
    pub name: String,
    /// Its password.
    pub password: Secret,
    /// The database it uses.
    pub database: String,
}

/// A PostgreSQL server of a database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// The name in logs, metrics and page: `main/0`.
    pub name: String,
    /// Where it answers: TCP, or the directory of its Unix socket joined with `.s.PGSQL.PORT`.
    pub address: Address,
    /// What it is meant to be; what it is, it is asked.
    pub role: MemberRole,
}

/// Primary or replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemberRole {
    /// Takes writes.
    Primary,
    /// Follows.
    Replica,
}

impl MemberRole {
    /// `primary` or `replica`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Replica => "replica",
        }
    }
}

/// When a write is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// On the primary's disk.
    #[default]
    Local,
    /// On the disk of at least one replica, too.
    Replicated,
}

/// A PostgreSQL server that we create and run: the content of the file given to
/// `bastide run postgres --spec FILE` (0600, owned by the database user).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PostgresInstance {
    /// The member's name: `main/0`.
    pub name: String,
    /// The data directory; made where it is missing.
    pub data_dir: PathBuf,
    /// The directory of its Unix socket.
    pub socket_dir: PathBuf,
    /// Addresses of `listen_addresses`.
    pub listen_host: String,
    /// The port, of TCP and socket name.
    pub port: u16,
    /// What it is meant to be.
    pub role: MemberRole,
    /// Of a replica: the primary's host and port, and this replica's slot there.
    pub primary: Option<ReplicaOf>,
    /// Of a primary: the physical slots to keep, one a replica.
    pub slots: Vec<String>,
    /// The superuser's password (`postgres`).
    pub superuser_password: Secret,
    /// The replication login.
    pub replication: User,
    /// The router's login.
    pub monitor: User,
    /// Applications' logins, each owner of its database.
    pub users: Vec<User>,
    /// Whether commits wait for a replica.
    pub durability: Durability,
    /// Lines for the configuration, `shared_buffers = 256MB`, from the file.
    pub settings: Vec<(String, String)>,
    /// Where PostgreSQL's programs are; none searches the usual places.
    pub bin_dir: Option<PathBuf>,
}

/// Whom a replica follows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReplicaOf {
    /// The primary's host.
    pub host: String,
    /// The primary's port.
    pub port: u16,
    /// The physical slot that keeps its log for us.
    pub slot: String,
}
