//! What the metadata catalogue says about runs: asked once for each run of a request, and kept until the run is closed.

use std::collections::{BTreeMap, BTreeSet};

use amore_model::MymdcField;
use amore_wire::mymdc::MymdcValues;

use crate::{request::RequestNo, task::TaskNo, tasks::RunKey};

/// A run of a request.
type Of = (RequestNo, RunKey);

#[derive(Debug, Default)]
pub(crate) struct Mymdc {
    runs: BTreeMap<Of, OfRun>,
}

#[derive(Debug, Default)]
struct OfRun {
    known: MymdcValues,
    asked: BTreeSet<MymdcField>,
    waiting: BTreeSet<TaskNo>,
}

impl Mymdc {
    /// The values of these fields; `None` if one is not known yet.
    pub(crate) fn values(&self, of: Of, fields: &BTreeSet<MymdcField>) -> Option<MymdcValues> {
        let known = self.runs.get(&of).map(|run| &run.known);
        fields.iter().map(|field| Some((*field, known?.get(field)?.clone()))).collect()
    }

    /// A task waits for the answer. Gives those of the fields that nobody has asked for yet.
    pub(crate) fn wait(
        &mut self,
        of: Of,
        task: TaskNo,
        fields: BTreeSet<MymdcField>,
    ) -> BTreeSet<MymdcField> {
        let run = self.runs.entry(of).or_default();
        run.waiting.insert(task);
        fields.into_iter().filter(|field| run.asked.insert(*field)).collect()
    }

    /// The catalogue has answered, or could not be asked. Gives the tasks that have waited. An answer about a run that is
    /// closed is not needed any more.
    pub(crate) fn answered(&mut self, of: Of, values: MymdcValues) -> BTreeSet<TaskNo> {
        let Some(run) = self.runs.get_mut(&of) else { return BTreeSet::new() };
        run.known.extend(values);
        std::mem::take(&mut run.waiting)
    }

    /// The run is closed.
    pub(crate) fn forget_run(&mut self, of: Of) {
        self.runs.remove(&of);
    }

    /// The request is over.
    pub(crate) fn forget_request(&mut self, request: RequestNo) {
        self.runs.retain(|(of, _), _| *of != request);
    }
}

#[cfg(test)]
mod tests {
    use amore_model::{Proposal, Run};
    use amore_wire::mymdc::MymdcValue;

    use super::*;

    const OF: Of = (RequestNo(1), (Proposal(1), Run(7)));

    fn fields(fields: &[MymdcField]) -> BTreeSet<MymdcField> {
        fields.iter().copied().collect()
    }

    #[test]
    fn each_field_of_a_run_is_asked_once_and_all_who_wait_are_told() {
        let mut mymdc = Mymdc::default();
        let (sample, both) = (fields(&[MymdcField::SampleName]), fields(&MymdcField::ALL[..2]));
        assert_eq!(mymdc.values(OF, &BTreeSet::new()), Some(MymdcValues::new()));
        assert_eq!(mymdc.values(OF, &sample), None);
        assert_eq!(mymdc.wait(OF, TaskNo(1), sample.clone()), sample);
        assert_eq!(mymdc.wait(OF, TaskNo(2), both.clone()), fields(&[MymdcField::RunType]));
        let value = MymdcValue::Value { json: "\"a\"".to_owned() };
        let known = MymdcValues::from([(MymdcField::SampleName, value)]);
        assert_eq!(mymdc.answered(OF, known.clone()), [TaskNo(1), TaskNo(2)].into());
        assert_eq!(mymdc.values(OF, &sample), Some(known.clone()));
        assert_eq!(mymdc.values(OF, &both), None, "the other answer is still under way");
        mymdc.forget_run(OF);
        assert!(mymdc.answered(OF, known).is_empty(), "it came too late");
        assert_eq!(mymdc.wait(OF, TaskNo(3), sample.clone()), sample, "it is asked again");
        mymdc.forget_request(RequestNo(1));
        assert!(mymdc.runs.is_empty());
    }
}
