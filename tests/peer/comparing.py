"""Compare two dumps of `dump_damnit.py`.

The value that a variable's function returned must be the same bit by bit. Three things may differ:

- a number derived from it (summary, `max_diff`), by a relative error of 1e-6, because the order of a sum is not part of the
  contract. Trendlines must be equal;
- a thumbnail or figure. The sizes must be equal; the mean absolute difference of all pixels is at most `LARGEST_MEAN` of 255,
  for roundings to the next colour; and no mean over a block of 5 x 5 pixels differs by more than `LARGEST_BLOCK`, for the few
  pixels on the border of two source pixels;
- the text of an error that the program itself finds (not one of the context file): its class counts, and it must mention the
  same names of variables.
"""

import copy
import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

LARGEST_MEAN = 0.5
LARGEST_BLOCK = 10.0
BLOCK = 5
RELATIVE = 1e-6

MADE_NUMBERS = ("summary", "max_diff", "value", "table")
#: Variables whose errors the program itself finds, by the prefix of their names, and DAMNIT's text for a dependency without a
#: value.
OWN_WORDS = ("refused_", "after_")
PEER_WORDS = ("Skipped due to missing dependency", "Dependencies returned no data")


@dataclass(frozen=True)
class Dump:
    """A tree and the arrays that it refers to."""

    tree: dict
    arrays: dict[str, np.ndarray]

    @classmethod
    def load(cls, path: Path) -> "Dump":
        """Read both files of a dump."""
        tree = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        with np.load(path.with_suffix(".npz"), allow_pickle=False) as arrays:
            return cls(tree, {name: arrays[name] for name in arrays.files})


#: Variables whose cell in the table is better than DAMNIT's, with the reason. Their rows are not compared.
BETTER = {
    "image_bool": "has a thumbnail, where DAMNIT shows <thumbnail error>",
    "parameter": "says which parameter nobody gave, where DAMNIT has no row",
}


def without_better(tree: dict) -> dict:
    """A copy of the tree without the cells of the variables in BETTER."""
    tree = copy.deepcopy(tree)
    rows = tree.get("database", {}).get("run_variables", {})
    for row in [row for row in rows if row.split(" ", 2)[-1] in BETTER]:
        del rows[row]
    for run in tree.get("runs", {}).values():
        for name in BETTER:
            run.get("variables", {}).get(name, {}).pop("summary", None)
    for column in tree.get("table", {}).get("columns", []):
        if column["name"] in BETTER:
            column.pop("values", None)
            column.pop("dtype", None)
    return tree


def without(dump: Dump, names: frozenset[str]) -> Dump:
    """A dump without everything that belongs to some variables, given by their names and titles."""
    return Dump(pruned(dump.tree, names), dump.arrays)


def pruned(tree, names: frozenset[str]):
    """A tree without the keys, items and columns with these names. The variable's name is the last word of a row's name."""
    if isinstance(tree, dict):
        return {key: pruned(value, names) for key, value in tree.items() if key.split(" ", 2)[-1] not in names}
    if isinstance(tree, list):
        return [pruned(item, names) for item in tree if name_of(item) not in names]
    return tree


def name_of(item) -> str | None:
    """The subject of an item in a list: a name or title itself, a column, or a pair of variable and tag."""
    if isinstance(item, dict):
        return name_of(item.get("name"))
    if isinstance(item, list) and len(item) == 2:
        return name_of(item[0])
    return item if isinstance(item, str) else None


def differences(ours: Dump, theirs: Dump) -> list[str]:
    """All differences between two dumps, one sentence each, with the path in the tree."""
    found: list[str] = []
    Walk(ours, theirs, found).both(without_better(ours.tree), without_better(theirs.tree), ())
    return found


