"""What is found of the state that functions share, and the order in which they are executed."""

from __future__ import annotations

import ast
import random
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from damnit_ctx.context_file import Execution
from damnit_ctx.functions import SourceTree
from damnit_ctx.order import execution_order
from damnit_ctx.shared_state import SharedState

REPOSITORY = Path(__file__).resolve().parents[2]


def shared(text, path="/nowhere/context.py"):
    """Variable → how it uses each piece: C changes, R reads, T together."""
    execution = Execution(path)
    execution.run(compile(text, path, "exec", dont_inherit=True))
    loaded = execution.collect()
    found = SharedState(SourceTree(ast.parse(text), path), loaded.namespace).of(loaded.variables)

    def letters(use):
        return "C" * use.changes + "R" * use.reads + "T" * use.together + "A" * use.adds

    return {name: {piece: letters(use) for piece, use in uses.items()} for name, uses in found.items()}


def two(setup, change, read, **options):
    """The pieces that the first of two variables changes and the second reads."""
    text = f"import numpy as np\nfrom damnit_ctx import Variable\n{setup}\n"
    text += f"@Variable\ndef changing(run):\n    {change}\n@Variable\ndef reading(run):\n    {read}\n"
    found = shared(text, **options)
    return {piece for piece, how in found["changing"].items() if "C" in how and "R" in found["reading"].get(piece, "")}


