"""Slurm's messages. Each refusal has the name of its recording, slurm-tests/recorded/*/sbatch/NAME.txt."""

from __future__ import annotations

FAILED = "sbatch: error: Batch job submission failed: "
POLICY = FAILED + "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"
NODES = FAILED + "Requested node configuration is not available"

REFUSALS = {
    "account-unknown": FAILED + "Invalid account or account/partition combination specified",
    "feature-unknown": FAILED + "Invalid feature specification",
    "gres-unknown": "sbatch: error: Invalid generic resource (gres) specification",
    "limit-of-submitted-jobs": "sbatch: error: AssocMaxSubmitJobLimit\n" + POLICY,
    "memory-too-much": "sbatch: error: Memory specification can not be satisfied\n" + NODES,
    "name-too-long": FAILED + "Pathname of a file, directory or other parameter too long",
    "node-unknown": FAILED + "Invalid node name specified",
    "partition-unknown": (
        "sbatch: error: invalid partition specified: {partition}\n" + FAILED + "Invalid partition name specified"
    ),
    "qos-limit": "sbatch: error: QOSMaxSubmitJobPerUserLimit\n" + POLICY,
    "qos-unknown": FAILED + "Invalid qos specification",
    "reservation-over": "sbatch: error: Problem using reservation\n" + NODES,
    "reservation-not-permitted": FAILED + "Access denied to requested reservation",
    "reservation-too-small": NODES,
    "reservation-unknown": FAILED + "Requested reservation is invalid",
    "script-empty": "sbatch: error: Batch script is empty!",
    "script-without-interpreter": (
        "sbatch: error: This does not look like a batch script.  The first\n"
        "sbatch: error: line must start with #! followed by the path to an interpreter.\n"
        "sbatch: error: For instance: #!/bin/sh"
    ),
}

DEAD = "Unable to contact slurm controller (connect failure)"
SILENT = "Socket timed out on send/recv operation"
NO_DATABASE = (
    "slurm_persist_conn_open_without_init: failed to open persistent connection to host:slurmdbd:6819: ",
    "Sending PersistInit msg: ",
)
UNKNOWN_JOB = "slurm_load_jobs error: Invalid job id specified"
NO_RESERVATIONS = "No reservations in the system"
RESERVATION_IN_USE = "delete_reservation ReservationName={name}: Requested reservation is in use"
NO_REQUEUE = "Requested operation is presently disabled for job {number}"
NODES_OUT_OF_SERVICE = (
    "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions"
)
# The reason in the queue of a job that ended.
REASONS = {
    "COMPLETED": "None",
    "CANCELLED": "None",
    "PREEMPTED": "None",
    "NODE_FAIL": "NodeDown",
    "TIMEOUT": "TimeLimit",
    "OUT_OF_MEMORY": "OutOfMemory",
}
EXIT_CODES = {"OUT_OF_MEMORY": "0:125", "NODE_FAIL": "1:0"}
NOT_STARTED = "RaisedSignal:53(Real-time signal 19)"


class Refusal(Exception):
    """A command fails: its message on standard error, and its exit code."""

    def __init__(self, words: str, code: int = 1) -> None:
        super().__init__(words)
        self.code = code


def refusal(name: str, **given: str) -> Refusal:
    """The refusal of a recording."""
    return Refusal(REFUSALS[name].format(**given))
