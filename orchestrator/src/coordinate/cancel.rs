//! `amore cancel`: ending what is under way of a run, or in a job.

use std::collections::BTreeSet;

use amore_model::{JobId, Run};

use super::{events::count, session::Session, tracker::TaskState};
use crate::failure::Failure;

impl Session<'_> {
    /// Ends all tasks of a run, or the one in a job; says what was done.
    ///
    /// # Errors
    /// There is nothing to end, or it is not clear what is meant; nothing was done.
    pub(super) fn cancel_run_or_job(&mut self, named: &JobId) -> Result<String, Failure> {
        let open = |session: &Self, of: &dyn Fn(&super::tasks::TaskRecord) -> bool| -> Vec<usize> {
            let tasks = session.tasks.iter().enumerate();
            tasks
                .filter(|(_, task)| !matches!(task.state, TaskState::Ended { .. }) && of(task))
                .map(|(at, _)| at)
                .collect()
        };
        let mut found = match named.cluster {
            None => open(self, &|task| u64::from(task.run.0) == named.number),
            Some(_) => Vec::new(),
        };
        let mut what = format!("run {named}");
        if found.is_empty() {
            found = open(self, &|task| task.state.job().is_some_and(|job| job.is_meant_by(named)));
            what = format!("job {named}");
            let which: BTreeSet<&JobId> = found.iter().filter_map(|at| self.tasks[*at].state.job()).collect();
            if which.len() > 1 {
                let each: Vec<String> = which.iter().map(|job| format!("amore cancel {job}")).collect();
                let words =
                    format!("{} have a job {named}: nothing is cancelled", count(which.len(), "cluster"));
                return Err(Failure::new(words).hint(each.join(", or ")));
            }
        }
        let left_out = if found.is_empty() { self.leave_out(named) } else { false };
        if left_out {
            return Ok(format!("run {named}: left out of what is being prepared"));
        }
        if found.is_empty() {
            let run = if named.cluster.is_none() { "run or " } else { "" };
            return Err(Failure::new(format!("nothing of a {run}job {named} is under way"))
                .hint("`amore jobs` shows what is"));
        }
        let mut jobs = Vec::new();
        // The task that calls a function is told of its command's end.
        let telling: Vec<usize> =
            found.iter().copied().filter(|at| self.tells_of_a_command(*at, &found)).collect();
        for position in found.iter().filter(|at| !telling.contains(at)) {
            self.story(*position, "cancelled", "cancelled by amore cancel".to_owned());
            match self.tasks[*position].state.clone() {
                TaskState::InJob { token, job, .. } => {
                    self.command_is_cancelled(*position, job.as_ref());
                    jobs.extend(job.map(|job| job.to_string()));
                    self.let_go(&token);
                    self.jobs.lane().cancel(token);
                    self.cancel_task(*position);
                }
                // Its worker is gone.
                TaskState::Running { .. } if self.lost_with_worker.remove(position) => {
                    self.cancel_task(*position)
                }
                // It says itself that it is over.
                TaskState::Running { .. } => {
                    self.command_is_cancelled(*position, None);
                    self.told_to_end.insert(*position);
                    self.to_cancel.push(self.tasks[*position].id.clone());
                }
                _ => self.cancel_task(*position),
            }
        }
        if named.cluster.is_none() {
            self.leave_out(named);
        }
        let mut words = format!("{what}: {} cancelled", count(found.len(), "task"));
        if !jobs.is_empty() {
            words.push_str(&format!(" (jobs {})", jobs.join(", ")));
        }
        Ok(words)
    }
    /// Takes a run out of the requests that are not planned yet; says whether any wanted it.
    fn leave_out(&mut self, named: &JobId) -> bool {
        let Some(run) = u32::try_from(named.number).ok().map(Run).filter(|_| named.cluster.is_none()) else {
            return false;
        };
        let mut any = false;
        for incoming in self.incoming.iter_mut().filter(|incoming| incoming.request.names_run(run)) {
            incoming.left_out.insert(run);
            any = true;
        }
        any
    }
}
