"""Properties of a site: small nodes, partitions for reservations only, and options that it does not know."""

from __future__ import annotations

import json

from databases import Database, wait_until

MEMORY = '''
@Variable(cluster=True, mem="2500M")
def large(run):
    effect("large")
    wait_for("never")

@Variable(cluster=True, mem="2500M")
def small(run, large: "var#large" = 0):
    effect("small")
    return 2
'''
ONE = '''
@Variable(cluster=True)
def quick(run):
    effect("quick")
    return 1
'''
LIGHT = '''
@Variable
def light(run):
    return 1
'''


def slurm_of(text: str) -> str:
    """Doctor's output about Slurm."""
    return text[text.index("\nslurm\n") :].split("\n\n")[0]


def out_of_memory(database: Database, count: int) -> None:
    """Lets the job that computes `large` for the count'th time run out of memory."""
    database.wait_effects(large=count)
    running = [job["id"] for job in database.jobs(1) if job["state"] == "RUNNING"]
    database.cluster.end(running[-1], "OUT_OF_MEMORY")


def test_memory_is_raised_to_what_the_largest_node_has(database: Database) -> None:
    database.context(MEMORY)
    command = database.begin("reprocess", "1")
    out_of_memory(database, 1)
    out_of_memory(database, 2)
    said = command.ends()
    assert "again with 4000 MiB of memory" in said and "refuse" not in said
    # A node of the cluster has 4000 MB: twice 2500 would be refused.
    assert [job["mem"] for job in database.jobs(1)][:2] == ["2500M", "4000M"]
    kind, message = database.rows(1)["large"]
    assert kind == "MemoryError" and "ran out of memory" in message
    assert "with 4000 MiB in the last attempt" in message and "the largest node available to it has 4000 MiB" in message
    assert database.rows(1)["small"] == 2
    assert database.executions() == {"large": 2, "small": 1}


def test_a_refusal_of_more_memory_is_a_want_of_memory(database: Database) -> None:
    """Slurm offers less memory than the nodes have. Only the variable itself gets the error, and its neighbour is computed.
    """
    database.context(MEMORY)
    refuses = (
        'case "$*" in *--mem=2500M*|*--mem=[0-9][0-9][0-9]M*) exec "$REAL/sbatch" "$@";; esac\n'
        'echo "sbatch: error: Memory specification can not be satisfied" >&2\n'
        'echo "sbatch: error: Batch job submission failed: Requested node configuration is not available" >&2; exit 1\n'
    )
    database.front("sbatch", refuses)
    command = database.begin("reprocess", "1")
    out_of_memory(database, 1)
    said = command.ends()
    assert "Slurm has no more memory for large" in said
    kind, message = database.rows(1)["large"]
    assert kind == "MemoryError" and "with 2500 MiB in the last attempt" in message and "Memory specification" in message
    assert "noncluster" not in message
    assert database.rows(1)["small"] == 2 and database.executions() == {"large": 1, "small": 1}


def test_a_job_that_asked_for_nothing_gets_all_that_there_is(database: Database) -> None:
    database.context(MEMORY.replace(', mem="2500M"', ""))
    command = database.begin("reprocess", "1")
    out_of_memory(database, 1)
    out_of_memory(database, 2)
    command.ends()
    assert database.rows(1)["large"][0] == "MemoryError" and database.rows(1)["small"] == 2
    assert [job["mem"] for job in database.jobs(1)][:2] == ["", "4000M"]


def test_a_reservation_and_the_partition_of_its_nodes(database: Database) -> None:
    """Both are passed to Slurm; without the reservation, the partition remains."""
    database.context(ONE)
    database.cluster.partition("closed", "n3", reserved_only=True)
    database.cluster.reserve("shift7", "n3")
    with database.cluster.store.change() as state:
        state["partitions"]["main"]["nodes"] = ["n1", "n2"]
    database.amore("db-config", "slurm_reservation", "shift7")
    database.amore("db-config", "slurm_partition", "closed")
    assert "PROBLEM" not in slurm_of(database.amore("doctor").stdout)
    planned = json.loads(database.amore("plan", "1", "--json").stdout)["jobs"][0]
    assert (planned["reservation"], planned["partition"], planned["remarks"]) == ("shift7", "closed", [])
    said = database.begin("reprocess", "1").ends()
    assert "warning" not in said and "refuse" not in said
    (job,) = database.jobs(1)
    assert (job["reservation"], job["partition"], job["nodes"]) == ("shift7", "closed", ["n3"])

    database.cluster.reservation_over("shift7")
    planned = json.loads(database.amore("plan", "1", "--json").stdout)["jobs"][0]
    assert "reservation" not in planned and planned["partition"] == "main"
    assert any("only accepts jobs with a reservation" in remark for remark in planned["remarks"])
    told = slurm_of(database.amore("doctor", code=1).stdout)
    assert "shift7 does not exist" in told and "fallback" in told and "main" in told
    said = database.begin("reprocess", "1").ends()
    assert "the partition closed only accepts jobs with a reservation" in said and "error" not in said
    assert database.jobs(1)[-1]["partition"] == "main"


