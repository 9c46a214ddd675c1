"""What a variable changes of its process ends with it; and where the file is executed."""

from __future__ import annotations

import pytest
from worker import source

HEAD = "import os, sys, warnings\nimport numpy as np\nfrom damnit_ctx import Variable\n"

# What a variable does; an expression that must give the same before and after it.
CHANGES = {
    "directory": ("import tempfile; os.chdir(tempfile.mkdtemp())", "os.getcwd()"),
    "umask": ("os.umask(0o077)", "oct((lambda before: (os.umask(before), before)[1])(os.umask(0)))"),
    "numpy errors": ("np.seterr(all='raise')", "str(np.geterr())"),
    "numpy handler": ("np.seterrcall(print)", "str(np.geterrcall())"),
    "numpy printing": ("np.set_printoptions(precision=2)", "str(np.array([1 / 3]))"),
    "filters": ("warnings.simplefilter('error')", "str(warnings.filters)"),
    "new filters": ("warnings.filters = []", "str(warnings.filters)"),
    "captured warnings": ("import logging; logging.captureWarnings(True)", "warnings.showwarning.__module__"),
    "environ": (
        "os.environ['SOMETHING'] = '1'; del os.environ['PATH']",
        "str(sorted(pair for pair in os.environ.items() if not pair[0].startswith('AMORE')))",
    ),
    "other environ": (
        "os.environ = {}",
        "str(sorted(pair for pair in os.environ.items() if not pair[0].startswith('AMORE')))",
    ),
    "putenv": ("os.putenv('SOMETHING', '1')", "os.popen('echo $SOMETHING').read()"),
    "time zone": (
        "import time; os.environ['TZ'] = 'Asia/Tokyo'; time.tzset()",
        "str(__import__('time').localtime(0))",
    ),
    "handler": ("import signal; signal.signal(signal.SIGUSR1, print)", "str(__import__('signal').getsignal(10))"),
    "ignored child": (
        "import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
        "__import__('subprocess').run(['false']).returncode",
    ),
    "blocked": (
        "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [10])",
        "len(__import__('signal').pthread_sigmask(0, []))",
    ),
    "locale": (
        "import locale; locale.setlocale(locale.LC_ALL, 'C')",
        "__import__('locale').setlocale(__import__('locale').LC_ALL)",
    ),
    "recursion": ("sys.setrecursionlimit(5000)", "sys.getrecursionlimit()"),
    "collector": ("import gc; gc.disable()", "__import__('gc').isenabled()"),
    "decimal": (
        "import decimal; decimal.getcontext().prec = 5",
        "str(__import__('decimal').Decimal(1) / 3)",
    ),
    "sockets": ("import socket; socket.setdefaulttimeout(1)", "str(__import__('socket').getdefaulttimeout())"),
    "files": (
        "import resource as r; r.setrlimit(r.RLIMIT_NOFILE, (99, r.getrlimit(r.RLIMIT_NOFILE)[1]))",
        "__import__('resource').getrlimit(7)[0]",
    ),
    "logging": (
        "import logging; logging.basicConfig(level=50, force=True); logging.disable(50)",
        "str((__import__('logging').root, __import__('logging').root.handlers, __import__('logging').root.manager.disable))",
    ),
    "pandas": (
        "import pandas; pandas.set_option('display.max_rows', 7)",
        "__import__('pandas').get_option('display.max_rows')",
    ),
    "xarray": (
        "import xarray; xarray.set_options(keep_attrs=False)",
        "str(__import__('xarray').get_options()['keep_attrs'])",
    ),
    "matplotlib": (
        "import matplotlib; matplotlib.rcParams['lines.linewidth'] = 9",
        "__import__('matplotlib').rcParams['lines.linewidth']",
    ),
    "pyplot": (
        "import matplotlib.pyplot as plt; plt.figure()",
        "len(__import__('matplotlib.pyplot').pyplot.get_fignums())",
    ),
}


def text_of(change, seen):
    return HEAD + (
        f"@Variable\ndef before(run):\n    return {seen}\n"
        f"@Variable\ndef changes(run):\n    {change}\n    return 1\n"
        f"@Variable\ndef after(run):\n    return {seen}\n"
    )


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize("first", ["changes", "before"])
def test_what_is_put_back(database, what, first):
    """Also where the library is imported by the variable that changes its settings."""
    change, seen = CHANGES[what]
    for module in ("pandas", "xarray", "matplotlib"):
        if module in change:
            pytest.importorskip(module)
    db = database(text_of(change, seen))
    apart = db.run("before").values["before"].data
    together = db.run("before", "changes", "after") if first == "before" else db.run("changes", "after")
    assert together.values["changes"].data == 1, together.text
    assert "could not be restored" not in together.text, together.text
    assert together.values["after"].data == apart