@pytest.mark.parametrize(
    "setup, change, read",
    [
        ("T = []", "def inner(): T.append(1)\n    inner()", "return T"),
        ("T = []", "[T.append(i) for i in range(3)]", "return [x for x in T]"),
        ("T = []", "for t in (T,): t.append(1)", "return max(T)"),
        ("T = {}", "global T; T |= {'a': 1}", "return {**T}"),
        ("T = [[1], [2]]", "for row in T: row.append(1)", "return T[0]"),
        ("T = [[1], [2]]", "list(T)[0].append(1)", "return T[0]"),
        ("A = []\nB = {'a': A}", "B['a'].append(1)", "return len(A)"),
        ("A = []\nB = {'a': A}", "A.append(1)", "return len(B['a'])"),
        ("T = []\nf = dict(put=T.append)", "f['put'](1)", "return len(T)"),
        ("T = []\ndef f(*args, **kw): args[0].append(kw)", "f(T, x=1)", "return len(T)"),
        ("T = []\ndef f(where): where.append(1)", "f(where=T)", "return len(T)"),
        ("T = {}\ndef get(k):\n    if k not in T:\n        T[k] = k\n    return T[k]", "get(1)", "return get(2)"),
        ("X = 0\ndef bump():\n    global X\n    X += 1\n    return X", "bump()", "return bump()"),
        ("X = None", "global X\n    if X is None:\n        X = 1", "return X"),
        ("class C:\n    seen = []\n    def add(self): self.seen.append(1)", "C().add()", "return len(C.seen)"),
        ("class C:\n    n = 0\n    @classmethod\n    def add(cls): cls.n += 1", "C.add()", "return C.n"),
        (
            "class C:\n    def __init__(self): self.d = {}\n    def __setitem__(self, k, v): self.d[k] = v\nc = C()",
            "c['a'] = 1",
            "return c.d",
        ),
        ("class C:\n    n = 0\n    def __call__(self): self.n += 1\nc = C()", "c()", "return c.n"),
        (
            "class C:\n    _x = 0\n    @property\n    def x(self): return self._x\n    @x.setter\n"
            "    def x(self, v): self._x = v\nc = C()",
            "c.x = 1",
            "return c.x",
        ),
        ("class B:\n    def add(self): self.n = 1\nclass C(B): pass\nc = C()", "c.add()", "return c.n"),
        ("class C(dict): pass\nc = C()", "c.update(a=1)", "return c['a']"),
        ("from types import SimpleNamespace\ns = SimpleNamespace(x=1)", "s.x = 2", "return s.x"),
        ("from collections import Counter\nc = Counter()", "c.update('a')", "return c['a']"),
        (
            "from concurrent.futures import ThreadPoolExecutor\nT = []\ndef work(i): T.append(i)",
            "with ThreadPoolExecutor() as pool: list(pool.map(work, [1]))",
            "return len(T)",
        ),
        ("import numpy as np\na = np.zeros(4)", "np.copyto(a, 1)", "return a.sum()"),
        ("a = np.zeros((2, 2))", "a.ravel()[0] = 1", "return a.sum()"),
        ("a = np.zeros((2, 2))", "x = a.T; x *= 2", "return a.sum()"),
        ("a = np.zeros(3)", "a[0] += 1", "return a.sum()"),
        ("import itertools\nit = itertools.count()", "next(it)", "return next(it)"),
        ("it = (x for x in range(5))", "for x in it: break", "return list(it)"),
        ("rng = np.random.RandomState(1)", "rng.normal()", "return rng.normal()"),
        ("import random\nrng = random.Random(1)", "rng.random()", "return rng.random()"),
        ("rng = np.random.default_rng(1)\ndef noise(g): return g.normal()", "noise(rng)", "return noise(rng)"),
        ("", "np.random.seed(1)", "return np.random.normal()"),
        ("", "from numpy import random; random.seed(1)", "return np.random.normal()"),
        (
            "T = {}\ndef decorate(f):\n    def inner(*a):\n        T[len(T)] = 1\n        return f(*a)\n    return inner\n"
            "@decorate\ndef f(): pass",
            "f()",
            "return len(T)",
        ),
        ("T = []", "try:\n        T.append(1)\n    finally:\n        pass", "return T[0]"),
        ("T = []", "while len(T) < 3: T.append(1)", "return len(T)"),
        ("T = []", "(t := T).append(1)", "return len(T)"),
        ("T = []", "t = T if run else []\n    t.append(1)", "return len(T)"),
        ("T = []", "del T[:]", "return len(T)"),
        ("T = []", "T[len(T):] = [1]", "return len(T)"),
        ("PATH = '/tmp/x.npy'", "np.save(PATH, 1)", "return np.load(PATH)"),
        ("import os\nD = '/tmp'", "np.save(os.path.join(D, 'x.npy'), 1)", "return np.load(f'{D}/x.npy')"),
        (
            "from pathlib import Path\nP = Path('/tmp')",
            "(P / 'x.txt').write_text('1')",
            "return open('/tmp/x.txt').read()",
        ),
        ("import json", "json.dump(1, open('x.json', 'w'))", "return json.load(open('x.json'))"),
        ("import h5py", "with h5py.File('x.h5', 'w') as f: f['a'] = 1", "return h5py.File('x.h5')['a'][()]"),
        ("", "name = 'x.npy'; np.save(name, 1)", "return np.load('x.npy')"),
        ("import threading\nlocal = threading.local()", "local.x = 1", "return local.x"),
        ("import weakref, collections\nT = collections.OrderedDict()", "T['a'] = 1", "return next(iter(T))"),
        ("import queue\nq = queue.Queue()", "q.put(1)", "return q.get()"),
        ("import io\nb = io.StringIO()", "b.write('a')", "return b.getvalue()"),
        (
            "import contextlib\nT = []\n@contextlib.contextmanager\ndef held():\n    T.append(1)\n    yield T",
            "with held(): pass",
            "return len(T)",
        ),
        ("import contextvars\nv = contextvars.ContextVar('v', default=0)", "v.set(1)", "return v.get()"),
        ("from dataclasses import dataclass\n@dataclass\nclass S:\n    x: int = 0\ns = S()", "s.x += 1", "return s.x"),
        ("import enum\nclass E(enum.Enum):\n    A = []", "E.A.value.append(1)", "return len(E.A.value)"),
        ("X, Y = [], []", "y = Y; y.append(1)", "return len(Y)"),
    ],
)
def test_what_one_changes_and_another_reads(setup, change, read):
    assert two(setup, change, read)


