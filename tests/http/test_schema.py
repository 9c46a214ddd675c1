"""Real answers of every GET route are as /openapi.json describes them, and bodies that it describes are accepted."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

import jsonschema_rs
import pytest
from http_service import WITHOUT_VALUE, Answer, HttpService

from conftest import pipe

PROPOSAL = "/v1/proposals/1234"
#: Routes whose answers never end, or are no JSON and have a format of their own.
NOT_HERE = {"/v1/events"}
#: DAMNIT's four types: a variable of each, with a value.
ENTERED: dict[str, Any] = {"boolean": True, "integer": 3, "number": 2.5, "string": "lysozyme"}

VALUES = """
import xarray as xr

@Variable(title="Number", tags=["scalar"])
def number(run):
    print("number was computed")
    return 1.5

@Variable(title="Text")
def text(run):
    return "sample-2"

@Variable(title="Truth")
def truth(run):
    return True

@Variable(title="Not a number")
def not_a_number(run):
    return float("nan")

@Variable(title="Infinite")
def infinite(run):
    return float("-inf")

@Variable(title="Complex")
def impedance(run):
    return complex("nan+4j")

@Variable(title="Vector", summary="max")
def vector(run):
    return np.array([1.0, np.nan, np.inf])

@Variable(title="Flux")
def flux(run):
    return xr.DataArray(np.arange(12.0).reshape(4, 3), dims=("trainId", "pulse"), attrs={"units": "uJ"})

@Variable(title="Dataset")
def dataset(run):
    return xr.Dataset({"a": ("x", [1.0, 2.0]), "b": ("y", [3, 4, 5])}, attrs={"note": "hello"})

@Variable(title="Image")
def image(run):
    return np.arange(200.0).reshape(10, 20)

