//! What the router promises.

use crate::cluster::{Cluster, Router, eventually, possible};
use sqlx::postgres::{PgConnection, PgPool, PgPoolOptions};
use sqlx::{Connection, Row};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A view that says which member answers: statements that name such functions
/// themselves go to the primary, but nobody looks into views.
const WHERE_AM_I: &str = "create view where_am_i as \
    select pg_is_in_recovery() as replica, inet_server_port() as port; \
    create table items (id bigserial primary key, name text not null)";

async fn prepared(cluster: &Cluster) -> Router {
    let url = cluster.members[0].url(&cluster.user).replace('\\', "%5C").replace("pass:", "pass%3A");
    testkit::postgres::psql(&url, WHERE_AM_I).unwrap();
    let router = Router::start(cluster.database(), cluster.members.len()).await;
    wait_for_replicas(cluster, &router).await;
    router
}

/// Waits until the router knows that all replicas have replayed what was written so far.
async fn wait_for_replicas(cluster: &Cluster, router: &Router) {
    let written = cluster.members[0].superuser("select pg_current_wal_insert_lsn()");
    let written = base::Lsn::parse(&written).unwrap();
    router
        .until("replicas have caught up", |status| {
            let members = status["databases"][0]["members"].as_array().cloned().unwrap_or_default();
            let lsn = |m: &serde_json::Value| m["lsn"].as_str().and_then(base::Lsn::parse);
            members.iter().all(|m| m["up"] == true && lsn(m).is_some_and(|lsn| lsn >= written))
        })
        .await;
}

async fn pool(router: &Router, size: u32) -> PgPool {
    PgPoolOptions::new()
        .max_connections(size)
        .acquire_timeout(Duration::from_secs(30))
        .connect(&router.url())
        .await
        .unwrap()
}

