//! The life of a change: file → plan → prepare → commit, or nothing at all.
//!
//! The `control` role. It has no privileges: what needs them it asks of the
//! supervisor. It starts with the last revision it committed; a file reaches it
//! only by `POST /apply`, so that a half-edited file is never picked up because a
//! process was restarted.

use crate::bans::Bans;
use crate::book::{Book, cannot_write, read_json, stage_json};
use crate::compile::{self, Facts, Refusal};
use crate::inputs::Inputs;
use crate::paths::Paths;
use crate::plan::{self, Change};
use crate::{admin, authority, publish, upkeep};
use base::RevisionId;
use base::events::Event;
use config::Diagnostic;
use role::{Events, Fault, Registry, Shutdown};
use serde::{Deserialize, Serialize};
use site::{Revision, Site};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use sys::file::Staged;

/// What control starts with.
#[derive(Debug)]
pub struct Start {
    /// Where the site's files are.
    pub paths: Paths,
    /// The `bastide` program, for the processes that control wants.
    pub program: PathBuf,
}

/// What is committed, and where from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Committed {
    /// The site's file.
    pub file: PathBuf,
    /// What was made of it.
    pub revision: Revision<Site>,
    /// What the firewall of each machine follows from.
    #[serde(default)]
    pub firewall: compile::FirewallPlan,
}

/// The control role's state.
#[derive(Debug)]
pub struct Control {
    pub(crate) paths: Paths,
    pub(crate) program: PathBuf,
    pub(crate) events: Events,
    pub(crate) registry: Arc<Registry>,
    /// Shared: it holds the rules of the WAF, megabytes of them.
    pub(crate) committed: Mutex<Option<Arc<Committed>>>,
    pub(crate) bans: Mutex<Bans>,
    /// The policy that we put into the kernel.
    pub(crate) applied: Mutex<Option<firewall::Policy>>,
    /// One change at a time.
    changing: tokio::sync::Mutex<()>,
    /// What the last change left undone, for `status`.
    pub(crate) trouble: Mutex<Option<String>>,
}

/// What became of a change.
#[derive(Debug, Serialize)]
pub struct Applied {
    /// The revision that runs.
    pub revision: RevisionId,
    /// What differs from the one before.
    pub changes: Vec<Change>,
    /// What the file's author should look at.
    pub warnings: Vec<Diagnostic>,
    /// Processes that were restarted, one after the other.
    pub restarted: Vec<String>,
    /// What went wrong after the commit: a web server that did not come back.
    pub trouble: Option<String>,
}

/// Runs until it is told to stop.
pub async fn run(start: Start, shutdown: Shutdown) -> Result<(), Fault> {
    let registry = Arc::new(Registry::default());
    let events = Events::open("control", &start.paths.state_dir, &registry);
    let committed: Option<Committed> = read_json(&committed_path(&start.paths))?;
    let bans = Bans::open(&start.paths.state_dir)?;
    let control = Arc::new(Control {
        events,
        registry: registry.clone(),
        committed: Mutex::new(committed.map(Arc::new)),
        bans: Mutex::new(bans),
        applied: Mutex::new(None),
        changing: tokio::sync::Mutex::new(()),
        trouble: Mutex::new(None),
        paths: start.paths,
        program: start.program,
    });
    let socket = control.paths.socket("control");
    role::admin::serve(&socket, Arc::new(admin::Admin(control.clone())), registry, shutdown.clone())
        .map_err(|e| Fault::new(format!("cannot serve `{}`: {e}", socket.display())))?;
    tokio::select! {
        () = upkeep::run(&control) => {}
        () = shutdown.wait() => {}
    }
    Ok(())
}

pub(crate) fn committed_path(paths: &Paths) -> PathBuf {
    paths.state_dir.join("committed.json")
}

