"""The host's own life: starting, preloading, forking, ending."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import venv

from worker import PACKAGE, Host

from damnit_ctx import preload

TEXT = "from damnit_ctx import Variable\n@Variable\ndef v(run):\n    return 1\n"


def test_ready(database):
    first = database(TEXT).host.first
    assert first["version"] == 1 and first["python"] == sys.version.split()[0]
    assert first["environment"] == database(TEXT).host.first["environment"]


def test_a_python_that_lacks_packages(tmp_path):
    venv.create(tmp_path / "env", with_pip=False)
    ours, theirs = socket.socketpair()
    process = subprocess.Popen(
        [tmp_path / "env/bin/python", "-m", "damnit_ctx.host"],
        env={"PYTHONPATH": str(PACKAGE), "AMORE_CONTROL_FD": str(theirs.fileno())},
        pass_fds=[theirs.fileno()],
    )
    theirs.close()
    with ours, ours.makefile("rb") as lines:
        message = json.loads(lines.readline())
    assert process.wait() == 1
    assert message["ev"] == "unusable"
    assert "extra_data" in message["message"] and str(tmp_path) in message["message"]
    assert "pip install" in message["hint"] and "context_python" in message["hint"]


def test_children_die_with_the_conversation(tmp_path, database):
    db = database("import time\nfrom damnit_ctx import Variable\n@Variable\ndef v(run):\n    time.sleep(600)\n")
    children = [db.run("v", answer=False) for _ in range(2)]
    pids = [child.forked["pid"] for child in children]
    assert all(os.getpgid(pid) == pid for pid in pids)
    db.close()
    assert db.host.process.returncode == 0
    for pid in pids:
        wait_until_gone(pid)


def test_children_die_with_the_host(database):
    db = database("import time\nfrom damnit_ctx import Variable\n@Variable\ndef v(run):\n    time.sleep(600)\n")
    child = db.run("v", answer=False)
    assert [json.loads(child._lines.readline())["ev"] for _ in range(2)] == ["opened", "started"]
    db.host.process.kill()
    db.host.process.wait()
    wait_until_gone(child.forked["pid"])


def wait_until_gone(pid):
    while True:
        try:
            with open(f"/proc/{pid}/stat") as file:
                if file.read().rpartition(")")[2].split()[0] == "Z":
                    return
        except (FileNotFoundError, ProcessLookupError):
            return
        time.sleep(0.01)


def test_what_a_child_leaves_behind_is_ended(database):
    db = database(
        "import os, subprocess\nfrom damnit_ctx import Variable\n"
        "@Variable\ndef v(run):\n    return subprocess.Popen(['sleep', '600']).pid\n"
    )
    wait_until_gone(int(db.run("v").values["v"].data))


def test_several_children_at_once(database):
    db = database(
        "import sys, time\nfrom damnit_ctx import Variable\n@Variable\ndef v(run, n: 'meta#run_number'):\n    return n\n"
    )
    ours = [db.run("v", answer=False, run=number) for number in range(1, 6)]
    for child in reversed(ours):
        child.converse()
    assert [int(child.values["v"].data) for child in ours] == [1, 2, 3, 4, 5]
    assert {db.host.hear()["code"] for _ in ours} == {0}


def test_the_host_starts_no_thread_and_opens_no_file(database):
    host = database("import numpy\nimport xarray\nimport matplotlib.pyplot\n" + TEXT).host
    kinds = [os.readlink(f"/proc/{host.process.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{host.process.pid}/fd")]
    opened = [kind for kind in kinds if kind.startswith("/") and kind != os.devnull]
    assert not [path for path in opened if path.endswith((".h5", ".py", ".so", ".json"))]
    probe = "import threading\nfrom damnit_ctx import Variable\n@Variable\ndef v(run):\n    return threading.active_count()\n"
    assert database(probe).run("v").values["v"].data == 1


def test_imports_at_the_head():
    text = '"""Doc."""\nfrom __future__ import annotations\nimport numpy as np\nfrom scipy import signal\nX = 1\nimport late\n'
    assert preload.imports_at_head(text) == ["numpy", "scipy", "scipy.signal"]
    assert preload.late_imports(text) == {"late"}
    assert "xarray" in preload.imports_at_head("def f(run): return run['a', 'b'].xarray()")
    assert preload.imports_at_head("def broken(") == []
    assert preload.is_denied("dask.distributed.client") and not preload.is_denied("dask")


def test_statements_before_imports_keep_their_effect(database):
    db = database(
        "import os\nos.environ['COLOURS'] = 'many'\nimport colorsys\nimport sys\nfrom damnit_ctx import Variable\n"
        "@Variable\ndef v(run):\n    return 'wave' in BEFORE\n"
    )
    db.text = db.text.replace("import os\n", "import sys\nBEFORE = set(sys.modules)\nimport os\n", 1).replace(
        "import colorsys", "import wave"
    )
    db.path.write_text(db.text)
    assert not db.run("v").values["v"].data


def test_learned_imports_are_preloaded(database):
    db = database("from damnit_ctx import Variable\n@Variable\ndef v(run):\n    import wave\n    return 1\n")
    (done,) = (event for event in db.run("v").events if event["ev"] == "done")
    assert "wave" in done["imported"]
    db.host.say({"op": "preload", "modules": done["imported"]})
    (done,) = (event for event in db.run("v").events if event["ev"] == "done")
    assert "wave" not in done["imported"]


def test_modules_that_leave_threads_are_not_preloaded(tmp_path, monkeypatch):
    (tmp_path / "threaded_module.py").write_text(
        "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
    )
    (tmp_path / "calm_module.py").write_text("X = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(preload, "_FOLDERS", (str(tmp_path) + os.sep,))
    preload.preload(["threaded_module", "calm_module"])
    assert "threaded_module" not in sys.modules and "calm_module" in sys.modules


def test_modules_beside_the_context_file_are_never_preloaded(tmp_path):
    (tmp_path / "context.py").write_text("import colorsys\nimport helper\n" + TEXT)
    (tmp_path / "helper.py").write_text("raise SystemExit('imported in the host')\n")
    (tmp_path / "colorsys.py").write_text("raise SystemExit('imported in the host')\n")
    host = Host(tmp_path / "context.py")
    assert host.first["ev"] == "ready"
    host.close()


def test_an_installation_without_its_parts(tmp_path):
    for missing, word in (("_core.abi3.so", "native extension"), ("_vendor", "pyflakes")):
        package = tmp_path / missing / "damnit_ctx"
        package.mkdir(parents=True)
        for part in (PACKAGE / "damnit_ctx").iterdir():
            if part.name not in (missing, "__pycache__"):
                (package / part.name).symlink_to(part)
        # The package's own folder is found by its file; a link would lead back to the complete one.
        (package / "host.py").unlink()
        (package / "host.py").write_text((PACKAGE / "damnit_ctx" / "host.py").read_text())
        ours, theirs = socket.socketpair()
        process = subprocess.Popen(
            [sys.executable, "-m", "damnit_ctx.host"],
            env={**os.environ, "PYTHONPATH": str(package.parent), "AMORE_CONTROL_FD": str(theirs.fileno())},
            pass_fds=[theirs.fileno()],
            cwd="/",
        )
        theirs.close()
        with ours, ours.makefile("rb") as lines:
            message = json.loads(lines.readline())
        assert process.wait() == 1
        assert message["ev"] == "unusable" and word in message["message"] and "make build" in message["hint"]
