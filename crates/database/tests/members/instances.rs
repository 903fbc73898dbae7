//! Members make themselves, whatever they find.

use crate::cluster::{Cluster, eventually, possible};
use std::time::Duration;

#[test]
fn a_member_is_made_once_and_started_ever_after() {
    if !possible() {
        return;
    }
    let mut cluster = Cluster::plan(0);
    let primary = &mut cluster.members[0];

    // An earlier start was interrupted.
    std::fs::create_dir_all(primary.instance.data_dir.join("base")).unwrap();
    testkit::postgres::give(&primary.instance.data_dir);
    let mark = primary.instance.data_dir.with_extension("making");
    std::fs::write(&mark, "").unwrap();
    testkit::postgres::give(&mark);
    primary.start();
    primary.wait();
    assert!(primary.process().log().contains("interrupted"), "{}", primary.process().log());
    assert_eq!(primary.superuser("show data_checksums"), "on");
    assert_eq!(primary.superuser("show server_encoding"), "UTF8");
    assert_eq!(
        primary.superuser("select count(*) from pg_authid where rolpassword like 'SCRAM-SHA-256$%'"),
        "4"
    );
    primary.superuser("create table kept (a int)");

    // Killed, it starts again with what it had; a new login and slot are made.
    primary.crash();
    primary.instance.users.push(crate::cluster::user("second", "second db"));
    primary.instance.slots.push("bastide_9".into());
    primary.start();
    primary.wait();
    assert_eq!(primary.superuser("select count(*) from kept"), "0");
    assert_eq!(primary.superuser("select datname from pg_database where datname = 'second db'"), "second db");
    assert_eq!(primary.superuser("select slot_name from pg_replication_slots"), "bastide_9");

    // A second start beside it is refused, and harms nothing.
    let fault = fault_of(&mut cluster, 0);
    assert!(fault.contains("already runs"), "{fault}");
    assert_eq!(cluster.members[0].superuser("select count(*) from kept"), "0");
}

/// Starts the member once more and gives what it says at its end.
fn fault_of(cluster: &mut Cluster, which: usize) -> String {
    let member = &mut cluster.members[which];
    let running = member.process.take();
    member.start();
    member.process().wait(Duration::from_secs(60));
    let log = member.process().log();
    member.process = running;
    log.rsplit("FAULT ").next().unwrap_or_default().to_owned()
}

#[test]
fn what_cannot_be_is_said_clearly() {
    if !possible() {
        return;
    }
    let mut cluster = Cluster::plan(1);
    let taken = std::net::TcpListener::bind(("127.0.0.1", cluster.members[0].instance.port)).unwrap();
    let fault = fault_of(&mut cluster, 0);
    assert!(fault.contains("cannot listen") && fault.contains("hint"), "{fault}");
    drop(taken);

    let data = cluster.members[0].instance.data_dir.clone();
    std::fs::create_dir(&data).unwrap();
    testkit::postgres::give(&data);
    std::fs::write(data.join("letter.txt"), "dear").unwrap();
    let fault = fault_of(&mut cluster, 0);
    assert!(fault.contains("not empty and not a PostgreSQL data directory"), "{fault}");
    std::fs::remove_file(data.join("letter.txt")).unwrap();

    std::fs::write(data.join("PG_VERSION"), "9\n").unwrap();
    let fault = fault_of(&mut cluster, 0);
    assert!(fault.contains("made by PostgreSQL 9") && fault.contains("postgresql-9"), "{fault}");
    std::fs::remove_dir_all(&data).unwrap();

    cluster.members[0].instance.bin_dir = Some("/nowhere".into());
    let fault = fault_of(&mut cluster, 0);
    assert!(fault.contains("apt install"), "{fault}");
    cluster.members[0].instance.bin_dir = None;

    cluster.members[0].instance.settings.push(("shared_buffers".into(), "a lot".into()));
    let fault = fault_of(&mut cluster, 0);
    assert!(fault.contains("shared_buffers"), "{fault}");
}

#[test]
fn a_replica_whose_log_is_gone_copies_the_primary_anew() {
    if !possible() {
        return;
    }
    let mut cluster = Cluster::start(1);
    cluster.members[0].superuser("create table t (a int)");
    eventually("the replica has the table", || {
        testkit::postgres::psql(&cluster.members[1].superuser_url(), "select count(*) from t").map(|_| ())
    });
    cluster.members[1].process().signal(rustix::process::Signal::INT);
    cluster.members[1].process().wait(Duration::from_secs(20));

    // The slot goes, and then the log that it kept.
    cluster.members[0].superuser("select pg_drop_replication_slot('bastide_1')");
    cluster.members[0].superuser("alter system set wal_keep_size = 0");
    cluster.members[0].superuser("select pg_reload_conf()");
    for _ in 0..4 {
        cluster.members[0].superuser("insert into t select generate_series(1, 1000)");
        cluster.members[0].superuser("select pg_switch_wal()");
        cluster.members[0].superuser("checkpoint");
    }
    cluster.members[0].superuser("select pg_create_physical_replication_slot('bastide_1', true)");
    cluster.members[1].start();
    cluster.members[1].wait();
    let log = cluster.members[1].process().log();
    assert!(log.contains("copying anew"), "{log}");
    eventually("the replica has the rows", || {
        let count = cluster.members[1].superuser("select count(*) from t");
        if count == "4000" { Ok(()) } else { Err(count) }
    });

    // Stopped and started without any of that, it just goes on.
    cluster.members[1].process().signal(rustix::process::Signal::INT);
    cluster.members[1].process().wait(Duration::from_secs(20));
    cluster.members[0].superuser("insert into t values (1)");
    cluster.members[1].start();
    cluster.members[1].wait();
    assert_eq!(cluster.members[1].process().log().matches("copying anew").count(), 1);

    // A replica's data is not made a primary's, nor the other way round.
    cluster.members[1].process().signal(rustix::process::Signal::INT);
    cluster.members[1].process().wait(Duration::from_secs(20));
    cluster.members[1].instance.role = site::MemberRole::Primary;
    let fault = fault_of(&mut cluster, 1);
    assert!(fault.contains("is the data of a replica"), "{fault}");
}
