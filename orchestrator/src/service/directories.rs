//! Which directories a service processes: its own, if it is a database directory, and those of `listener.sqlite`.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use amore_listener_db::{ListenerDb, Settings};
use amore_model::{DatabaseDir, Proposal};

use super::{
    ServiceError,
    inbox::Inbox,
    overview::Seen,
    published::PublishedDatabase,
    served::{Served, Shared},
};

/// The directories of a service.
#[derive(Debug)]
pub struct Directories {
    own: PathBuf,
    list: ListenerDb,
    shared: Arc<Shared>,
    inbox: Inbox,
    served: BTreeMap<PathBuf, Served>,
    /// Those that were removed from the list, or begin anew, and have not ended yet.
    leaving: Vec<(PathBuf, Served)>,
    /// How user code is executed in those that are served.
    settings: Option<Settings>,
}

impl Directories {
    /// Those of the service in this directory; none is served yet.
    pub fn new(own: &Path, shared: Arc<Shared>, inbox: Inbox) -> Self {
        Directories {
            own: own.to_owned(),
            list: ListenerDb::at(own),
            shared,
            inbox,
            served: BTreeMap::new(),
            leaving: Vec::new(),
            settings: None,
        }
    }

    /// Serves those that were added, and stops serving those that were removed.
    ///
    /// # Errors
    /// The list cannot be read before anything is served. Later this is logged, and the list stays as it was.
    pub async fn update(&mut self) -> Result<(), ServiceError> {
        self.leaving.retain(|(_, served)| !served.has_ended());
        let listed = match self.list.databases().await {
            Ok(listed) => listed,
            Err(error) if self.served.is_empty() && self.leaving.is_empty() => return Err(error.into()),
            Err(error) => {
                tracing::warn!(%error, "the list of databases cannot be read; it stays as it was");
                return Ok(());
            }
        };
        match self.list.settings().await {
            Ok(settings) => {
                self.inbox.set_static(settings.static_mode);
                self.begin_anew_with(settings);
            }
            Err(error) => tracing::warn!(%error, "the settings of the service cannot be read"),
        }
        for row in &listed.unusable {
            tracing::debug!(row = row.row, why = row.why, "an entry of the list of databases is left out");
        }
        let mut wanted: BTreeMap<PathBuf, Option<Proposal>> =
            listed.databases.into_iter().map(|database| (database.dir, Some(database.proposal))).collect();
        let known = |dir: &PathBuf| {
            self.served.contains_key(dir) || self.leaving.iter().any(|(other, _)| other == dir)
        };
        if self.is_database().await || known(&self.own) {
            wanted.entry(self.own.clone()).or_insert(None);
        }
        // In dynamic mode, databases come with the events.
        if wanted.is_empty()
            && self.served.is_empty()
            && self.leaving.is_empty()
            && !self.list.path().exists()
        {
            return Err(ServiceError::NothingToServe { directory: self.own.clone() });
        }
        let gone: Vec<PathBuf> =
            self.served.keys().filter(|dir| !wanted.contains_key(*dir)).cloned().collect();
        for dir in gone {
            if let Some(served) = self.served.remove(&dir) {
                tracing::info!(directory = %dir.display(), "no longer served");
                self.shared.overview.remove(&dir);
                served.stop();
                self.leaving.push((dir, served));
            }
        }
        // Also those that begin anew: what comes meanwhile waits for them.
        self.inbox.set_directories(wanted.keys().cloned().collect());
        for (dir, proposal) in wanted {
            if self.served.contains_key(&dir) || self.leaving.iter().any(|(other, _)| *other == dir) {
                continue;
            }
            match Served::start(
                DatabaseDir::at(dir.clone()),
                proposal,
                Arc::clone(&self.shared),
                self.inbox.clone(),
            ) {
                Ok(served) => {
                    self.served.insert(dir, served);
                }
                Err(error) => tracing::error!(directory = %dir.display(), %error, "no thread can be started"),
            }
        }
        Ok(())
    }

    /// A directory reads the settings when it is taken: if they say something else about user code now, all are taken again.
    fn begin_anew_with(&mut self, now: Settings) {
        let before = self.settings.replace(now.clone());
        let of_code = |settings: &Settings| (settings.allow_local_processing, settings.sandbox_args.clone());
        if before.is_none_or(|before| of_code(&before) == of_code(&now)) {
            return;
        }
        tracing::info!(
            allow_local_processing = now.allow_local_processing,
            sandbox_args = ?now.sandbox_args,
            "the settings of the service have changed: all directories begin anew with them"
        );
        for (dir, served) in std::mem::take(&mut self.served) {
            served.stop();
            self.leaving.push((dir, served));
        }
    }

    async fn is_database(&self) -> bool {
        let table = DatabaseDir::at(self.own.clone()).run_table();
        tokio::task::spawn_blocking(move || table.is_file()).await.unwrap_or(false)
    }

    /// What the service does with each of them now.
    pub fn states(&self) -> Vec<PublishedDatabase> {
        let all = self.shared.overview.all().into_iter();
        let served =
            all.map(|(directory, Seen { state, since, .. })| PublishedDatabase { directory, state, since });
        served.collect()
    }

    /// Tells all of them to stop; the second time at once.
    pub fn stop(&self) {
        self.all().for_each(|(_, served)| served.stop());
    }

    /// Whether all have ended.
    pub fn have_ended(&self) -> bool {
        self.all().all(|(_, served)| served.has_ended())
    }

    /// Those that have not ended.
    pub fn unfinished(&self) -> Vec<&Path> {
        self.all().filter(|(_, served)| !served.has_ended()).map(|(dir, _)| dir).collect()
    }

    fn all(&self) -> impl Iterator<Item = (&Path, &Served)> {
        let served = self.served.iter().map(|(dir, served)| (dir.as_path(), served));
        served.chain(self.leaving.iter().map(|(dir, served)| (dir.as_path(), served)))
    }
}
