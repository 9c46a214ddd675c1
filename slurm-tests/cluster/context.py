"""What `make slurm-cluster-shell` computes: one value here, two in Slurm jobs."""

import os

from damnit_ctx import Variable


@Variable(title="Trains")
def trains(run):
    """Number of trains of the run."""
    return len(run.train_ids)


@Variable(title="Heavy", cluster=True)
def heavy(run, trains: "var#trains"):
    """Computed in a Slurm job, of a value that was computed before it."""
    print("computed in job", os.environ["SLURM_JOB_ID"])
    return trains**2


@Variable(title="Job with two CPUs", cluster=True, cpus=2, mem="500M", time="0:10:00")
def with_resources(run):
    """A job of its own, with what it asks for."""
    return os.environ["SLURM_CPUS_PER_TASK"]
