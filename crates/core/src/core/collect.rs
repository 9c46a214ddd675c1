//! Results on their way into the run files and the table, and what continues once those of a run are there.

use std::collections::BTreeSet;

use crate::{
    announced::Unseen,
    core::Core,
    effect::{Effect, Fragment},
    events::Event,
    input::Collected,
    request::RequestNo,
    tasks::RunKey,
};

impl Core {
    pub(super) fn collect(&mut self, fragment: Fragment) {
        self.uncollected.given(fragment.key);
        self.effects.push(Effect::Collect(fragment));
    }

    /// Looks for fragments of a run, or of all runs, and collects them.
    pub(super) fn scan(&mut self, key: Option<RunKey>) {
        self.uncollected.scan_started(key);
        if let Some(key) = key {
            self.uncollected.searched(key, self.now.steady);
        }
        self.effects.push(Effect::Scan { key });
    }

    pub(super) fn on_scanned(&mut self, key: Option<RunKey>, fragments: Vec<Fragment>) {
        self.uncollected.scan_ended(key);
        let found = !fragments.is_empty();
        fragments.into_iter().for_each(|fragment| self.collect(fragment));
        if found {
            self.effects.push(Effect::HurryCollector);
        }
        match key {
            Some(key) => self.after_collection(key),
            None => {
                let keys: BTreeSet<RunKey> =
                    self.requests.iter().flat_map(|(_, request)| request.open_runs()).collect();
                keys.into_iter().for_each(|key| self.after_collection(key));
            }
        }
    }

    pub(super) fn on_collected(&mut self, collected: Collected) {
        let Collected { key, fragments, stored, cells, notices, problem } = collected;
        self.uncollected.collected(key, fragments);
        self.uncollected.stored(key, &stored);
        self.publish_values(key, cells);
        if let Some(problem) = problem {
            self.uncollected.drop_announced(key);
            self.on_not_collected(key, &problem);
        }
        let unfinished: Vec<RequestNo> = self.requests.unfinished().map(|(number, _)| number).collect();
        for notice in notices {
            self.tell_of_table(&unfinished, notice);
        }
        for number in self.tasks.of_run(key, |state| !state.is_ended()) {
            let Some(task) = self.tasks.get_mut(number) else { continue };
            for (name, stamp) in &stored {
                if *stamp >= task.stamp {
                    task.results.collected.insert(name.clone());
                }
            }
        }
        self.after_collection(key);
    }

    /// Looks after results that workers have reported and whose files are not seen here yet.
    pub(super) fn search_for_announced(&mut self) {
        for unseen in self.uncollected.unseen(self.now.steady) {
            match unseen {
                Unseen::Search(key) => self.scan(Some(key)),
                Unseen::SearchAndTell(key, names) => {
                    let words = format!(
                        "run {}: waiting for the results of {}: the worker has stored them, and this host does not see the file yet",
                        key.1,
                        in_words(&names)
                    );
                    self.tell_all(&Event::note(words));
                    self.scan(Some(key));
                }
                Unseen::Missing(key, names) => {
                    let problem = format!(
                        "the worker has stored the results of {}, and this host does not see the file in extracted_data/; a later command collects it",
                        in_words(&names)
                    );
                    self.on_not_collected(key, &problem);
                    self.after_collection(key);
                }
            }
        }
    }

    /// Results of a run could not be put into its file.
    fn on_not_collected(&mut self, key: RunKey, problem: &str) {
        let mut shown = false;
        for (_, request) in self.requests.iter_mut() {
            shown |= request.set_problem(key, problem);
        }
        if !shown {
            // Left by an earlier command.
            self.table_notices.left_behind(key.1, problem);
        }
    }

    /// Tasks that waited for what earlier attempts have stored can start.
    fn release_held(&mut self, key: RunKey) {
        if self.uncollected.is_settled(key) {
            self.ready.take_held(key).into_iter().for_each(|number| self.enqueue(number));
        }
    }

    /// Everything of a run may be collected now: continues with what has waited for that.
    fn after_collection(&mut self, key: RunKey) {
        self.try_lost_tasks_again(key);
        self.judge_jobs();
        self.release_dependents(key);
        self.release_held(key);
        for number in self.requests.with_open(key) {
            self.close_run_if_done(number, key);
        }
    }
}

fn in_words(names: &BTreeSet<String>) -> String {
    names.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}