@pytest.mark.parametrize(
    "setup, change, read",
    [
        ("T = []", "t = []; t.append(1)", "return len(T)"),
        ("T = []", "t = list(T); t.append(1)", "return len(T)"),
        ("T = []", "T = []; T.append(1)", "return len(T)"),
        ("T = {}", "return dict(T, a=1)", "return T"),
        ("a = np.zeros(3)", "b = a + 1; b += 1", "return a"),
        ("a = np.zeros(3)", "b = a.copy(); b[0] = 1", "return a"),
        ("a = np.zeros(3)", "b = a.mean(); b += 1", "return a"),
        ("def f(x, t=None):\n    t = t or []\n    t.append(x)\n    return t", "f(1)", "return f(2)"),
        ("class C:\n    def __init__(self): self.n = 0\n    def add(self): self.n += 1", "C().add()", "return C()"),
        (
            "class C:\n    def __init__(self): self.n = 0\n    def add(self): self.n += 1\nc = C()\nd = C()",
            "c.add()",
            "return d.n",
        ),
        ("", "np.random.normal()", "return np.random.normal()"),
        ("", "np.random.seed(1); return np.random.normal()", "np.random.seed(2); return np.random.normal()"),
        ("", "np.save(f'{run}.npy', 1)", "return np.load(f'{run}.npy')"),
        ("T = [1]", "return T[0]", "return T"),
        ("import threading\nlock = threading.Lock()", "with lock: pass", "with lock: return 1"),
        ("from enum import Enum\nclass E(Enum):\n    A = 1", "return E.A.value", "return E['A']"),
        ("S = 'A/B:output.key'", "return run[S]", "return run[S, 'x']"),
        # Put back after each variable, or only written to.
        ("import os", "os.environ['A'] = '1'", "return os.environ.get('A')"),
        ("from os import environ", "environ.update(A='1')", "return environ.get('A')"),
        ("import os", "return os.environ.get('A')", "return os.environ.get('B')"),
        ("import sys", "sys.stdout.write('x')", "sys.stdout.flush(); print(1, file=sys.stderr)"),
    ],
)
def test_what_is_not_shared(setup, change, read):
    assert not two(setup, change, read)


@pytest.mark.filterwarnings("ignore")  # of libraries
def test_figures():
    pytest.importorskip("matplotlib")
    import matplotlib

    matplotlib.use("Agg")
    plt = "import matplotlib.pyplot as plt"
    own = "fig, ax = plt.subplots(); ax.plot([1]); plt.title('a'); return fig"
    assert not two(plt, own, own)
    assert two(plt, "plt.figure(); plt.plot([1])", "plt.plot([2]); return plt.gcf()")
    assert two(plt, "plt.rcParams['font.size'] = 8", own)
    assert two(plt, "plt.style.use('ggplot')", own)
    assert not two(plt, "with plt.rc_context({'font.size': 8}): pass", own)


def test_helpers_beside_the_file(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "st_helper.py").write_text(
        "CACHE = {}\nX = 0\ndef fill():\n    CACHE['a'] = 1\ndef bump():\n    global X\n    X += 1\n"
    )
    path = str(tmp_path / "context.py")
    assert two("import st_helper", "st_helper.fill()", "return st_helper.CACHE['a']", path=path) == {"st_helper.CACHE"}
    assert two("from st_helper import CACHE, fill", "fill()", "return CACHE", path=path)
    assert two("import st_helper", "st_helper.bump()", "return st_helper.X", path=path) == {"st_helper.X"}
    assert two("import st_helper", "st_helper.X = 5", "return st_helper.X", path=path) == {"st_helper.X"}
    assert two("import st_helper", "import st_helper as h; h.fill()", "return st_helper.CACHE", path=path)


@pytest.mark.parametrize(
    "change, how",
    [
        ("open('x.txt', 'w').write('1')", "CT"),
        ("open('x.txt', mode='wb').write(b'1')", "CT"),
        ("open('x.txt', 'w+').write('1')", "CT"),
        ("np.save('x.txt', 1)", "CT"),
        ("open('x.txt', 'w').write('1'); return open('x.txt').read()", "CT"),
        ("open('x.txt', 'w').write('1'); open('x.txt', 'a').write('1')", "CTA"),
        ("open('x.txt', 'a').write('1')", "CTA"),
        ("open('x.txt', 'ab').write(b'1')", "CTA"),
        ("open('x.txt', 'x').write('1')", "CTA"),
        ("from pathlib import Path; Path('x.txt').open('a').write('1')", "CTA"),
        ("from pathlib import Path; Path('x.txt').touch()", "CTA"),
        ("run.to_csv('x.txt')", "CT"),
        ("run.to_csv('x.txt', mode='a')", "CTA"),
        ("run.to_hdf('x.txt', key='a')", "CRTA"),
        ("open('x.txt', 'r+').write('1')", "CRTA"),
        ("open('x.txt', mode=run.mode).write('1')", "CRTA"),
        ("h5py.File('x.txt', 'a')['a'] = 1", "CRTA"),
        ("h5py.File('x.txt', 'r+')['a'] = 1", "CRTA"),
        ("h5py.File('x.txt', 'w-')['a'] = 1", "CTA"),
        ("np.memmap('x.txt', 'u1')[0] = 1", "CRTA"),
        ("sqlite3.connect('x.txt').execute('create table t (x)')", "CRTA"),
        ("import shelve; shelve.open('x.txt')['a'] = 1", "CRTA"),
        ("import shelve; shelve.open('x.txt', 'n')['a'] = 1", "CT"),
        ("n = int(open('x.txt').read()); open('x.txt', 'w').write(str(n + 1))", "CRTA"),
        ("import os; os.rename('x.txt', 'y.txt')", "CRT"),
        ("import os; os.replace('y.txt', 'x.txt')", "CT"),
        ("import shutil; shutil.copy('y.txt', 'x.txt')", "CT"),
    ],
)
def test_a_file_that_is_written_afresh_and_one_that_is_added_to(change, how):
    text = "import numpy as np\nfrom damnit_ctx import Variable\n"
    text += f"@Variable\ndef change(run):\n    {change}\n"
    text += "@Variable\ndef read(run):\n    return open('x.txt').read(), open('y.txt').read()\n"
    text += "@Variable\ndef first(run):\n    open('y.txt', 'w').write('1')\n"
    assert shared(text)["change"]["file x.txt"] == how


