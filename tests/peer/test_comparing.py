"""The comparison of dumps finds all relevant differences, and no others."""

import copy

import numpy as np
import pytest

from comparing import Dump, differences, names_in, without


def sample() -> Dump:
    """A small dump with one example of everything that is compared in a special way."""
    picture = np.full((30, 30, 4), 200, dtype=np.uint8)
    arrays = {
        "line": np.array([1.0, np.nan, 3.0]),
        "ids": np.array([1, 2, 3], dtype="u8"),
        "picture": picture,
        "figure": picture.copy(),
        "spark": np.array([[0.0, 1.0], [5.0, 6.0]]),
    }
    row = {"is": "dict", "items": {"error": "own words", "error_cls": "ValueError"}}
    ours = {"is": "dict", "items": {"error": "lacks error_value", "error_cls": "DependencyError"}}
    tree = {
        "runs": {
            "1": {
                "keys": ["x", "y"],
                "variables": {
                    "x": {
                        "units": None,
                        "read": {
                            "is": "DataArray",
                            "dims": ["trainId"],
                            "attrs": {"is": "dict", "items": {"a": {"is": "int", "repr": "1"}}},
                            "coords": {"trainId": {"is": "array", "dtype": "<u8", "shape": [3], "in": "ids"}},
                            "values": {"is": "array", "dtype": "<f8", "shape": [3], "in": "line"},
                        },
                        "summary": {"is": "float", "repr": "1.25"},
                    },
                    "figure": {"read": {"is": "array", "dtype": "|u1", "shape": [30, 30, 4], "in": "figure"}},
                },
            }
        },
        "database": {
            "run_variables": {
                "p1 r1 x": {
                    "value": {"is": "float", "repr": "1.25"},
                    "max_diff": {"is": "float", "repr": "2.0"},
                },
                "p1 r1 thumb": {
                    "value": {
                        "is": "png",
                        "size": [30, 30],
                        "rgba": {"is": "array", "dtype": "|u1", "shape": [30, 30, 4], "in": "picture"},
                    }
                },
                "p1 r1 spark": {
                    "value": {
                        "is": "npy",
                        "of": {"is": "array", "dtype": "<f8", "shape": [2, 2], "in": "spark"},
                    }
                },
                "p1 r1 error_value": {"value": None, "attributes": row},
                "p1 r1 after_error": {"value": None, "attributes": ours},
            }
        },
    }
    return Dump(tree, arrays)


def variable(dump: Dump) -> dict:
    """The labelled array of the sample."""
    return dump.tree["runs"]["1"]["variables"]["x"]


def rows(dump: Dump) -> dict:
    """The rows of the sample."""
    return dump.tree["database"]["run_variables"]


def change_value(dump):
    dump.arrays["line"][0] = np.nextafter(1.0, 2.0)


def change_nan(dump):
    dump.arrays["line"][1] = 0.0


def change_coordinate(dump):
    dump.arrays["ids"][2] += 1


def change_dtype(dump):
    variable(dump)["read"]["values"]["dtype"] = "<f4"


def change_dims(dump):
    variable(dump)["read"]["dims"] = ["x"]


def change_attribute_type(dump):
    variable(dump)["read"]["attrs"]["items"]["a"] = {"is": "float", "repr": "1.0"}


def drop_coordinate(dump):
    del variable(dump)["read"]["coords"]["trainId"]


def add_attribute(dump):
    variable(dump)["read"]["attrs"]["items"]["more"] = "text"


def change_units(dump):
    variable(dump)["units"] = "mm"


def change_summary(dump):
    variable(dump)["summary"]["repr"] = "1.25001"


def change_row_type(dump):
    rows(dump)["p1 r1 x"]["value"] = {"is": "int", "repr": "1"}


def drop_row(dump):
    del rows(dump)["p1 r1 x"]


def add_row(dump):
    rows(dump)["p1 r1 z"] = {"value": None}


def change_key(dump):
    dump.tree["runs"]["1"]["keys"].append("z")


def change_thumbnail(dump):
    dump.arrays["picture"][:15] = 0


def change_thumbnail_edge(dump):
    dump.arrays["picture"][:2] = 0


def change_thumbnail_size(dump):
    rows(dump)["p1 r1 thumb"]["value"]["size"] = [30, 31]


def change_figure(dump):
    dump.arrays["figure"][:15] = 0


def change_trendline(dump):
    dump.arrays["spark"][1, 0] *= 1 + 1e-9


def change_all_shades(dump):
    dump.arrays["picture"] += 3


def change_error_words(dump):
    rows(dump)["p1 r1 error_value"]["attributes"]["items"]["error"] = "other words"


def change_error_class(dump):
    rows(dump)["p1 r1 after_error"]["attributes"]["items"]["error_cls"] = "Skip"


def forget_the_culprit(dump):
    rows(dump)["p1 r1 after_error"]["attributes"]["items"]["error"] = "something is lacking"


CHANGES = [
    change_value,
    change_nan,
    change_coordinate,
    change_dtype,
    change_dims,
    change_attribute_type,
    drop_coordinate,
    add_attribute,
    change_units,
    change_summary,
    change_row_type,
    drop_row,
    add_row,
    change_key,
    change_thumbnail,
    change_thumbnail_edge,
    change_thumbnail_size,
    change_figure,
    change_trendline,
    change_all_shades,
    change_error_words,
    change_error_class,
    forget_the_culprit,
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_finds(change):
    """Each change causes exactly one difference."""
    changed = copy.deepcopy(sample())
    change(changed)
    assert len(differences(changed, sample())) == 1


def test_equal_dumps_do_not_differ():
    assert differences(sample(), sample()) == []


def test_allows_what_it_says():
    """Rounding of derived numbers, shades of a picture and the program's own messages may differ."""
    changed = copy.deepcopy(sample())
    variable(changed)["summary"]["repr"] = "1.2500000001"
    changed.arrays["picture"][::3, ::3] += 1
    changed.arrays["picture"][7, 7] -= 100
    words = "error_value did not give a value"
    rows(changed)["p1 r1 after_error"]["attributes"]["items"]["error"] = words
    assert differences(changed, sample()) == []


def test_names_in_the_words_of_an_error():
    words = "Skipped:\n└ (linked.broken) failed: ValueError: x\n- 'error_value', 'half.__missing__.back'"
    assert names_in(words) == {"linked.broken", "error_value"}


def test_leaves_variables_out_of_a_dump():
    """Variables are removed wherever they are named, and nothing else is."""
    changed = copy.deepcopy(sample())
    rows(changed)["p1 r1 y"] = {"value": None}
    changed.tree["tags"] = [["y", "beam"]]
    changed.tree["table"] = {"columns": [{"name": "y", "values": []}]}
    changed.tree["runs"]["1"]["keys"] = ["x"]
    expected = sample()
    expected.tree["tags"], expected.tree["table"] = [], {"columns": []}
    assert differences(without(changed, frozenset({"y"})), without(expected, frozenset({"y"}))) == []
    assert "p1 r1 x" in without(changed, frozenset({"y"})).tree["database"]["run_variables"]