@dataclass(frozen=True)
class Walk:
    """Walks both trees side by side."""

    ours: Dump
    theirs: Dump
    found: list[str]

    def differ(self, way: tuple, ours, theirs) -> None:
        """Records a difference."""
        self.found.append(f"{' / '.join(map(str, way))}: {short(ours)} instead of {short(theirs)}")

    def both(self, ours, theirs, way: tuple) -> None:
        """Compare two sub-trees."""
        if isinstance(ours, dict) and isinstance(theirs, dict):
            if ours.get("is") != theirs.get("is"):
                self.differ(way, ours, theirs)
            elif ours.get("is") == "png":
                self.pictures(ours, theirs, way)
            elif ours.get("is") == "array" and "in" in ours and "in" in theirs:
                self.contents(ours, theirs, way)
            elif ours.get("is") == "float":
                self.numbers(ours, theirs, way)
            elif "error_cls" in ours.get("items", {}) and "error_cls" in theirs.get("items", {}):
                self.errors(ours["items"], theirs["items"], way)
            else:
                self.members(ours, theirs, way)
        elif isinstance(ours, list) and isinstance(theirs, list):
            if len(ours) != len(theirs):
                self.differ((*way, "length"), ours, theirs)
            else:
                for place, (one, other) in enumerate(zip(ours, theirs)):
                    self.both(one, other, (*way, place))
        elif ours != theirs or type(ours) is not type(theirs):
            self.differ(way, ours, theirs)

    def members(self, ours: dict, theirs: dict, way: tuple) -> None:
        """Compare by key. A key that only one side has is a difference."""
        for key in sorted(ours.keys() | theirs.keys()):
            if key not in ours:
                self.found.append(f"{' / '.join(map(str, (*way, key)))}: missing")
            elif key not in theirs:
                self.found.append(f"{' / '.join(map(str, (*way, key)))}: not expected, {short(ours[key])}")
            else:
                self.both(ours[key], theirs[key], (*way, key))

    def contents(self, ours: dict, theirs: dict, way: tuple) -> None:
        """Compare arrays: type, shape, every element."""
        if (ours["dtype"], ours["shape"]) != (theirs["dtype"], theirs["shape"]):
            self.differ(way, ours, theirs)
            return
        one, other = self.ours.arrays[ours["in"]], self.theirs.arrays[theirs["in"]]
        if is_picture(way, one):
            self.pixels(one, other, way)
        elif not same(one, other, exact=one.ndim > 0 or not is_made(way)):
            self.differ(way, one, other)

    def numbers(self, ours: dict, theirs: dict, way: tuple) -> None:
        """Compare two Python floats, which are written with all their digits."""
        one, other = np.float64(ours["repr"]), np.float64(theirs["repr"])
        if not same(one, other, exact=not is_made(way)):
            self.differ(way, ours["repr"], theirs["repr"])

    def errors(self, ours: dict, theirs: dict, way: tuple) -> None:
        """Compare what the table shows of an error."""
        self.both(ours["error_cls"], theirs["error_cls"], (*way, "error_cls"))
        variable = re.split(r"[ .]", str(way[-2]))[-1]
        if not variable.startswith(OWN_WORDS) and not words_of(theirs).startswith(PEER_WORDS):
            self.both(ours["error"], theirs["error"], (*way, "error"))
            return
        # DAMNIT names the class of the array that NumPy created, not that of the value the function returned.
        for name in sorted(names_in(theirs["error"]) - {"numpy.ndarray", "numpy", "ndarray"}):
            if name not in ours["error"]:
                self.differ((*way, "error"), ours["error"], f"something that names {name}")

    def pictures(self, ours: dict, theirs: dict, way: tuple) -> None:
        """Compare decoded pictures."""
        if ours["size"] != theirs["size"]:
            self.differ((*way, "size"), ours["size"], theirs["size"])
            return
        one, other = self.ours.arrays[ours["rgba"]["in"]], self.theirs.arrays[theirs["rgba"]["in"]]
        self.pixels(one, other, way)

    def pixels(self, ours: np.ndarray, theirs: np.ndarray, way: tuple) -> None:
        """Compare pixels, within the tolerance."""
        if ours.shape != theirs.shape:
            self.differ(way, ours.shape, theirs.shape)
            return
        distance = ours.astype(float) - theirs.astype(float)
        mean, block = np.abs(distance).mean(), np.abs(block_means(distance)).max()
        if mean > LARGEST_MEAN or block > LARGEST_BLOCK:
            where = " / ".join(map(str, way))
            self.found.append(f"{where}: picture off by {mean:.2f} on average and {block:.0f} in a block")


def block_means(pixels: np.ndarray) -> np.ndarray:
    """Means over blocks of pixels. The remaining pixels at the lower and right edge form smaller blocks."""
    rows, columns = (np.arange(0, size, BLOCK) for size in pixels.shape[:2])
    sums = np.add.reduceat(np.add.reduceat(pixels, rows, axis=0), columns, axis=1)
    counts = np.outer(*(np.diff([*starts, size]) for starts, size in zip((rows, columns), pixels.shape)))
    return sums / counts[..., None]


def names_in(words: str) -> set[str]:
    """Names of variables in the text of an error, as far as they can be recognised: `a_b` or `a.b`.

    DAMNIT's own name for a missing group is not included.
    """
    found = set(re.findall(r"[a-z]\w*(?:\.\w+)+|[a-z]+(?:_\w+)+", words))
    return {name for name in found if "__missing__" not in name}


def words_of(error: dict) -> str:
    """What the table says about an error; empty if it says nothing."""
    words = error.get("error")
    return words if isinstance(words, str) else ""


def is_made(way: tuple) -> bool:
    """Whether this number was derived from the value, and is not the value itself."""
    return any(part in MADE_NUMBERS for part in way)


def is_picture(way: tuple, array: np.ndarray) -> bool:
    """Whether it is a figure that was drawn, and not an array that a function returned."""
    drawn = any(str(part).startswith("figure") or str(part).endswith("_plot") for part in way)
    return array.dtype == np.uint8 and array.ndim == 3 and drawn


def same(one: np.ndarray, other: np.ndarray, *, exact: bool) -> bool:
    """Equal elements, NaN being equal to NaN."""
    if one.dtype.kind not in "fc":
        return bool(np.array_equal(one, other))
    if exact:
        return bool(np.array_equal(one, other, equal_nan=True))
    return bool(np.allclose(one, other, rtol=RELATIVE, atol=0, equal_nan=True))


def short(value) -> str:
    """A value on one line."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 160 else f"{text[:150]} …"
