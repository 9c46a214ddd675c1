"""Context file: functions marked @Variable are executed for each run, and their values are shown in the table.

`amore check` reports problems in this file; `amore-proto reprocess RUN` computes it for a run.
"""

from damnit_ctx import Variable


@Variable(title="Trains")
def n_trains(run):
    """Number of trains in the run."""
    return len(run.train_ids)


@Variable(title="Run number")
def run_number(run, number: "meta#run_number"):
    """The run's number."""
    return number