"""


class Document:
    """The OpenAPI document of a service."""

    def __init__(self, service: HttpService) -> None:
        self.content: Any = service.ask("GET", "/openapi.json").json()

    def validator(self, schema: Any) -> Any:
        """For a schema in the document."""
        return jsonschema_rs.Draft202012Validator({**schema, "components": self.content["components"]})

    def component(self, name: str) -> Any:
        """A schema by its name."""
        return self.content["components"]["schemas"][name]

    def answer(self, path: str, status: int, media_type: str) -> Any:
        """The schema of an answer to GET."""
        described = self.content["paths"][path]["get"]["responses"]
        place = f"GET {path}: {status} {media_type}"
        one = described.get(str(status), described.get("default"))
        assert one is not None, f"{place} is not described"
        content = one.get("content", {})
        assert media_type in content or not content, f"{place}: only {list(content)} are described"
        return content.get(media_type, {}).get("schema", {})

    def check(self, path: str, answer: Answer) -> None:
        """Whether an answer to GET is as described."""
        media_type = answer.headers.get("content-type", "").partition(";")[0]
        schema = self.answer(path, answer.status, media_type)
        if "json" in media_type:
            errors = [
                f"{'/'.join(map(str, error.instance_path))}: {error.message}"
                for error in self.validator(schema).iter_errors(answer.json())
            ]
            assert not errors, f"GET {path}:\n{answer.body.decode()[:2000]}\n" + "\n".join(errors[:10])


def other_programs(database: pipe.Database) -> None:
    """Rows as other programs write them."""
    with sqlite3.connect(database.path / "runs.sqlite") as connection:
        connection.execute("UPDATE run_info SET start_time = 'yesterday' WHERE run = 2")
        connection.execute("UPDATE run_info SET start_time = 9e999 WHERE run = 3")
        connection.executemany(
            "INSERT INTO metameta (key, value) VALUES (?, ?)",
            [("of_others", None), ("of_others_2", float("inf")), ("of_others_3", 1.5), ("of_others_4", "x")],
        )
        insert = (
            "INSERT INTO run_variables (proposal, run, name, version, value, timestamp, summary_type, max_diff)"
            " VALUES (1234, ?, ?, 1, ?, ?, ?, ?)"
        )
        connection.executemany(
            insert,
            [
                (1, "at", 1.75e9, 1.75e9, "timestamp", float("inf")),
                (1, "some_bytes", b"\x00\x01", 1.75e9, "of another program", None),
                (2, "my_number", float("inf"), 1.75e9, None, None),
                (3, "my_boolean", 0, 1.75e9, None, None),
            ],
        )
    connection.close()


@pytest.fixture
def filled(database: pipe.Database, start: Callable[..., HttpService]) -> HttpService:
    """A service of a database with everything that a table can have."""
    database.context(VALUES + WITHOUT_VALUE)
    database.amore("reprocess", "1-3")
    service = start()
    for name, value in ENTERED.items():
        new = {"name": f"my_{name}", "type": name, "title": f"My {name}", "description": "of mine"}
        assert service.local("POST", f"{PROPOSAL}/user-variables", new).status == 201
        path = f"{PROPOSAL}/runs/1/user-values/my_{name}"
        assert service.local("PUT", path, {"value": value}, **{"If-Match": "*"}).status == 200
    path = f"{PROPOSAL}/runs/1/user-values/comment"
    assert service.local("PUT", path, {"value": "good beam"}, **{"If-Match": "*"}).status == 200
    other_programs(database)
    return service


def test_all_answers_are_as_described(filled: HttpService) -> None:
    document = Document(filled)
    event = filled.local("POST", f"{PROPOSAL}/runs/2/triggers", {"data": "raw"}).json()["event"]
    asked = filled.local("POST", f"{PROPOSAL}/reprocess", {"runs": [1, 99], "variables": ["number"]}).json()
    filled.token("read", "--proposal", "1234")
    pipe.wait_for("the request ends", lambda: filled.local("GET", asked["progress"]).json()["ended"], filled.process)
    table = filled.local("GET", f"{PROPOSAL}/table").json()
    names = [column["name"] for column in table["columns"]]
    assert {"my_boolean", "at", "broken", "not_a_number"} <= set(names)
    run, of_run = f"{PROPOSAL}/runs/1", "/v1/proposals/{p}/runs/{r}"
    calls: dict[str, list[str]] = {
        "/livez": ["/livez"],
        "/readyz": ["/readyz"],
        "/metrics": ["/metrics"],
        "/v1/proposals": ["/v1/proposals"],
        "/v1/tokens": ["/v1/tokens"],
        "/v1/inbox": ["/v1/inbox", "/v1/inbox?state=lost"],
        "/v1/inbox/{id}": [f"/v1/inbox/{event}", "/v1/inbox/999999"],
        "/v1/proposals/{p}/requests/{id}": [asked["progress"], f"{PROPOSAL}/requests/0"],
        "/v1/proposals/{p}/table": [
            f"{PROPOSAL}/table?{query}" for query in ("", "errors=true", "limit=1", "limit=0", "order=descending")
        ],
        "/v1/proposals/{p}/runs": [f"{PROPOSAL}/runs", f"{PROPOSAL}/runs?from=2&limit=1"],
        "/v1/proposals/{p}/variables": [f"{PROPOSAL}/variables", "/v1/proposals/77/variables"],
        "/v1/proposals/{p}/settings": [f"{PROPOSAL}/settings"],
        "/v1/proposals/{p}/context": [f"{PROPOSAL}/context"],
        "/v1/proposals/{p}/jobs": [f"{PROPOSAL}/jobs"],
        f"{of_run}/plan": [f"{run}/plan", f"{PROPOSAL}/runs/999/plan"],
        f"{of_run}/explain": [f"{run}/explain", f"{run}/explain?variable=broken", f"{PROPOSAL}/runs/999/explain"],
        f"{of_run}/logs": [f"{run}/logs", f"{run}/logs?format=json", f"{PROPOSAL}/runs/999/logs"],
        f"{of_run}/variables/{{name}}": [f"{run}/variables/{name}" for name in [*names, "unknown"]],
        f"{of_run}/variables/{{name}}/value": [
            f"{run}/variables/{name}/value?{query}"
            for name in [*names, "unknown"]
            for query in ("", "points=2", "format=npy", "preview=true")
        ],
        f"{of_run}/variables/{{name}}/thumbnail": [f"{run}/variables/{name}/thumbnail" for name in names],
        f"{of_run}/user-values/{{name}}": [
            f"{PROPOSAL}/runs/{number}/user-values/{name}"
            for number in (1, 2, 3, 99)
            for name in ["comment", "number", *(f"my_{name}" for name in ENTERED)]
        ],
    }
    described = {path for path, methods in document.content["paths"].items() if "get" in methods}
    assert described - NOT_HERE == set(calls), "each GET route is tried"
    for path, places in calls.items():
        answers = [filled.local("GET", place) for place in places]
        for answer in answers:
            document.check(path, answer)
        assert any(answer.status == 200 for answer in answers), f"{path} has no answer that tells anything"


def test_the_forms_are_not_too_wide(filled: HttpService) -> None:
    document = Document(filled)
    row = {"run": 1, "start_time": 1.5, "added_at": None, "comment": None, "cells": {}}
    one_row = document.validator(document.component("TableRow"))
    one = {"kind": "boolean", "value": 1}
    for wrong in ({"start_time": {}}, {"start_time": True}, {"cells": {"a": 1}}, {"cells": {"a": one}}):
        assert not one_row.is_valid({**row, **wrong}), wrong
    for right in ({}, {"start_time": "NaN"}, {"start_time": None}, {"cells": {"a": {"kind": "number", "value": "NaN"}}}):
        assert one_row.is_valid({**row, **right}), right
    assert not document.validator(document.component("Number")).is_valid("many")


def test_truth_values_that_users_enter_are_truth_values_everywhere(filled: HttpService) -> None:
    rows = {row["run"]: row for row in filled.local("GET", f"{PROPOSAL}/table").json()["rows"]}
    assert rows[1]["cells"]["my_boolean"] == {"kind": "boolean", "value": True}
    assert rows[3]["cells"]["my_boolean"] == {"kind": "boolean", "value": False}
    assert rows[1]["cells"]["my_integer"] == {"kind": "integer", "value": 3}
    about = filled.local("GET", f"{PROPOSAL}/runs/1/variables/my_boolean").json()
    assert about["cell"] == {"kind": "boolean", "value": True}
    # SQLite and JSON have infinity in different ways.
    assert rows[2]["cells"]["my_number"] == {"kind": "number", "value": "Infinity"}
    assert filled.local("GET", f"{PROPOSAL}/runs/2/user-values/my_number").json() == {"value": "Infinity"}
    printed = filled.database.amore("table", "--json", "--names", "--match", "My boolean").stdout
    assert '"my_boolean":true' in printed.replace(" ", "") and '"my_boolean":false' in printed.replace(" ", "")


def test_described_bodies_are_accepted(filled: HttpService) -> None:
    document = Document(filled)
    new_value = document.validator(document.component("NewValue"))
    accepted = {"my_boolean": True, "my_integer": -7, "my_number": 1e300, "my_string": "x", "comment": None}
    for name, value in accepted.items():
        body = {"value": value}
        assert new_value.is_valid(body), body
        answer = filled.local("PUT", f"{PROPOSAL}/runs/1/user-values/{name}", body, **{"If-Match": "*"})
        assert answer.status == 200 and answer.json() == body, answer.body
    example = document.component("NewValue")["example"]
    assert filled.local("PUT", f"{PROPOSAL}/runs/1/user-values/comment", example, **{"If-Match": "*"}).status == 200
    for wrong in ({"value": []}, {"value": {}}, {"value": 1, "unit": "m"}):
        assert not new_value.is_valid(wrong), wrong
        answer = filled.local("PUT", f"{PROPOSAL}/runs/1/user-values/comment", wrong, **{"If-Match": "*"})
        assert answer.status == 400

    words = document.component("TypeWord")["enum"]
    assert sorted(words) == sorted(ENTERED)
    changes = document.component("SettingChanges")
    assert filled.local("PATCH", f"{PROPOSAL}/settings", changes["example"]).status == 200
    for value in (1, 0.5, "x", None):
        assert document.validator(changes).is_valid({"of_others": value})
        assert filled.local("PATCH", f"{PROPOSAL}/settings", {"of_others": value}).status == 200
    for unfit in (True, [], {}):
        assert not document.validator(changes).is_valid({"of_others": unfit})
        assert filled.local("PATCH", f"{PROPOSAL}/settings", {"of_others": unfit}).status == 400

    reprocess = document.validator(document.component("Reprocess"))
    for runs in ([1], "all"):
        assert reprocess.is_valid({"runs": runs, "variables": ["number"]})
        assert filled.local("POST", f"{PROPOSAL}/reprocess", {"runs": runs, "variables": ["number"]}).status == 202
    assert not reprocess.is_valid({"runs": "some"})
