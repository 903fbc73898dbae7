//! What the router receives, and the PostgreSQL members that are run here.

use super::{Lowering, flat, in_run, in_state};
use crate::authority;
use base::{Address, Secret};
use config::{Database, DatabaseSource, Durability, Named, Tls};
use role::Fault;
use site::{Certificate, Databases, Member, MemberRole, PostgresInstance, User};
use std::net::{Ipv4Addr, SocketAddr};

impl Lowering<'_> {
    pub(super) fn databases(&mut self) -> Result<Option<Databases>, Fault> {
        let mut databases = Vec::new();
        let mut complete = true;
        for database in &self.config.databases {
            match self.database(database)? {
                Some(lowered) => databases.push(lowered),
                None => complete = false,
            }
        }
        Ok(complete.then_some(Databases { databases }))
    }

    fn database(&mut self, database: &Named<Database>) -> Result<Option<site::Database>, Fault> {
        let name = database.name.value.as_str();
        let listen = database.listen.value;
        let owner = format!("database.{name}");
        let listen = SocketAddr::new(listen.ip(), self.port(listen.port(), &owner, "database")?);
        let Some((members, user, monitor)) = self.members(database)? else { return Ok(None) };
        let Some(tls) = self.database_tls(database)? else { return Ok(None) };
        Ok(Some(site::Database {
            name: name.to_owned(),
            listen: vec![listen],
            users: vec![user],
            monitor,
            members,
            route: database_route::settings::Settings {
                max_lag: database.max_lag.value,
                pool_size: database.pool_size.value,
                max_clients: database.max_clients.value,
                pool_wait: database.pool_wait.value,
                read_wait: database.read_wait.value,
            },
            durability: durability(database),
            tls,
        }))
    }

    /// The members, the applications' login and the router's own.
    fn members(&mut self, database: &Named<Database>) -> Result<Option<(Vec<Member>, User, User)>, Fault> {
        let name = database.name.value.as_str();
        let user = |password: Secret| User {
            name: user_name(database),
            password,
            database: database_name(database),
        };
        match &database.source {
            DatabaseSource::Run { replicas } => {
                let mut members = Vec::new();
                for number in 0..=*replicas {
                    let process = format!("database.{name}/{number}");
                    let port = self.book.port(&process, self.facts.running.contains(&process))?;
                    let address = Address::Ip(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
                    members.push(Member { name: format!("{name}/{number}"), address, role: role_of(number) });
                }
                let login = user(self.book.password(&format!("database.{name}/app")));
                Ok(Some((members, login, self.own_login(name))))
            }
            DatabaseSource::Servers { primary, replicas, password } => {
                let Some(password) = self.secret(&password.value, password.span) else { return Ok(None) };
                let mut members = vec![Member {
                    name: format!("{name}/0"),
                    address: primary.value.clone(),
                    role: MemberRole::Primary,
                }];
                for (index, replica) in replicas.iter().enumerate() {
                    let name = format!("{name}/{}", index + 1);
                    members.push(Member { name, address: replica.value.clone(), role: MemberRole::Replica });
                }
                let login = user(password);
                Ok(Some((members, login.clone(), login)))
            }
        }
    }

    /// The router's login on members that we run.
    fn own_login(&mut self, database: &str) -> User {
        let password = self.book.password(&format!("database.{database}/monitor"));
        User { name: "bastide_monitor".to_owned(), password, database: "postgres".to_owned() }
    }

    fn database_tls(&mut self, database: &Named<Database>) -> Result<Option<Option<Certificate>>, Fault> {
        match &database.tls {
            None => Ok(Some(None)),
            Some(tls) => match &tls.value {
                Tls::Internal => self.internal_certificate("database", &authority::own_names()).map(Some),
                Tls::Files { cert, key } => {
                    let (cert, key) = (cert.clone(), key.clone());
                    let chain = self.text_of(&cert, "the certificate");
                    let key_pem = self.text_of(&key, "the private key");
                    let (Some(chain_pem), Some(key_pem)) = (chain, key_pem) else { return Ok(None) };
                    let certificate =
                        Certificate { names: Vec::new(), chain_pem, key_pem: Secret::new(key_pem) };
                    if let Err(error) = edge_cert::load(&certificate.chain_pem, &certificate.key_pem) {
                        let message = format!("certificate and key do not work: {error}");
                        self.error(
                            config::Code::File,
                            cert.span,
                            message,
                            "give the leaf first, then its intermediates, PEM",
                        );
                        return Ok(None);
                    }
                    Ok(Some(Some(certificate)))
                }
            },
        }
    }

    /// The members that are run here, for their own processes.
    pub(super) fn instances(&mut self, databases: &Databases) -> Result<Vec<PostgresInstance>, Fault> {
        let mut instances = Vec::new();
        for (database, lowered) in self.config.databases.iter().zip(&databases.databases) {
            let DatabaseSource::Run { replicas } = database.source else { continue };
            let name = &lowered.name;
            let ports: Vec<u16> = lowered.members.iter().map(|m| port_of(&m.address)).collect();
            let slot = |number: u16| format!("bastide_{number}");
            let superuser_password = self.book.password(&format!("database.{name}/superuser"));
            let replication = User {
                name: "bastide_replication".to_owned(),
                password: self.book.password(&format!("database.{name}/replication")),
                database: "postgres".to_owned(),
            };
            for number in 0..=replicas {
                let primary = (number > 0).then(|| site::database::ReplicaOf {
                    host: Ipv4Addr::LOCALHOST.to_string(),
                    port: ports[0],
                    slot: slot(number),
                });
                instances.push(PostgresInstance {
                    name: format!("{name}/{number}"),
                    data_dir: in_state(self.facts.paths, format!("database.{name}/{number}")),
                    socket_dir: in_run(self.facts.paths, &format!("database.{name}")),
                    listen_host: Ipv4Addr::LOCALHOST.to_string(),
                    port: ports[usize::from(number)],
                    role: role_of(number),
                    primary,
                    slots: if number == 0 { (1..=replicas).map(slot).collect() } else { Vec::new() },
                    superuser_password: superuser_password.clone(),
                    replication: replication.clone(),
                    monitor: lowered.monitor.clone(),
                    users: lowered.users.clone(),
                    durability: lowered.durability,
                    settings: database
                        .settings
                        .iter()
                        .map(|(k, v)| (k.value.0.clone(), v.value.0.clone()))
                        .collect(),
                    bin_dir: database.bin_dir.as_ref().map(|dir| self.inputs.resolve(&dir.value.0)),
                });
            }
        }
        Ok(instances)
    }
}

/// The name of a member's process and of its files.
pub(super) fn process_name(instance: &PostgresInstance) -> String {
    format!("database.{}", instance.name)
}

/// The file from which a member's process reads its specification.
pub(super) fn spec_file(process: &str) -> String {
    format!("{}.spec.json", flat(process))
}

fn role_of(number: u16) -> MemberRole {
    if number == 0 { MemberRole::Primary } else { MemberRole::Replica }
}

fn port_of(address: &Address) -> u16 {
    match address {
        Address::Ip(at) => at.port(),
        Address::Name(_, port) => *port,
        Address::Unix(_) => 5432,
    }
}

fn durability(database: &Database) -> site::Durability {
    match database.durability.value {
        Durability::Local => site::Durability::Local,
        Durability::Replicated => site::Durability::Replicated,
    }
}

fn user_name(database: &Named<Database>) -> String {
    database.user.value.0.clone()
}

fn database_name(database: &Named<Database>) -> String {
    database.dbname.value.0.clone()
}