@pytest.mark.parametrize(
    "helper",
    [
        "def f(x, n=0):\n    x.append(1)\n    return f([x]) if n else x",
        "def f(x): return f({'a': x, 'b': [x]})['a']",
        "def f(x):\n    f(x.next)\n    x.append(1)",
        "def f(x):\n    for y in x.children: f(y.parent)",
        "def f(x, y=()):\n    f(y, x)\n    f(x, [y])\n    f((x, y), x)\n    x.append(1)",
        "\n".join(f"def h{i}(x, y): h{i + 1}(x, y); h{i + 1}(y, x); h{i + 1}(x, [y])" for i in range(60))
        + "\ndef h60(x, y): x.append(y)\ndef f(x): h0(x, [x])",
        "\n".join(f"def h{i}(x):\n    for k in range(2):\n        if k: h{i + 1}(x)" for i in range(400))
        + "\ndef h400(x): x.append(1)\ndef f(x): h0(x)",
    ],
)
def test_functions_that_call_themselves_and_long_chains_come_to_an_end(helper):
    found = shared(
        f"from damnit_ctx import Variable\nT = []\n{helper}\n"
        "@Variable\ndef change(run):\n    f(T); T.append(1)\n@Variable\ndef read(run): return len(T)\n"
    )
    assert "C" in found["change"]["T"]


def test_caches_keep_together_and_are_not_executed_again_for():
    text = (
        "from functools import lru_cache\nfrom damnit_ctx import Variable\n"
        "@lru_cache()\ndef detector(n): return [n]\n"
        "@Variable\ndef a(run): return detector(1)\n@Variable\ndef b(run): return detector(1)[0]\n@Variable\ndef c(run): pass\n"
    )
    assert shared(text) == {"a": {"cache of detector": "T"}, "b": {"cache of detector": "T"}, "c": {}}


@pytest.mark.parametrize(
    "file", ["demo/context.py", "bench/contexts/realistic.py", "tests/matrix/context_values.py", "templates/context.py"]
)
def test_files_that_share_nothing_lose_nothing(file):
    if not (REPOSITORY / file).exists():
        pytest.skip("there is no such file here")
    found = shared((REPOSITORY / file).read_text(), path=str(REPOSITORY / file))
    assert found and not any(found.values())


def test_the_order_is_that_of_graphlib():
    for seed in range(200):
        draw = random.Random(seed)
        names = [f"v{number}" for number in range(draw.randrange(1, 12))]
        rank = {name: draw.random() for name in names}
        needs = {name: [other for other in names if rank[other] < rank[name] and draw.random() < 0.3] for name in names}
        sorter = TopologicalSorter()
        for name, others in needs.items():
            sorter.add(name, *others)
        assert execution_order(needs) == list(sorter.static_order())
        cluster = {name for name in names if draw.random() < 0.3}
        for name in execution_order(needs):
            if not cluster.isdisjoint(needs[name]):
                cluster.add(name)
        light = {name: others for name, others in needs.items() if name not in cluster}
        assert [name for name in execution_order(needs, cluster) if name in light] == execution_order(light)


NAMED = "import sys\nMODULE = sys.modules[__name__]\nX = 1\ndef put(where, key, value): where[key] = value"