async fn answered_by_replica(connection: &mut PgConnection) -> bool {
    let row = sqlx::query("select replica from where_am_i").fetch_one(connection).await.unwrap();
    row.get::<bool, _>(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_go_to_replicas_and_everything_else_to_the_primary() {
    if !possible() {
        return;
    }
    let cluster = Cluster::start(2);
    let router = prepared(&cluster).await;
    let mut c = PgConnection::connect(&router.url()).await.unwrap();
    assert!(answered_by_replica(&mut c).await);

    // Both replicas get reads.
    let mut ports = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let port: i32 = sqlx::query("select port from where_am_i").fetch_one(&mut c).await.unwrap().get(0);
        ports.insert(port as u16);
    }
    let replicas = cluster.members[1..].iter().map(|m| m.instance.port).collect();
    assert_eq!(ports, replicas);

    // In a transaction, everything is the primary's.
    let mut transaction = c.begin().await.unwrap();
    assert!(!answered_by_replica(&mut transaction).await);
    transaction.rollback().await.unwrap();
    wait_for_replicas(&cluster, &router).await;
    assert!(answered_by_replica(&mut c).await);

    // What names a function of the server's own state goes to the primary.
    let row = sqlx::query("select pg_is_in_recovery()").fetch_one(&mut c).await.unwrap();
    assert!(!row.get::<bool, _>(0));

    // A view may hide a write: the replica refuses it, the primary runs it, the client sees only the result.
    sqlx::query("create view next_id as select nextval('items_id_seq') as id").execute(&mut c).await.unwrap();
    wait_for_replicas(&cluster, &router).await;
    let id: i64 = sqlx::query("select id from next_id").fetch_one(&mut c).await.unwrap().get(0);
    assert_eq!(id, 1);
    assert!(
        router.metric("bastide_database_routed_total", &["to=\"primary\"", "reason=\"retry\""]).await >= 1.0
    );

    // A session's own state binds it to the primary.
    sqlx::query("set work_mem = '5MB'").execute(&mut c).await.unwrap();
    wait_for_replicas(&cluster, &router).await;
    assert!(!answered_by_replica(&mut c).await);
    sqlx::query("discard all").execute(&mut c).await.unwrap();
    let mut c = PgConnection::connect(&router.url()).await.unwrap();
    sqlx::query("create temp table mine (a int)").execute(&mut c).await.unwrap();
    wait_for_replicas(&cluster, &router).await;
    assert!(!answered_by_replica(&mut c).await);
    drop(c);

    // The next session that gets that connection finds nothing of it: once the
    // connection is cleaned, which nobody waits for, and the replicas know.
    let mut c = PgConnection::connect(&router.url()).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let found: i64 = sqlx::query("select count(*) from pg_class where relname = 'mine'")
            .fetch_one(&mut c)
            .await
            .unwrap()
            .get(0);
        if found == 0 {
            break;
        }
        assert!(Instant::now() < deadline, "another session's temporary table is still there");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    // The functions that replicas may run change nothing, by PostgreSQL's own account.
    let volatile: Vec<String> = sqlx::query_scalar(
        "select distinct proname::text from pg_proc where pronamespace = 'pg_catalog'::regnamespace \
         and provolatile = 'v' and proname = any($1)",
    )
    .bind(database_route::READ_FUNCTIONS)
    .fetch_all(&mut c)
    .await
    .unwrap();
    assert!(volatile.is_empty(), "{volatile:?}");

    // No write reached a replica, by their own count.
    assert_eq!(router.metric("bastide_database_statements_total", &["main/1", "kind=\"write\""]).await, 0.0);
    assert!(router.metric("bastide_database_statements_total", &["main/1", "kind=\"read\""]).await > 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_segment_switch_replicas_are_not_late() {
    if !possible() {
        return;
    }
    let cluster = Cluster::start(1);
    drop(prepared(&cluster).await);
    let primary = &cluster.members[0];
    // Now and then the server writes a record of its own, and the case is gone: then again.
    for _ in 0..20 {
        primary.superuser("create table if not exists t (a int); insert into t values (1)");
        primary.superuser("select pg_switch_wal()");
        let insert = base::Lsn::parse(&primary.superuser("select pg_current_wal_insert_lsn()")).unwrap();
        if insert.0 % (16 << 20) != 0x28 {
            continue;
        }
        let boundary = base::Lsn(insert.0 - 0x28);
        eventually("the replica has replayed the switch", || {
            let replayed = cluster.members[1].superuser("select pg_last_wal_replay_lsn()");
            if base::Lsn::parse(&replayed) >= Some(boundary) { Ok(()) } else { Err(replayed) }
        });
        // A router that starts now has this position as everybody's floor.
        let router = Router::start(cluster.database(), 2).await;
        let polled = |s: &serde_json::Value| s["databases"][0]["members"][0]["lsn"].is_string();
        let status = router.until("the primary was asked", polled).await;
        let mut c = PgConnection::connect(&router.url()).await.unwrap();
        let by_replica = answered_by_replica(&mut c).await;
        let members = router.admin.get("/status").await.unwrap()["databases"][0]["members"].clone();
        let lsn = |member: &serde_json::Value| member["lsn"].as_str().and_then(base::Lsn::parse);
        let unwritten = lsn(&status["databases"][0]["members"][0]) == Some(insert)
            && lsn(&members[0]) == Some(insert)
            && lsn(&members[1]) == Some(boundary);
        if unwritten {
            assert!(by_replica, "{members:#}");
            assert_eq!(members[1]["lag_bytes"], 0, "{members:#}");
            assert_eq!(members[1]["lag_seconds"], 0.0, "{members:#}");
            return;
        }
    }
    panic!("the server wrote something after each of 20 segment switches");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_written_is_read_through_any_connection_of_the_login() {
    if !possible() {
        return;
    }
    let cluster = Cluster::start(2);
    let router = prepared(&cluster).await;
    let pool = pool(&router, 8).await;
    // One replica stands still; the other follows. Neither may show an old state.
    cluster.members[1].superuser("select pg_wal_replay_pause()");
    for n in 0..300i64 {
        let mut writer = pool.acquire().await.unwrap();
        let mut reader = pool.acquire().await.unwrap();
        let name = format!("item {n}");
        let id: i64 = sqlx::query("insert into items (name) values ($1) returning id")
            .bind(&name)
            .fetch_one(&mut *writer)
            .await
            .unwrap()
            .get(0);
        let found = sqlx::query("select name from items where id = $1")
            .bind(id)
            .fetch_optional(&mut *reader)
            .await
            .unwrap();
        assert_eq!(found.map(|row| row.get::<String, _>(0)), Some(name));
        if n % 3 == 0 {
            let mut transaction = writer.begin().await.unwrap();
            sqlx::query("update items set name = 'again' where id = $1")
                .bind(id)
                .execute(&mut *transaction)
                .await
                .unwrap();
            transaction.commit().await.unwrap();
            let again =
                sqlx::query("select name from items where id = $1").bind(id).fetch_one(&mut *reader).await;
            assert_eq!(again.unwrap().get::<String, _>(0), "again");
        }
        if n % 10 == 0 {
            // Give the replica that follows the time to follow: then it gets reads, and they are right too.
            tokio::time::sleep(Duration::from_millis(15)).await;
            let count: i64 =
                sqlx::query("select count(*) from items").fetch_one(&mut *reader).await.unwrap().get(0);
            assert_eq!(count, n + 1);
        }
    }
    let on_following = router.metric("bastide_database_statements_total", &["main/2", "kind=\"read\""]).await;
    assert!(on_following > 10.0, "the replica that followed got {on_following} reads");
    cluster.members[1].superuser("select pg_wal_replay_resume()");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_lags_or_stops_gets_no_reads() {
    if !possible() {
        return;
    }
    let mut cluster = Cluster::start(2);
    let router = prepared(&cluster).await;
    let mut c = PgConnection::connect(&router.url()).await.unwrap();
    cluster.members[1].superuser("select pg_wal_replay_pause()");
    let status = {
        // Something must be written for it to be behind.
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            sqlx::query("insert into items (name) values ('x')").execute(&mut c).await.unwrap();
            let status = router.admin.get("/status").await.unwrap();
            if status["databases"][0]["members"][1]["takes"] == "nothing" {
                break status;
            }
            assert!(Instant::now() < deadline, "{status:#}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let member = &status["databases"][0]["members"][1];
    assert!(member["lag_seconds"].as_f64().unwrap() > 2.0, "{member:#}");
    assert!(member["why"].as_str().unwrap().contains("max_lag"), "{member:#}");
    let before = router.metric("bastide_database_statements_total", &["main/1", "kind=\"read\""]).await;
    router
        .until("the other replica has caught up", |s| s["databases"][0]["members"][2]["lag_seconds"] == 0.0)
        .await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    for _ in 0..50 {
        assert!(answered_by_replica(&mut c).await);
    }
    let after = router.metric("bastide_database_statements_total", &["main/1", "kind=\"read\""]).await;
    assert_eq!(before, after);

    // It goes on, and is used again.
    cluster.members[1].superuser("select pg_wal_replay_resume()");
    router.until("it takes reads again", |s| s["databases"][0]["members"][1]["takes"] == "reads").await;

    // A replica that dies under reads costs none of them.
    let stop = Arc::new(AtomicBool::new(false));
    let pool = pool(&router, 4).await;
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let (pool, stop) = (pool.clone(), stop.clone());
            tokio::spawn(async move {
                let mut count = 0;
                while !stop.load(Ordering::Relaxed) {
                    sqlx::query("select count(*) from items").fetch_one(&pool).await.unwrap();
                    count += 1;
                }
                count
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    cluster.members[1].crash();
    cluster.members[2].process().signal(rustix::process::Signal::INT);
    router
        .until("both are seen to be away", |s| (1..3).all(|n| s["databases"][0]["members"][n]["up"] == false))
        .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        assert!(reader.await.unwrap() > 0);
    }
    assert!(!answered_by_replica(&mut c).await);
    assert!(router.events().contains("\"member\":\"main/1\""), "{}", router.events());

    // They come back with their data.
    cluster.members[2].process().wait(Duration::from_secs(20));
    for n in 1..3 {
        cluster.members[n].start();
    }
    router.until("both are back", |s| (1..3).all(|n| s["databases"][0]["members"][n]["up"] == true)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_the_primary_and_reads_go_on_without_it() {
    if !possible() {
        return;
    }
    let mut cluster = Cluster::start(1);
    let mut database = cluster.database();
    database.route.pool_wait = base::Millis(1_500);
    let url = cluster.members[0].url(&cluster.user).replace('\\', "%5C").replace("pass:", "pass%3A");
    testkit::postgres::psql(&url, WHERE_AM_I).unwrap();
    let router = Router::start(database, 2).await;
    wait_for_replicas(&cluster, &router).await;

    let pool = pool(&router, 6).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..4)
        .map(|w| {
            let (pool, stop) = (pool.clone(), stop.clone());
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                for n in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let name = format!("writer {w} item {n}");
                    let done =
                        sqlx::query("insert into items (name) values ($1)").bind(&name).execute(&pool).await;
                    if done.is_ok() {
                        acknowledged.push(name);
                    }
                }
                acknowledged
            })
        })
        .collect();
    // A session that has only read, and one that has written and is idle.
    let mut reader = PgConnection::connect(&router.url()).await.unwrap();
    let mut writer = PgConnection::connect(&router.url()).await.unwrap();
    sqlx::query("insert into items (name) values ('idle writer')").execute(&mut writer).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    cluster.members[0].crash();
    stop.store(true, Ordering::Relaxed);
    let mut acknowledged = Vec::new();
    for writer in writers {
        acknowledged.extend(writer.await.unwrap());
    }
    assert!(acknowledged.len() > 20, "only {} writes were acknowledged", acknowledged.len());

    // What was in flight was not noted: reads of this login wait for the primary, or are told so. Another
    // login's reads go on at once; here the router is asked until the replica is known to be fresh enough.
    router.until("the primary is seen to be away", |s| s["databases"][0]["members"][0]["up"] == false).await;
    let refused =
        sqlx::query("insert into items (name) values ('late')").execute(&mut writer).await.unwrap_err();
    let code = refused.as_database_error().and_then(|e| e.code()).map(|c| c.into_owned());
    assert_eq!(code.as_deref(), Some("57P03"), "{refused}");
    assert!(refused.to_string().contains("primary `main/0`"), "{refused}");
    let ready = router.admin.get("/ready").await.unwrap_err().to_string();
    assert!(ready.contains("main/0"), "{ready}");

    cluster.members[0].start();
    cluster.members[0].wait();
    router.until("the primary is back", |s| s["databases"][0]["members"][0]["up"] == true).await;
    // Both sessions outlived it.
    sqlx::query("insert into items (name) values ('late')").execute(&mut writer).await.unwrap();
    let rows = sqlx::query("select name from items").fetch_all(&mut reader).await.unwrap();
    let found: std::collections::BTreeSet<String> = rows.iter().map(|r| r.get(0)).collect();
    for name in &acknowledged {
        assert!(found.contains(name), "`{name}` was acknowledged and is gone");
    }
    assert!(found.contains("idle writer"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_of_a_login_that_has_not_written_go_on_without_the_primary() {
    if !possible() {
        return;
    }
    let mut cluster = Cluster::start(1);
    let router = prepared(&cluster).await;
    let mut c = PgConnection::connect(&router.url()).await.unwrap();
    sqlx::query("insert into items (name) values ('before')").execute(&mut c).await.unwrap();
    wait_for_replicas(&cluster, &router).await;
    cluster.members[0].crash();
    let began = Instant::now();
    for _ in 0..50 {
        let answer = sqlx::query("select count(*) from items").fetch_one(&mut c).await;
        let Ok(row) = answer else {
            let routed = router.admin.text("/metrics").await.unwrap();
            panic!("{answer:?}\n{:#}\n{routed}", router.admin.get("/status").await.unwrap());
        };
        assert_eq!(row.get::<i64, _>(0), 1);
    }
    // A new session too.
    let mut fresh = PgConnection::connect(&router.url()).await.unwrap();
    assert!(answered_by_replica(&mut fresh).await);
    assert!(began.elapsed() < Duration::from_secs(5), "reads waited {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_keeps_sessions_and_a_bad_one_changes_nothing() {
    if !possible() {
        return;
    }
    let cluster = Cluster::start(1);
    let router = prepared(&cluster).await;
    let mut c = PgConnection::connect(&router.url()).await.unwrap();
    let mut transaction = c.begin().await.unwrap();
    sqlx::query("insert into items (name) values ('open')").execute(&mut *transaction).await.unwrap();

    let mut bad = cluster.database();
    bad.members.remove(0);
    let refused = router.admin.post("/prepare", &crate::cluster::revision(2, bad)).await.unwrap_err();
    assert!(refused.to_string().contains("0 primaries"), "{refused}");

    // Without its replica, and with a second login.
    let mut database = cluster.database();
    database.members.truncate(1);
    database.users.push(crate::cluster::user("bastide_monitor", "postgres"));
    router.admin.post("/prepare", &crate::cluster::revision(3, database)).await.unwrap();
    router.admin.post("/commit", &serde_json::json!({ "id": 3, "hash": "h3" })).await.unwrap();
    let status = router.admin.get("/status").await.unwrap();
    assert_eq!(status["revision"], 3);
    assert_eq!(status["databases"][0]["members"].as_array().unwrap().len(), 1);

    transaction.commit().await.unwrap();
    assert!(!answered_by_replica(&mut c).await);
    let monitor = router.url_of(&crate::cluster::user("bastide_monitor", "postgres"));
    assert!(PgConnection::connect(&monitor).await.is_ok());

    // Draining ends idle sessions with a reason, and the role.
    router.shutdown.drain();
    let ended = sqlx::query("select 1").execute(&mut c).await.unwrap_err();
    assert!(ended.to_string().contains("ending") || ended.as_database_error().is_none(), "{ended}");
    let finished = tokio::time::timeout(Duration::from_secs(10), router.task).await;
    finished.expect("it ends").unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_replicated_durability_a_write_waits_for_a_replica() {
    if !possible() {
        return;
    }
    let mut cluster = Cluster::plan(1);
    cluster.members[0].instance.durability = site::Durability::Replicated;
    for member in &mut cluster.members {
        member.start();
    }
    for member in &mut cluster.members {
        member.wait();
    }
    eventually("the replica counts", || {
        let states = cluster.members[0].superuser("select sync_state from pg_stat_replication");
        if states == "quorum" { Ok(()) } else { Err(states) }
    });
    let router = prepared(&cluster).await;
    let mut c = PgConnection::connect(&router.url()).await.unwrap();
    sqlx::query("insert into items (name) values ('both')").execute(&mut c).await.unwrap();
    cluster.members[1].process().signal(rustix::process::Signal::INT);
    cluster.members[1].process().wait(Duration::from_secs(20));
    let write = sqlx::query("insert into items (name) values ('alone')").execute(&mut c);
    assert!(tokio::time::timeout(Duration::from_secs(1), write).await.is_err(), "nobody else has it");
}