impl Control {
    /// Takes a file, with all that was read for it, from text to what runs.
    pub(crate) async fn apply(&self, inputs: &Inputs) -> Result<Applied, Refusal> {
        let _one_at_a_time = self.changing.lock().await;
        let before = self.committed();

        // The file, and all that it names, becomes a site, or a list of what is wrong.
        let mut book = Book::open(&self.paths.state_dir)?;
        let running = crate::status::running(&self.paths).await;
        let facts = Facts {
            paths: Some(&self.paths),
            program: &self.program,
            running: &running,
            now_ms: sys::clock::now_ms(),
        };
        let compiled = compile::compile(inputs, &mut book, &facts)
            .inspect_err(|refusal| self.refused(&before, refusal))?;
        if compiled.site.name != self.paths.site {
            return Err(Fault::new(format!(
                "the file is site `{}`, this is site `{}`",
                compiled.site.name, self.paths.site
            ))
            .hint("a site's name cannot change while it runs: `bastide down`, then `bastide up`")
            .into());
        }
        book.save()?;

        // What differs?
        let old = before.as_ref().map(|c| (&c.revision.site, &c.firewall));
        let changes = plan::changes(old, (&compiled.site, &compiled.firewall));
        let id = RevisionId(before.as_ref().map_or(0, |c| c.revision.id.0) + 1);
        let hash = compile::hash(&compiled.site);
        let mut revision = Revision { id, hash, made_at_ms: facts.now_ms, site: compiled.site };
        revision.site.monitor.line.revision = id.to_string();

        // It is on disk before anybody follows it; every role agrees, or nothing changes.
        let committed = Committed { file: inputs.file.clone(), revision, firewall: compiled.firewall };
        let staged = stage_json(&committed_path(&self.paths), &committed)
            .map_err(Refusal::from)
            .inspect_err(|refusal| self.refused(&before, refusal))?;
        let old_site = before.as_ref().map(|c| &c.revision.site);
        let changed =
            publish::publish(&self.paths, old_site, &committed.revision).await.map_err(|errors| {
                let refusal = Refusal::from(Fault::new(errors.join("\n")));
                self.refused(&before, &refusal);
                refusal
            })?;
        let site = committed.revision.site.clone();
        let summary = changes.iter().map(Change::to_string).collect::<Vec<_>>().join("; ");
        self.commit(staged, committed, &summary)?;

        // The kernel's firewall and the edge's bans follow; then the processes that
        // run with an older command, one at a time.
        let mut trouble = self.apply_firewall(before.as_ref().is_some_and(|c| c.firewall.apply)).await.err();
        self.send_bans().await;
        if let Err(why) = publish::roll(&self.paths, &site, &changed).await {
            trouble = Some(why);
        }
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble.clone();
        Ok(Applied { revision: id, changes, warnings: compiled.warnings, restarted: changed, trouble })
    }

    /// Issues the internal certificates anew where they are due, and publishes them.
    pub(crate) async fn renew_certificates(&self) -> Result<(), Fault> {
        let _one_at_a_time = self.changing.lock().await;
        let Some(committed) = self.committed() else { return Ok(()) };
        let mut committed = Committed::clone(&committed);
        let now_ms = sys::clock::now_ms();
        let before = committed.revision.site.clone();
        let site = &mut committed.revision.site;
        let databases =
            site.databases.iter_mut().flat_map(|d| &mut d.databases).filter_map(|d| d.tls.as_mut());
        let routers = databases.map(|certificate| ("database", certificate));
        for (what, certificate) in site.edge.certificates.iter_mut().map(|c| ("site", c)).chain(routers) {
            if authority::is_ours(&self.paths.state_dir, what, certificate) {
                let names = certificate.names.clone();
                *certificate =
                    authority::certificate(&self.paths.state_dir, &site.name, what, &names, now_ms)?;
            }
        }
        if *site == before {
            return Ok(());
        }
        let next = &mut committed.revision;
        next.id = RevisionId(next.id.0 + 1);
        next.hash = compile::hash(&next.site);
        next.made_at_ms = now_ms;
        next.site.monitor.line.revision = next.id.to_string();
        let staged = stage_json(&committed_path(&self.paths), &committed)?;
        publish::publish(&self.paths, Some(&before), &committed.revision)
            .await
            .map_err(|errors| Fault::new(errors.join("\n")))?;
        self.commit(staged, committed, "the internal certificate was renewed")
    }

    /// Keeps what the roles have agreed on.
    fn commit(&self, staged: Staged, committed: Committed, why: &str) -> Result<(), Fault> {
        let id = committed.revision.id;
        let path = committed_path(&self.paths);
        staged.commit().map_err(|e| cannot_write(&path, &e))?;
        *self.committed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(committed));
        self.registry.counter(&base::names::CONTROL_REVISIONS).with(&["committed"]).inc();
        self.events.emit(Event::Revision { revision: id, committed: true, why: why.to_owned() });
        Ok(())
    }

    fn refused(&self, before: &Option<Arc<Committed>>, refusal: &Refusal) {
        let running = before.as_ref().map_or(RevisionId(0), |c| c.revision.id);
        self.registry.counter(&base::names::CONTROL_REVISIONS).with(&["refused"]).inc();
        let why = format!("{refusal}; {running} goes on");
        self.events.emit(Event::Revision { revision: RevisionId(running.0 + 1), committed: false, why });
    }

    /// What is committed now.
    pub(crate) fn committed(&self) -> Option<Arc<Committed>> {
        self.committed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