def test_what_the_file_itself_sets_stays(database):
    text = (
        "import os\nos.environ['MODE'] = 'file'\nos.umask(0o027)\nos.mkdir('below')\nos.chdir('below')\n"
        + HEAD
        + "np.seterr(over='ignore')\n"
        "@Variable\ndef changes(run):\n"
        "    os.environ['MODE'] = 'variable'\n    os.umask(0)\n    os.chdir('/')\n    np.seterr(over='raise')\n"
        "    return 1\n"
        "@Variable\ndef after(run):\n"
        "    return ' '.join([os.environ['MODE'], oct(os.umask(0)), os.path.basename(os.getcwd()), np.geterr()['over']])\n"
    )
    child = database(text).run("changes", "after")
    assert child.values["after"].data == "file 0o27 below ignore", child.text


def test_a_working_directory_that_a_variable_removes(database):
    text = HEAD + (
        "os.makedirs('below', exist_ok=True)\nos.chdir('below')\n"
        "@Variable\ndef removes(run):\n    os.rmdir(os.getcwd())\n    return 1\n"
        "@Variable\ndef after(run):\n    return os.path.exists('context.py')\n"
    )
    child = database(text).run("removes", "after")
    assert child.values["after"].data, child.text
    assert "no longer exists" in child.text


def test_output_goes_to_the_log_again(database):
    text = HEAD + (
        "@Variable\ndef closes(run):\n    sys.stdout.close()\n    sys.stderr = None\n    return 1\n"
        "@Variable\ndef redirects(run):\n"
        "    print('second words')\n    os.dup2(os.open('other', os.O_WRONLY | os.O_CREAT), 1)\n    return 1\n"
        "@Variable\ndef closes_both(run):\n    os.close(1)\n    os.close(2)\n    return 1\n"
        "@Variable\ndef speaks(run):\n    print('last words')\n    os.system('echo of a shell')\n    return 1\n"
    )
    child = database(text).run("closes", "redirects", "closes_both", "speaks")
    assert len(child.values) == 4, child.text
    for words in ("second words", "last words", "of a shell"):
        assert words in child.text


def test_a_lazy_value_is_computed_where_its_variable_was(database):
    pytest.importorskip("dask")
    pytest.importorskip("xarray")
    text = HEAD + (
        "import dask.array, xarray\n"
        "@Variable\ndef lazy(run):\n"
        "    os.mkdir('below')\n    os.chdir('below')\n    np.save('part.npy', np.arange(3))\n"
        "    return xarray.DataArray(dask.array.from_delayed(dask.delayed(np.load)('part.npy'), (3,), int))\n"
        "@Variable\ndef after(run):\n    return os.path.exists('context.py')\n"
    )
    child = database(text).run("lazy", "after")
    assert child.values["lazy"].arrays and child.values["after"].data, child.text


def test_the_file_is_described_and_executed_in_the_directory(database):
    text = HEAD + (
        "AT_IMPORT = os.getcwd()\n"
        "for line in open('positions.txt'):\n"
        "    exec(f'@Variable\\ndef {line.strip()}(run): return AT_IMPORT')\n"
    )
    db = database(text)
    (db.folder / "positions.txt").write_text("inner\nouter\n")
    described = db.describe()
    assert all(problem["kind"] == "pyflakes" for problem in described["problems"])
    assert [spec["name"] for spec in described["variables"]] == ["inner", "outer"]
    assert db.run("outer").values["outer"].data == str(db.folder)


def test_a_file_that_is_a_link(database, tmp_path):
    """Modules beside the link, then those beside its target; the file has the link's name."""
    text = HEAD + (
        "import calibration, numerics\n"
        "@Variable\ndef answer(run): return calibration.ANSWER + numerics.MORE\n"
        "@Variable\ndef place(run): return __file__\n"
    )
    db = database(text)
    clone = tmp_path / "clone"
    clone.mkdir()
    (clone / "calibration.py").write_text("ANSWER = 0\n")
    (clone / "numerics.py").write_text("MORE = 2\n")
    (db.folder / "calibration.py").write_text("ANSWER = 40\n")
    context = {**source(db.path, text), "folders": [str(db.folder), str(clone)], "directory": str(db.folder)}

    def fingerprint():
        (event,) = db.child({"op": "describe", "context": context}).events
        assert all(problem["kind"] == "pyflakes" for problem in event["problems"])
        return {spec["name"]: spec["fingerprint"] for spec in event["variables"]}

    child = db.run("answer", "place", context=context)
    assert child.values["answer"].data == 42, child.text
    assert child.values["place"].data == str(db.path)
    before = fingerprint()
    (clone / "calibration.py").write_text("ANSWER = 1\n")  # hidden by the one beside the link
    assert fingerprint() == before
    (clone / "numerics.py").write_text("MORE = 3\n")
    after = fingerprint()
    assert after["answer"] != before["answer"] and after["place"] == before["place"]
