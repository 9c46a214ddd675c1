"""Named clusters (`slurm_clusters`): a job is identified by its number and its cluster.

In addition to the test cluster `lab`, a second one, `annex`, is started: another slurmctld on the controller's machine,
with one node on n3's machine. Both use the same accounting.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from clusters import Site, wait_until
from compose_site import ComposeSite
from databases import Database

# annex has its own files next to lab's. Its jobs need no cgroups, which lab's slurmd owns.
CONF = r"""
sed -e 's/^ClusterName=.*/ClusterName=annex/' -e 's#/var/spool/slurmctld#/var/spool/annexctld#' \
    -e 's#/run/slurm/#/run/annex/#' -e 's#/var/log/slurm/#/var/log/slurm/annex-#' \
    -e 's#/var/spool/slurmd#/var/spool/annexd#' -e '/^NodeName/d; /tracking.conf/d; /partitions.conf/d' \
    /etc/slurm/slurm.conf > /etc/annex.conf
printf '%s\n' SlurmctldPort=6827 "FirstJobId=$1" ProctrackType=proctrack/linuxproc TaskPlugin=task/none \
    'NodeName=a1 NodeHostname=n3 NodeAddr=n3 Port=6828 CPUs=4 RealMemory=4000 State=UNKNOWN' \
    'PartitionName=annexed Nodes=ALL Default=YES State=UP MaxTime=1-00:00:00' >> /etc/annex.conf