@pytest.mark.parametrize(
    "change",
    [
        "globals()['LATE'] = 3",
        "g = globals(); g['LATE'] = 3",
        "put(globals(), 'LATE', 3)",
        "globals().update(LATE=3)",
        "globals().update({'LATE': 3})",
        "globals().setdefault('LATE', 3)",
        "globals()[str(run)] = 3",
        "vars(sys.modules[__name__])['LATE'] = 3",
        "sys.modules[__name__].LATE = 3",
        "sys.modules[__name__].__dict__['LATE'] = 3",
        "setattr(sys.modules[__name__], 'LATE', 3)",
        "setattr(sys.modules[__name__], str(run), 3)",
        "setattr(MODULE, 'LATE', 3)",
        "global LATE; LATE = 3",
    ],
)
@pytest.mark.parametrize(
    "read",
    [
        "return globals().get('LATE')",
        "return globals()['LATE']",
        "return 'LATE' in globals()",
        "return LATE",
        "return getattr(MODULE, 'LATE', None)",
        "return hasattr(sys.modules[__name__], 'LATE')",
        "return vars(MODULE).get('LATE')",
        "return globals().get(str(run))",
        "key = 'LATE'; return globals()[key]",
    ],
)
def test_names_of_the_module_by_their_text(change, read):
    assert two(NAMED, change, read)


def test_other_names_of_the_module_are_not_shared():
    assert not two(NAMED, "globals()['LATE'] = 3", "return globals()['X']")
    assert not two(NAMED, "globals()['LATE'] = 3", "return X")
    assert two(NAMED, "globals()[str(run)] = 3", "return X") == {"X"}


ON_THE_RUN = "def note(r): r.my_note = []\ndef noted(r): return getattr(r, 'my_note', None)\nclass C: pass"


@pytest.mark.parametrize(
    "change",
    [
        "run.my_note = 5",
        "setattr(run, 'my_note', 5)",
        "run.__dict__['my_note'] = 5",
        "vars(run)['my_note'] = 5",
        "note(run)",
        "r = run; r.my_note = 5",
        "setattr(run, f'{run}', 5)",
        "run.__dict__.update(my_note=5)",
    ],
)
@pytest.mark.parametrize(
    "read",
    [
        "return run.my_note",
        "return getattr(run, 'my_note', None)",
        "return noted(run)",
        "return hasattr(run, 'my_note')",
        "return vars(run).get('my_note')",
        "return 'my_note' in run.__dict__",
        "run.my_note.append(1); return len(run.my_note)",
    ],
)
def test_attributes_of_the_run(change, read):
    assert two(ON_THE_RUN, change, read) == {"run.my_note"}


@pytest.mark.parametrize(
    "change, read",
    [
        ("return len(run.train_ids)", "return run.train_ids[0]"),
        ("run.my_note = 5", "return len(run.train_ids)"),
        ("run.files.append(1)", "return run.files"),
        ("run = C(); run.my_note = 5", "return getattr(run, 'my_note', None)"),
        ("c = C(); c.my_note = 5", "return run.my_note"),
    ],
)
def test_attributes_that_no_function_sets_are_not_shared(change, read):
    assert not two(ON_THE_RUN, change, read)


def test_what_is_appended_to_an_attribute_of_the_run():
    text = "from damnit_ctx import Variable\n@Variable\ndef a(run): run.seen = []\n@Variable\ndef b(run): run.seen.append(1)\n"
    text += "@Variable\ndef c(run): return len(run.seen)\n@Variable\ndef d(run): return run.train_ids\n"
    found = shared(text)
    assert found == {"a": {"run.seen": "C"}, "b": {"run.seen": "CR"}, "c": {"run.seen": "R"}, "d": {}}


def changed_in_place(body, argument='img: "var#image"', setup="", returned="return np.array([1., 2., 3.])"):
    """Does `norm` change the value of `image` that `other` gets?"""
    text = f"import numpy as np\nfrom damnit_ctx import Variable\n{setup}\n"
    text += f"@Variable\ndef image(run): {returned}\n"
    text += f"@Variable\ndef norm(run, {argument}):\n    {body}\n    return 1\n"
    text += '@Variable\ndef other(run, img: "var#image", n: "var#norm"): return img\n'
    text += '@Variable\ndef apart(run, n: "var#norm"): return n\n'
    found = shared(text)
    assert not found["image"] and not found["apart"]
    if not found["norm"]:
        return False
    assert found == {
        "image": {},
        "norm": {"the value of image": "CR"},
        "other": {"the value of image": "R"},
        "apart": {},
    }
    return True


