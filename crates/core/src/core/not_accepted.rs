//! What becomes of a job that Slurm has not accepted: refused, or lost with the answer.

use std::collections::BTreeSet;

use amore_slurm::{
    job_end::JobEnd,
    refused::{RefusalKind, Refused},
    submission::Doubt,
};
use amore_wire::ended::Ended;

use crate::{
    after_job::MAX_FAULTS,
    after_refusal::is_taken_here,
    core::Core,
    effect::{Effect, Question},
    events::Event,
    history::HistoryKind,
    job_memory::amount,
    submissions::AfterRefusal,
    task::TaskNo,
    task_state::TaskMove,
};

impl Core {
    pub(super) fn on_refused(&mut self, number: TaskNo, why: Refused) {
        let Some(task) = self.tasks.get(number) else { return };
        let (run, left_reservation) = (task.run, task.retry.leave_reservation);
        let words = why.words.trim_end_matches('.').to_owned();
        self.note_history(number, HistoryKind::Refused, refusal_text(&why));
        if !matches!(why.kind, RefusalKind::NotExecuted | RefusalKind::Passes | RefusalKind::Limit)
            && self.refused_more_memory(number, &why)
        {
            return;
        }
        if why.kind == RefusalKind::Reservation && why.is_about_resources() && self.asks_for_both(number) {
            self.submit_again(number, |retry| retry.reservation_alone = true);
            self.tell_once(
                number,
                Event::note(format!(
                    "Slurm does not accept jobs with both the reservation and the partition ({words}); they use the reservation only"
                )),
            );
            return;
        }
        if why.kind == RefusalKind::Reservation && !left_reservation {
            self.submit_again(number, |retry| retry.leave_reservation = true);
            self.tell_once(
                number,
                Event::warning(format!(
                    "Slurm does not accept jobs in the reservation ({words}); they go to a partition\n  hint: {}",
                    why.hint
                )),
            );
            return;
        }
        let now = self.now.steady;
        let AfterRefusal { retry_in, since, reports } = self.submissions.refused(number, why.kind, now);
        if self.may_take_here(number) && is_taken_here(retry_in.is_some(), since) {
            self.take_here(number, &words);
            return;
        }
        if let Some(delay) = retry_in {
            self.advance(number, TaskMove::NotSubmitted);
            let long = match since.as_secs() / 60 {
                minutes if reports > 0 => format!(", for {minutes} minutes now"),
                _ => String::new(),
            };
            let what = match why.kind {
                RefusalKind::Unknown => "did not accept the job",
                _ => "accepts no more jobs now",
            };
            self.tell_about(
                number,
                format!("{} {words} {reports}", why.kind == RefusalKind::Unknown),
                Event::note(format!("Slurm {what} ({words}){long}; {}", retry_text(&why))),
            );
            self.ready.delay(now + delay, number);
            return;
        }
        let refused = match why.kind {
            RefusalKind::NotExecuted => format!("run {run} was not submitted: {words}\n  hint: {}", why.hint),
            _ => format!("Slurm refuses the job of run {run}: {words}\n  hint: {}", why.hint),
        };
        self.tell_once(number, Event::error(refused));
        // Earlier values, which may have taken hours, are not replaced by the error of a job that never ran.
        let Some(task) = self.tasks.get(number) else { return };
        if task.planned.job.is_some() {
            self.give_up_refused(number, &why);
        } else {
            let question = Question::EarlierValues { key: task.key() };
            self.submissions.wait_for_earlier_values(number, why);
            self.effects.push(Effect::Ask { task: number, question });
        }
    }

    /// Is it computed on this host if Slurm does not take its job?
    fn may_take_here(&self, number: TaskNo) -> bool {
        let is_command = self.tasks.get(number).is_some_and(|task| task.planned.job.is_some());
        self.setup.takes_refused && !is_command
    }

    /// Slurm does not take the job of a task, and certainly does not have it: it is computed on this host.
    fn take_here(&mut self, number: TaskNo, words: &str) {
        let Some(run) = self.tasks.get(number).map(|task| task.run) else { return };
        self.submissions.accepted(number);
        self.tell_once(
            number,
            Event::warning(format!(
                "Slurm does not take the job of run {run} ({words}); it is computed on this host"
            )),
        );
        self.submit_again(number, |retry| retry.here = true);
    }

