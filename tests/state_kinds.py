"""Kinds of state that functions share, each in its shortest form."""

from __future__ import annotations

import ast
import re

Kinds = dict[str, tuple[str, str, str, object]]

# The shared state as the file's text, and the value of `last` in one process.
KINDS: Kinds = {
    "a global": ("X = 1", "global X; X = 5", "X", 5),
    "an item": ("T = {}", "T['a'] = 5", "T.get('a')", 5),
    "a deleted item": ("T = {'a': 1}", "del T['a']", "len(T)", 0),
    "an added number": ("N = [1, 2]", "N[0] += 4", "N[0]", 5),
    "an attribute": ("class C: pass\nc = C()", "c.x = 5", "getattr(c, 'x', 0)", 5),
    "an attribute of a class": ("class C: x = 0", "C.x = 5", "C.x", 5),
    "a method": (
        "class C:\n    def __init__(self): self.n = 0\n    def add(self): self.n += 5\nc = C()",
        "c.add()",
        "c.n",
        5,
    ),
    "a dataclass": (
        "from dataclasses import dataclass, field\n@dataclass\nclass C:\n    items: list = field(default_factory=list)\nc = C()",
        "c.items.append(5)",
        "len(c.items)",
        1,
    ),
    "an attribute of a function": ("def f(): pass\nf.n = 0", "f.n = 5", "f.n", 5),
    "an argument's default": ("def f(x=[]):\n    x.append(1)\n    return len(x)", "f()", "f()", 2),
    "a closure": (
        "def counter():\n    n = 0\n    def add():\n        nonlocal n\n        n += 1\n        return n\n    return add\nadd = counter()",  # noqa: E501
        "add()",
        "add()",
        2,
    ),
    "an iterator": ("it = iter(range(10))", "next(it)", "next(it)", 1),
    "a generator": ("def g():\n    yield from range(9)\nit = g()", "next(it)", "list(it)[0]", 1),
    "a deque": ("from collections import deque\nq = deque([1, 2])", "q.popleft()", "q[0]", 2),
    "a counter": ("from collections import defaultdict\nd = defaultdict(int)", "d['a'] += 5", "d['a']", 5),
    "an array": ("a = np.zeros(3)", "a[:] = 5", "float(a[1])", 5),
    "a view of an array": ("a = np.zeros(3)", "row = a[1:]; row += 5", "float(a[1])", 5),
    "an alias": ("T = []", "t = T; t.append(1)", "len(T)", 1),
    "a helper's argument": ("T = []\ndef put(t): t.append(1)", "put(T)", "len(T)", 1),
    "a helper's result": ("T = {}\ndef table(): return T", "table()['a'] = 5", "T.get('a')", 5),
    "a helper's helper": ("T = []\ndef a(): b()\ndef b(): T.append(1)", "a()", "len(T)", 1),
    "a function that is handed on": ("T = []\ndef put(x): T.append(x)", "list(map(put, [1, 2]))", "len(T)", 2),
    "a lambda": ("T = []\nput = lambda x: T.append(x)", "put(1)", "len(T)", 1),
    "a bound method": ("T = []\nput = T.append", "put(1)", "len(T)", 1),
    "a partial": ("import functools\nT = []\nput = functools.partial(T.append, 1)", "put()", "len(T)", 1),
    "setattr": ("class C: x = 0\nc = C()", "setattr(c, 'x', 5)", "c.x", 5),
    "globals": ("X = 1", "globals()['X'] = 5", "X", 5),
    "in a list in a dictionary": ("T = {'a': []}", "T['a'].append(1)", "len(T['a'])", 1),
    "setdefault": ("T = {}", "T.setdefault('a', []).append(1)", "len(T)", 1),
    "shuffled": ("a = np.arange(9)[::-1].copy()", "np.ndarray.sort(a)", "int(a[0])", 0),
    "out=": ("a = np.zeros(3)", "np.add(1, 2, out=a)", "float(a[0])", 3),
    "a generator of random numbers": ("rng = np.random.default_rng(1)", "rng.random()", "round(rng.random(), 6)", 0.950464),
    "seeded random numbers": (
        "np.random.seed(1)",
        "np.random.random()",
        "round(float(np.random.random()), 6)",
        0.720324,
    ),
    "Python's seeded random numbers": (
        "import random\nrandom.seed(1)",
        "random.random()",
        "round(random.random(), 6)",
        0.847434,
    ),
    "a wrapped function": (
        "import functools\ndef remember(f):\n    known = {}\n    @functools.wraps(f)\n    def inner(k):\n        known.setdefault(k, len(known))\n        return known[k]\n    return inner\n@remember\ndef f(k): pass",  # noqa: E501
        "f('a')",
        "f('b')",
        1,
    ),
    "a file": (
        "",
        "open('scratch.txt', 'w').write('5')",
        "int(open('scratch.txt').read()) if os.path.exists('scratch.txt') else 0",
        5,
    ),
    "a file by a constant": (
        "from pathlib import Path\nHERE = Path('.')\nSCRATCH = HERE / 'scratch.npy'",
        "np.save(SCRATCH, [5])",
        "int(np.load(SCRATCH)[0]) if SCRATCH.exists() else 0",
        5,
    ),
    "a file that is added to": (
        "",
        "open('scratch.txt', 'a').write('5')",
        "open('scratch.txt').read() if os.path.exists('scratch.txt') else ''",
        "5",
    ),
    "a file that is updated": (
        "import h5py",
        "with h5py.File('scratch.h5', 'a') as f: f.attrs['n'] = int(f.attrs.get('n', 0)) + 1",
        "int(h5py.File('scratch.h5').attrs['n']) if os.path.exists('scratch.h5') else 0",
        1,
    ),
    "a file that is counted up": (
        "def count(): return int(open('scratch.txt').read()) if os.path.exists('scratch.txt') else 0",
        "n = count(); open('scratch.txt', 'w').write(str(n + 1))",
        "count()",
        1,
    ),
    "a database": (
        "import sqlite3\ndef db():\n    db = sqlite3.connect('scratch.sqlite')\n    db.execute('create table if not exists t (x)')\n    return db",  # noqa: E501
        "with db() as d: d.execute('insert into t values (5)')",
        "db().execute('select count(*) from t').fetchone()[0]",
        1,
    ),
    "a database in memory": (
        "import sqlite3\ndb = sqlite3.connect(':memory:')\ndb.execute('create table t (x)')",
        "db.execute('insert into t values (5)')",
        "db.execute('select count(*) from t').fetchone()[0]",
        1,
    ),
}


# Several concurrent runs use the same file.
FILES = {kind for kind in KINDS if kind.startswith("a file") or kind == "a database"}
# A variable that only appends to a file that is kept is not executed again.
ADDING = FILES - {"a file", "a file by a constant"}


def one_of_each(kinds: Kinds = KINDS, between: str = "") -> str:
    """A file with these kinds: for each, a variable that changes the state and one that reads it."""
    setups, changes, readers = [], [], []
    for number, (setup, change, read, _) in enumerate(kinds.values()):
        names = set()
        for node in ast.parse(setup).body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                names.add(node.name)
            elif isinstance(node, ast.Assign):
                names.update(target.id for target in node.targets if isinstance(target, ast.Name))

        def own(text: str, names: set[str] = names, number: int = number) -> str:
            for name in names:
                text = re.sub(rf"(?<![.\w]){name}\b", f"{name}_{number}", text)
            return text.replace("scratch", f"scratch{number}")

        setups.append(own(setup))
        changes.append(f"@Variable\ndef change_{number}(run):\n    {own(change)}\n    return 1\n")
        readers.append(f"@Variable\ndef last_{number}(run):\n    return {own(read)}\n")
    return "\n".join([*setups, *changes, between, *readers])