def test_a_variable_asks_for_both_and_a_reservation_elsewhere_goes_alone(database: Database) -> None:
    database.context(ONE.replace("cluster=True", 'cluster=True, reservation="shift7", partition="closed"'))
    database.cluster.partition("closed", "n3", reserved_only=True)
    database.cluster.reserve("shift7", "n3")
    database.begin("reprocess", "1").ends()
    assert [(job["reservation"], job["partition"]) for job in database.jobs(1)] == [("shift7", "closed")]
    # The nodes of the reservation are not in the configured partition.
    database.cluster.reservation_over("shift7")
    database.cluster.reserve("shift7", "n1")
    said = database.begin("reprocess", "1").ends()
    assert "they use the reservation only" in said
    # Slurm keeps the refused job as a failed one.
    refused, taken = database.ended_jobs(1)[1:]
    assert (refused["partition"], refused["state"], refused["reason"]) == ("closed", "FAILED", "BadConstraints")
    assert (taken["reservation"], taken["partition"], taken["state"]) == ("shift7", "main", "COMPLETED")


def test_hidden_is_no_reason_against_a_partition_that_is_set(database: Database) -> None:
    database.context(ONE)
    database.cluster.partition("quiet", "n3", hidden=True)
    database.amore("db-config", "slurm_partition", "quiet")
    told = slurm_of(database.amore("doctor").stdout)
    assert "PROBLEM" not in told and "quiet is usable" in told
    assert "warning" not in database.amore("plan", "1").stdout
    database.begin("reprocess", "1").ends()
    assert [job["nodes"] for job in database.jobs(1)] == [["n3"]]


def test_options_that_a_site_does_not_take_can_be_left_out(database: Database) -> None:
    refuses = (
        'for word in "$@"; do case $word in --mem=*|--cpus-per-task=*)\n'
        'echo "sbatch: error: that cannot be asked for here" >&2\n'
        'echo "sbatch: error: Batch job submission failed: Requested node configuration is not available" >&2\n'
        "exit 1;; esac; done\n"
        'exec "$REAL/sbatch" "$@"\n'
    )
    database.context(LIGHT + ONE.replace("cluster=True", 'cluster=True, mem="1G", cpus=2'))
    database.front("sbatch", refuses)
    database.amore("db-config", "noncluster", "slurm")
    said = database.begin("reprocess", "1", "--var", "light").ends()
    assert "that cannot be asked for here" in said and "to `none` to leave the option out" in said
    told = slurm_of(database.amore("doctor", code=1).stdout)
    assert "noncluster" in told and "its nodes have at most 4000 MiB of memory" in told
    database.amore("db-config", "noncluster_mem", "none")
    database.amore("db-config", "noncluster_cpus", "none")
    assert "neither CPUs nor memory" in slurm_of(database.amore("doctor").stdout)
    database.begin("reprocess", "1", "--var", "light").ends()
    assert database.rows(1)["light"] == 1
    for key in ("slurm_mem", "slurm_cpus"):
        assert "can only be none" in database.amore("db-config", key, "4", code=1).stderr
        database.amore("db-config", key, "none")
    database.begin("reprocess", "1").ends()
    assert database.rows(1) == {"light": 1, "quick": 1}


NESTED = '''
import json, subprocess, sys

def of(environment):
    return {name: value for name, value in environment.items() if name.startswith(("SLURM", "SBATCH"))}

@Variable(cluster=True, mem="500M", cpus=2)
def seen(run):
    os.environ["SLURM_CPUS_PER_TASK"] = "7"
    return json.dumps(of(os.environ))

@Variable(cluster=True, mem="500M", cpus=2)
def inherited(run, seen: "var#seen"):
    program = "import json, os; print(json.dumps(dict(os.environ)))"
    one = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    other = os.popen(f"{sys.executable} -c '{program}'").read()
    return json.dumps([of(json.loads(one)), of(json.loads(other)), of(os.environ)])
'''


def test_programs_that_a_variable_starts_do_not_inherit_the_options_of_its_job(database: Database) -> None:
    database.context(NESTED)
    database.begin("reprocess", "1").ends()
    values = database.rows(1)
    *inherited, seen = json.loads(values["inherited"])
    for environment in (*inherited, seen):
        assert environment["SLURM_JOB_ID"] == "4201" and "SLURM_JOB_NODELIST" in environment
    for environment in inherited:
        options = ("SLURM_MEM", "SBATCH", "SLURM_CPUS_PER_TASK")
        assert not {name for name in environment if name.startswith(options)}
    # Variables that describe the size of the job can be read, and are restored after each variable.
    assert (seen["SLURM_CPUS_PER_TASK"], seen["SLURM_MEM_PER_NODE"]) == ("2", "500")
    assert not {name for name in seen if name.startswith("SBATCH")}
    wait_until(lambda: database.cluster.job("4201")["state"] == "COMPLETED", "its end")