    /// The answer to a submission was lost, and no such job was found: Slurm answers by now. Until it does, nothing is known
    /// about the job, so it is neither submitted again nor computed here.
    pub(super) fn on_not_found(&mut self, number: TaskNo, doubt: Doubt) {
        if doubt == Doubt::NotReached {
            let refused = self.submissions.refused(number, RefusalKind::Passes, self.now.steady);
            if self.may_take_here(number) && is_taken_here(true, refused.since) {
                self.take_here(number, "its controller is not reached");
                return;
            }
        }
        self.advance(number, TaskMove::NotSubmitted);
        // A controller that was not reached has accepted nothing: this does not count as a try.
        if doubt != Doubt::NotReached {
            let Some(task) = self.tasks.get_mut(number) else { return };
            task.retry.tries.faults += 1;
            let (run, faults) = (task.run, task.retry.tries.faults);
            let words = match doubt {
                Doubt::Unnumbered => {
                    "sbatch accepted its job, but printed no number that could be read; neither queue nor accounting shows it, and no worker has started"
                }
                Doubt::NotReached | Doubt::Unanswered => {
                    "sbatch got no answer for its job; neither queue nor accounting shows it, and no worker has started"
                }
            };
            self.note_history(number, HistoryKind::NotFound, words.to_owned());
            if faults >= MAX_FAULTS {
                self.tell_once(number, Event::error(format!("run {run}: {words}; given up")));
                let message =
                    format!("{words}, {MAX_FAULTS} times\n`amore doctor` tests Slurm's commands one by one");
                self.give_up_rest(number, "JobFailed", &message);
                return;
            }
            self.tell_once(number, Event::note(format!("run {run}: {words}; submitted again")));
        }
        self.enqueue(number);
    }

    /// Decides about a task whose job is refused for good: earlier values of all its variables are kept.
    pub(super) fn on_earlier_values(&mut self, number: TaskNo, values: &BTreeSet<String>) {
        let Some(why) = self.submissions.take_refused(number) else { return };
        let Some(task) = self.tasks.get(number) else { return };
        if !task.planned.names().iter().all(|name| values.contains(name.as_str())) {
            self.give_up_refused(number, &why);
            return;
        }
        let problem = match why.kind {
            RefusalKind::NotExecuted => {
                format!("{}; earlier values are kept", why.words.trim_end_matches('.'))
            }
            _ => "Slurm refused its job; earlier values are kept".to_owned(),
        };
        self.end_task(number, Some(problem));
    }

    fn give_up_refused(&mut self, number: TaskNo, why: &Refused) {
        self.advance(number, TaskMove::NotSubmitted);
        let class = match why.kind {
            RefusalKind::NotExecuted => "JobNotSubmitted",
            _ => "JobRefused",
        };
        self.give_up_rest(number, class, &format!("{}\n{}", refusal_text(why), why.hint));
    }

    /// Another attempt, with this change.
    fn submit_again(&mut self, number: TaskNo, change: impl FnOnce(&mut crate::task::RetryState)) {
        if let Some(task) = self.tasks.get_mut(number) {
            change(&mut task.retry);
        }
        self.advance(number, TaskMove::NotSubmitted);
        self.enqueue(number);
    }

    /// Did the job ask for a reservation and a partition?
    fn asks_for_both(&self, number: TaskNo) -> bool {
        self.asked_for(number, "")
            .is_some_and(|asked| asked.reservation.is_some() && asked.partition.is_some())
    }

    /// If Slurm refuses the raised memory of a job: the variable that ran out of memory gets an error, and the others are
    /// computed with the memory of the job before. `false`: the refusal has another reason.
    fn refused_more_memory(&mut self, number: TaskNo, why: &Refused) -> bool {
        let Some(task) = self.tasks.get_mut(number) else { return false };
        if !why.is_about_resources() || task.planned.job.is_some() {
            return false;
        }
        let run = task.run;
        let Some((name, refused)) = task.retry.take_back_memory() else { return false };
        let memory = self.memory_of(number);
        let asked = refused.map(amount).unwrap_or_default();
        let words = why.words.trim_end_matches('.');
        let message = format!(
            "{}\nSlurm refused a job with {asked}: {words}",
            memory.error(&format!("its job {}", JobEnd::OutOfMemory))
        );
        self.tell_once(
            number,
            Event::note(format!(
                "run {run}: Slurm has no more memory for {name} ({words}); giving it up and computing the others"
            )),
        );
        if let Some(task) = self.tasks.get_mut(number) {
            task.retry.give_up.insert(name, Ended::Error { class: "MemoryError".to_owned(), message });
        }
        self.advance(number, TaskMove::NotSubmitted);
        self.enqueue(number);
        true
    }
}

/// Why the job is submitted again, or what to do.
fn retry_text(why: &Refused) -> &str {
    match why.kind {
        RefusalKind::Unknown => "Amore submits it again a few times, in case this is temporary",
        _ => &why.hint,
    }
}

/// The message of Slurm, or of the system, about a job that was not accepted.
fn refusal_text(why: &Refused) -> String {
    let words = why.words.trim_end_matches('.');
    match why.kind {
        RefusalKind::NotExecuted => words.to_owned(),
        _ => format!("Slurm refused the job: {words}"),
    }
}