@pytest.mark.parametrize(
    "body",
    [
        "img -= 1",
        "img[...] = 0",
        "img[0] -= 1",
        "img[0][1] = 5",
        "img.sort()",
        "np.add(img, 1, out=img)",
        "np.add(img, 1, img)",
        "np.nan_to_num(img, copy=False)",
        "img.clip(0, 1, out=img)",
        "img.attrs['a'] = 1",
        "img.attrs.update(a=1)",
        "img.values[0] = 1",
        "img.data -= 1",
        "img.loc[0] = 1",
        "img.drop(columns='a', inplace=True)",
        "img.append(1)",
        "x = img.pop('a')",
        "img.name = 'a'",
        "del img['a']",
        "np.asarray(img)[0] = 1",
        "view = img.reshape(-1); view *= 2",
        "view = img[1:]; view += 1",
        "view = img.T; view += 1",
        "for row in img: row -= 1",
        "for number in range(2): x = img; x -= 1",
        "np.copyto(img, 0)",
        "np.random.shuffle(img)",
        "change(img)",
        "change(where=img)",
        "(lambda a: a.sort())(img)",
        "def inner(): img.sort()\n    inner()",
        "if run: img = img.copy()\n    img -= 1",
        "img = img if run else None; img -= 1",
        "for i in range(2):\n        img -= 1\n        img = img.copy()",
        "try:\n        img = img.copy()\n    except OSError:\n        pass\n    img -= 1",
        "img, n = img, 1; img -= 1",
        "[row.sort() for row in img]",
        "img = np.asarray(img); img -= 1",
        "img.a = 1",
        "setattr(img, 'a', 1)",
        "import operator; operator.isub(img, 1)",
        "next(img)",
    ],
)
def test_a_dependent_that_changes_the_value_it_gets(body):
    assert changed_in_place(body, setup="def change(where): where -= 1")


@pytest.mark.parametrize(
    "body",
    [
        "pass",
        "img = img - 1; img -= 1",
        "img = img.copy(); img -= 1",
        "img = img.astype(float); img[0] = 1",
        "img = np.array(img); img.sort()",
        "import copy; img = copy.deepcopy(img); img.append(1)",
        "x = img.sum(); x += 1",
        "x = img.shape[0]; x += 1",
        "x = img[img > 0]; x -= 1",
        "x = img.add(1)",
        "x = [a for a in img]; x.append(1)",
        "x = list(img); x.append(1)",
        "x = np.sort(img); x -= 1",
        "x = {**img}; x['a'] = 1",
        "img = img.drop(columns='a', inplace=False)",
        "img = img.sort_values('a')",
        "total = 0\n    for x in img: total += x",
        "for i in range(2):\n        img = img.copy()\n        img -= 1",
        "if run: img = img.copy()\n    else: img = img + 1\n    img -= 1",
        "with np.errstate(all='ignore'): img = img / 2\n    img *= 2",
        "img = unchanged(img); img -= 1",
        "import pandas as pd; frame = pd.DataFrame(img); frame['a'] = 1",
        "[img for img in range(3)]",
        "run.something(img)",
        "out = np.empty(3); np.subtract(img, 1, out=out)",
        "out = np.empty(3); out[:] = img; out -= 1",
    ],
)
def test_a_dependent_that_changes_a_copy(body):
    assert not changed_in_place(body, setup="def unchanged(a): return a - 1")


def test_values_by_wildcard_and_values_that_cannot_be_changed():
    assert changed_in_place("for each in all.values(): each -= 1", argument='all: "var#im*"')
    assert changed_in_place("all['image'] -= 1", argument='all: "var#im*"')
    assert not changed_in_place("all['new'] = 1", argument='all: "var#im*"')
    assert not changed_in_place("all['image'] -= 1", argument='all: "var#nothing*"')
    for returned in ("return 'abc'", "return f'{run}'", "return str(run) if run else None"):
        assert not changed_in_place("img += 'x'", returned=returned)
    # Dependents get numbers as arrays without dimensions.
    for returned in ("return len('abc')", "return 1.5"):
        assert changed_in_place("img += 1", returned=returned)


def test_a_helper_that_many_variables_give_their_values_to():
    text = "from damnit_ctx import Variable\ndef change(a): a -= 1\n"
    for n in range(50):
        text += f'@Variable\ndef v{n}(run): return [{n}]\n@Variable\ndef c{n}(run, x: "var#v{n}"): change(x)\n'
    text += '@Variable\ndef last(run, x: "var#v49", y: "var#c49"): return x\n'
    found = shared(text)
    assert {name for name, uses in found.items() if uses} == {"c49", "last"}