rm -rf /run/annex /var/spool/annexctld /var/spool/annexd
install -d -o slurm -g slurm /run/annex /var/spool/annexctld
install -d /var/spool/annexd
"""
CONTROLLER = """
sacctmgr -i add cluster annex
sacctmgr -i add account physics cluster=annex
sacctmgr -i add user alice account=physics cluster=annex
slurmctld -f /etc/annex.conf
"""

WAITS = '''
@Variable(cluster=True)
def waits(run, r: "meta#run_number"):
    effect(f"waits-{r}")
    wait_for(f"go-{r}")
    return 10 * r
'''
NEAR_AND_FAR = '''
@Variable(cluster=True, partition="main")
def near(run):
    effect("near")
    print("printed near")
    wait_for("go-near")
    return 1

@Variable()
def later(run):
    wait_for("go-later")
    return 0

@Variable(cluster=True, partition="annexed")
def far(run, later: "var#later"):
    effect("far")
    print("printed far")
    wait_for("go-far")
    return 2
'''


@pytest.fixture(scope="module")
def annex(whole_site: Site) -> Iterator[Site]:
    """Starts the second cluster."""
    site = whole_site
    if not isinstance(site, ComposeSite):
        pytest.skip("a second cluster is made in containers only")
    # Its numbers start below lab's; a test brings them to the same number.
    first = str(max(1, number_of(site, "lab") - 20))
    site.run("root", ["sh", "-ec", CONF + CONTROLLER, "sh", first], where="slurmctld")
    site.run("root", ["sh", "-ec", CONF + "slurmd -f /etc/annex.conf -N a1", "sh", first], where="n3")

    def state() -> str:
        return site.run("root", ["sinfo", "-M", "annex", "-h", "-o", "%T"], check=False).stdout

    try:
        wait_until(lambda: "idle" in state().split(), 60, "the node of annex", state)
        yield site
    finally:
        site.run("root", ["sh", "-c", "scancel -M annex -u alice; sleep 1"])
        site.run("root", ["sh", "-c", "kill $(cat /run/annex/slurmd.pid)"], where="n3")
        # It must have ended before accounting allows its cluster to be deleted.
        ends = "pid=$(cat /run/annex/slurmctld.pid); kill $pid; while kill -0 $pid; do sleep 0.2; done 2>/dev/null"
        site.run("root", ["sh", "-c", ends + "; sacctmgr -i delete cluster annex"], where="slurmctld", check=False)


def number_of(site: Site, cluster: str) -> int:
    """The number that a cluster assigns to a job now. The job never starts."""
    number = site.submit("alice", "true", "--hold", "-M", cluster)
    site.run("root", ["scancel", "-M", cluster, number])
    return int(number)


def on(database: Database, clusters: str) -> None:
    database.amore("db-config", "slurm_clusters", clusters)


def under_way(database: Database) -> list[dict]:
    return json.loads(database.proposal.amore("jobs", "--json").stdout)


@pytest.mark.version
def test_a_job_is_followed_on_the_cluster_that_is_named(database: Database) -> None:
    database.context(WAITS)
    on(database, "lab")
    command = database.proposal.start_amore("reprocess", "1-2")
    database.wait_effect("waits-1", "waits-2")
    shown = wait_until(lambda: [row for row in under_way(database) if row["state"] == "RUNNING"][1:], 30, "the queue")
    assert shown[0]["cluster"] == "lab"
    assert set(database.jobs()) == {row["job"] for row in under_way(database)}
    # The next owner identifies them in the same way.
    command.signal("INT")
    assert command.wait(60) == 130
    job = shown[0]["job"]
    assert f"{job}@lab" in database.amore("jobs")
    follower = database.proposal.start_amore("follow")
    wait_until(lambda: "from earlier commands" in follower.stdout + follower.stderr, 30, "the next owner")
    assert f"job {job}@lab is RUNNING on n" in database.amore("explain", str(shown[0]["run"]))
    database.touch("go-1")
    database.touch("go-2")
    assert follower.wait(60) == 0, follower.stderr
    rows = database.rows()
    assert (rows[1]["waits"], rows[2]["waits"]) == (10, 20)
    assert database.effects() == {"waits-1": 1, "waits-2": 1}
    logs = json.loads(database.proposal.amore("log", str(shown[0]["run"]), "--json").stdout)
    assert [(log["slurm_job"], log["slurm_cluster"]) for log in logs if log["slurm_job"]] == [(int(job), "lab")]
    assert f"Slurm accepted job {job}@lab" in database.amore("explain", str(shown[0]["run"]), "waits")


def test_an_answer_that_was_lost_is_found_on_the_cluster(database: Database) -> None:
    database.context('@Variable(cluster=True)\ndef a(run, r: "meta#run_number"):\n    effect(f"a-{r}")\n    return r\n')
    on(database, "lab")
    database.amore("reprocess", "1")
    with database.site.paused("slurmctld"):
        command = database.proposal.start_amore("reprocess", "2-3")
        wait_until(lambda: "Slurm on lab does not answer" in command.stderr + command.stdout, 60, "the silence")
    assert command.wait(180) == 0, command.stderr
    rows = database.rows()
    assert (rows[2]["a"], rows[3]["a"]) == (2, 3)
    assert database.effects() == {"a-1": 1, "a-2": 1, "a-3": 1}


def test_a_cluster_that_there_is_not(database: Database) -> None:
    database.context(WAITS)
    on(database, "nosuch")
    said = database.amore("reprocess", "1")
    assert "No cluster 'nosuch' known by database" in said
    assert "amore-proto db-config slurm_clusters NAME" in said
    assert database.rows()[1]["waits"]["error"]["class"] == "JobRefused"
    found = database.amore("doctor", code=1)
    assert "the cluster nosuch does not exist: accounting knows " in found
    assert "slurm_clusters must be names of clusters" in database.amore("db-config", "slurm_clusters", "a b", code=1)


def test_two_clusters_that_give_the_same_number(annex: Site, database: Database) -> None:
    database.context(NEAR_AND_FAR)
    on(database, "lab,annex")
    command = database.proposal.start_amore("reprocess", "1")
    database.wait_effect("near")
    [near] = [int(row["job"]) for row in under_way(database) if row["job"]]
    # With several clusters, sbatch first asks each when the job would start, which uses up a number.
    while number_of(annex, "annex") < near - 2:
        pass
    database.touch("go-later")
    database.wait_effect("far")
    said = command.stdout + command.stderr
    assert "Slurm chooses the cluster (lab,annex): Amore does not check partition and reservation" in said
    found = {(row["variables"][0], row["cluster"]): row["job"] for row in under_way(database) if row["job"]}
    assert set(found) == {("near", "lab"), ("far", "annex")}
    assert len(set(found.values())) == 1, found
    number = found["near", "lab"]
    # Only the ledger remains of a coordinator that is killed.
    command.kill()
    follower = database.proposal.start_amore("follow")
    wait_until(lambda: "from earlier commands" in follower.stdout + follower.stderr, 30, "the next owner")
    said = database.amore("cancel", number, code=1)
    assert f"2 clusters have a job {number}: nothing is cancelled" in said
    assert f"amore cancel {number}@annex" in said
    assert "1 task cancelled" in database.amore("cancel", f"{number}@annex")
    gone = ["squeue", "-M", "annex", "-h", "-t", "all", "-j", number, "-o", "%T"]
    wait_until(lambda: annex.run("alice", gone).stdout.strip() == "CANCELLED", 30, "the end of the job on annex")
    assert annex.job(number)["state"] == "RUNNING"
    assert [(row["job"], row["cluster"]) for row in under_way(database)] == [(number, "lab")]
    database.touch("go-near")
    assert follower.wait(60) == 3, follower.stderr
    assert database.rows()[1] == {"later": 0, "near": 1}
    # Each job has its own log.
    logs = json.loads(database.proposal.amore("log", "1", "--json").stdout)
    printed = {log["slurm_cluster"]: log["lines"] for log in logs if log["slurm_job"] == int(number)}
    assert "printed near" in printed["lab"] and "printed far" not in printed["lab"]
    assert "printed far" in printed["annex"]


def test_partitions_are_those_of_the_cluster_that_is_named(annex: Site, database: Database) -> None:
    on(database, "annex")
    found = json.loads(database.amore("doctor", "--json"))["checks"]
    (partition,) = [check["found"] for check in found if check["check"] == "partition"]
    assert partition.startswith("for 2:00:00: annexed, because it is Slurm's default")
    assert "main" not in partition
    on(database, "lab, annex")
    found = json.loads(database.amore("doctor", "--json"))["checks"]
    (clusters,) = [check["found"] for check in found if check["check"] == "clusters"]
    assert clusters.startswith("lab, annex: Slurm chooses for each job")
