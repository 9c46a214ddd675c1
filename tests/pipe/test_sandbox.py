"""User code in a sandbox: each process that executes it is started as `<sandbox> <proposal> -- <command>`."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from sandbox_script import SANDBOX

from conftest import Database, kill, wait_for

# The file cannot even be read outside of the sandbox.
FILE = """
from damnit_ctx import SlurmJob
assert os.environ["SANDBOXED"] == "yes"

@Variable
def a(run): return os.environ["SANDBOXED"]

@Variable(job=SlurmJob(["sh", "-c", "echo $SANDBOXED > {directory}/said.txt"]))
def command(run, job: "job#outcome"): return (job.directory / "said.txt").read_text().strip()
"""
NEVER = """
import subprocess, time

@Variable
def never(run):
    # Another session, so that no signal to the process group reaches it.
    subprocess.Popen(["sleep", "1000"], start_new_session=True)
    effect("never")
    time.sleep(1000)
"""
NEVER_COMMAND = """
from damnit_ctx import SlurmJob

@Variable(job=SlurmJob(["sh", "-c", "setsid sleep 1000 & echo never >> effects.txt; sleep 1000"]))
def command(run, job: "job#outcome"): return 1
"""


class Site:
    """A site's file with a sandbox, for the commands of a database."""

    def __init__(self, database: Database, folder: Path) -> None:
        self._database = database
        self._folder = folder
        self.calls_file = folder / "calls.txt"
        self.program = folder / "sandbox"
        self.write(self.program, SANDBOX.format(calls=self.calls_file))
        self.configure(str(self.program))

    @staticmethod
    def write(path: Path, text: str) -> None:
        path.write_text(text)
        path.chmod(0o755)

    def configure(self, arguments: str) -> None:
        (self._folder / "amore.toml").write_text(f"sandbox_args = {json.dumps(arguments)}\n")

    @property
    def environment(self) -> dict[str, str]:
        return {**self._database.environment, "AMORE_SITE_CONFIG": str(self._folder / "amore.toml")}

    def calls(self) -> list[str]:
        """The commands that the sandbox was asked to execute."""
        return self.calls_file.read_text().splitlines() if self.calls_file.exists() else []

    def amore(self, *arguments: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        return self._database.amore(*arguments, code=code, env=self.environment)


@pytest.fixture
def site(database: Database, tmp_path: Path) -> Site:
    folder = tmp_path / "site"
    folder.mkdir()
    return Site(database, folder)


@pytest.fixture
def bwrap(site: Site, tmp_path: Path) -> Path:
    """A real sandbox with process numbers and a session of its own. Returns a folder that it hides."""
    program = shutil.which("bwrap")
    if program is None:
        pytest.skip("there is no bwrap here (Debian: apt-get install bubblewrap)")
    options = ["--bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--unshare-pid", "--new-session"]
    tried = subprocess.run([program, *options, "--", "true"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"bwrap does not work here: {tried.stderr.strip()}")
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "secret.txt").write_text("secret")
    Site.write(
        site.program,
        f'#!/bin/sh\n[ "$1" = 1234 ] || exit 64\nshift 2\necho "$*" >> {site.calls_file}\n'
        f'exec bwrap {" ".join(options)} --tmpfs {hidden} -- "$@"\n',
    )
    return hidden


def of(database: Database) -> list[int]:
    """All processes that have inherited the environment of this database's commands."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and f"EFFECTS={database.effects}".encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:
            pass
    return found


def nothing_is_left(database: Database) -> None:
    wait_for("the end of all processes", lambda: not of(database), seconds=60)


@pytest.mark.parametrize("option", ["", " --fork"])
def test_every_process_of_user_code_is_started_in_it(database: Database, site: Site, option: str) -> None:
    site.configure(f"{site.program}{option}")
    database.context(FILE)
    assert "2 variables" in site.amore("check").stdout
    assert [call.split()[1:3] for call in site.calls()] == [["-m", "damnit_ctx.host"]]
    site.amore("plan", "1")
    assert len(site.calls()) == 2
    site.amore("read-context")
    assert len(site.calls()) == 3
    site.amore("reprocess", "1")
    assert database.rows(1) == {"a": "yes", "command": "yes"}
    calls = site.calls()[3:]
    assert all("-m damnit_ctx.host" in call or call.startswith("sh -c ") for call in calls)
    assert sum(call.startswith("sh -c ") for call in calls) == 1
    found = json.loads(site.amore("doctor", "--json", code=None).stdout)["checks"]
    (sandbox,) = (check for check in found if check["check"] == "sandbox_args")
    assert sandbox["found"].startswith(str(site.program)) and "amore.toml, line 1" in sandbox["found"]
    (python,) = (check for check in found if check["check"] == "context_python")
    assert python["grade"] == "ok" and "in the sandbox" in python["found"]
    assert "import extra_data" in site.calls_file.read_text().split("damnit_ctx.host")[-1]
    nothing_is_left(database)


def test_without_the_sites_file_there_is_none_and_a_setting_of_the_database_changes_nothing(
    database: Database, site: Site
) -> None:
    database.context(FILE)
    assert "SANDBOXED" in database.amore("check", code=None).stdout
    database.amore("db-config", "sandbox_args", "", code=None)
    database.amore("db-config", "sandbox_args", "true", code=None)
    site.amore("reprocess", "1", "--var", "a")
    assert database.rows(1)["a"] == "yes"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("/no/such/sandbox -x", "the sandbox program /no/such/sandbox cannot be executed: No such file or directory"),
        ("{folder}/fails", "exit status: 3)\nthe image is not there"),
        ("{folder}/broken", "cannot execute the sandbox"),
    ],
)
def test_a_sandbox_that_does_not_work_is_reported_and_nothing_is_executed(
    database: Database, site: Site, arguments: str, words: str
) -> None:
    Site.write(site.program.parent / "fails", "#!/bin/sh\necho the image is not there >&2\nexit 3\n")
    Site.write(site.program.parent / "broken", "#!/no/such/interpreter\n")
    site.configure(arguments.format(folder=site.program.parent))
    database.context('effect("executed")\n@Variable\ndef a(run): return 1\n')
    for command in (["check"], ["reprocess", "1"]):
        said = site.amore(*command, code=1).stderr
        assert words in said and "in the sandbox `" in said
        assert "hint: ask the administrator to correct `sandbox_args`" in said
    assert database.executions() == {}


@pytest.mark.parametrize("value", ["bwrap 'a", "", "'' a", "./sandbox"])
def test_an_invalid_value_is_refused_with_file_and_key(database: Database, site: Site, value: str) -> None:
    site.configure(value)
    database.context('effect("executed")\n@Variable\ndef a(run): return 1\n')
    for command in (["check"], ["plan", "1"], ["reprocess", "1"]):
        assert "amore.toml, line 1, sandbox_args: it " in site.amore(*command, code=1).stderr
    assert database.executions() == {}


def test_a_command_in_a_sandbox_that_fails(database: Database, site: Site) -> None:
    database.context(FILE)
    fails = 'shift 2\n[ "$1" = sh ] && { echo no image >&2; exit 3; }\n'
    site.write(site.program, SANDBOX.format(calls=site.calls_file).replace("shift 2\n", fails))
    site.amore("reprocess", "1")
    kind, message = database.rows(1)["command"]
    assert kind == "JobFailed" and "exit code 3" in message and "no image" in message
    assert database.rows(1)["a"] == "yes"


def test_user_code_gets_no_secrets_and_only_its_own_descriptors(database: Database, site: Site) -> None:
    database.context("""
import json

@Variable
def names(run): return json.dumps(sorted(os.environ))

@Variable
def open_files(run):
    listing = os.open("/proc/self/fd", os.O_RDONLY)
    numbers = [int(name) for name in os.listdir(listing) if int(name) != listing]
    links = {}
    for number in numbers:
        try: links[number] = os.readlink(f"/proc/self/fd/{number}")
        except OSError: pass
    return json.dumps(links)
""")
    service = {
        "AMORE_LEDGER_URL": "", "AMORE_TOKEN": "t", "AMORE_KAFKA_PASSWORD": "p", "NOTIFY_SOCKET": "/run/n",
        "LISTEN_FDS": "1", "LISTEN_PID": "1", "WATCHDOG_USEC": "1", "PGPASSWORD": "p", "KAFKA_SASL_PASSWORD": "p",
        "SUPERVISOR_SERVER_URL": "u",
    }
    secret = site.program.parent / "descriptor.txt"
    secret.write_text("secret")
    for environment, account in ((database.environment, {"MY_TOKEN"}), (site.environment, set())):
        with secret.open() as leaked:
            process = database.start(
                "reprocess", "1", env={**environment, **service, "MY_TOKEN": "t"}, pass_fds=[leaked.fileno()]
            )
            assert process.wait(300) == 0
        rows = database.rows(1)
        names = set(json.loads(rows["names"]))
        assert names & {*service, "MY_TOKEN"} == account
        # The child itself sets these.
        own = {"AMORE_CONTEXT_PATH", "AMORE_CONTEXT_TEXT"}
        assert not [name for name in names - own if name.startswith("AMORE_")]
        links = {int(number): link for number, link in json.loads(rows["open_files"]).items()}
        assert links[0] == "/dev/null" and links[1] == links[2] and "r1-p1234.out" in links[1]
        others = [link for number, link in links.items() if number > 2]
        known = ("socket:", "/memfd:", "anon_inode:", str(database.path / "process_logs"))
        assert not [link for link in others if not link.startswith(known) and "/raw/r0001/" not in link], links
        assert sum(link.startswith("socket:") for link in others) == 1, links


def test_a_real_sandbox_hides_files_and_everything_else_works(database: Database, site: Site, bwrap: Path) -> None:
    database.context(f"""
import time

@Variable
def secret(run):
    try: return open({str(bwrap / "secret.txt")!r}).read()
    except FileNotFoundError: return "hidden"

@Variable
def pid(run): return os.getppid() < 20

@Variable
def large(run): return np.arange(4_000_000.0)

@Variable
def crash(run): os.kill(os.getpid(), 11)

@Variable
def hangs(run): time.sleep(1000)

@Variable
def last(run): return 7
""")
    database.amore("db-config", "variable_time", "3")
    site.amore("reprocess", "1", code=None)
    rows = database.rows(1)
    assert (rows["secret"], rows["pid"], rows["last"]) == ("hidden", 1, 7)
    assert "SIGSEGV" in rows["crash"][1] and rows["hangs"][0] == "TimeoutError"
    assert "large" in database.stored(1)
    nothing_is_left(database)


@pytest.mark.parametrize("how", ["exec", "fork", "bwrap"])
@pytest.mark.parametrize("context", [NEVER, NEVER_COMMAND], ids=["function", "command"])
def test_nothing_is_left_of_what_is_cancelled_or_killed(
    database: Database, site: Site, request: pytest.FixtureRequest, how: str, context: str
) -> None:
    if how == "bwrap":
        request.getfixturevalue("bwrap")
    elif how == "fork":
        site.configure(f"{site.program} --fork")
    database.context(context)
    for count, stop in enumerate((cancel, kill_worker, kill_all_but_users), 1):
        process = database.start("reprocess", "1", env=site.environment)
        wait_for("the variable", lambda count=count: database.executions().get("never", 0) >= count, process)
        stop(database, site)
        if process.poll() is None:
            process.kill()
        process.communicate()
        nothing_is_left(database)
        database.amore("cancel", "1", code=None)


def cancel(database: Database, site: Site) -> None:
    site.amore("cancel", "1", code=None)
    wait_for("the end of what was cancelled", lambda: not any("sleep" in name for name in names(database)), seconds=60)


def kill_worker(database: Database, site: Site) -> None:
    workers = [pid for pid in of(database) if is_worker(pid)]
    command = database.processes()["amore"]
    # The command would start another worker and begin anew.
    assert kill(command) and kill(workers)


def kill_all_but_users(database: Database, site: Site) -> None:
    assert kill(database.processes()["amore"])


def is_worker(pid: int) -> bool:
    words = command_line(pid)
    return bool(words) and words[0].endswith("amore-worker") and "--processes" in words


def command_line(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    except OSError:
        return []


def names(database: Database) -> list[str]:
    return [command_line(pid)[0] for pid in of(database) if command_line(pid)]
