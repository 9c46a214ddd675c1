"""Schemathesis makes requests from the OpenAPI document: none is answered with a 5xx, and answers are as described."""

from __future__ import annotations

import collections
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from http_service import HttpService

from conftest import pipe

SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
#: A request by chance has to be lucky for more than the error that its body is none.
LUCK = {"DELETE /v1/tokens/{id}", "PUT /v1/proposals/{p}/context"}


@pytest.mark.skipif(not SCHEMATHESIS.exists() and shutil.which("schemathesis") is None, reason="no schemathesis")
def test_no_request_breaks_the_service(service: HttpService, tmp_path: Path) -> None:
    event = service.local("POST", "/v1/proposals/1234/runs/1/triggers", {"data": "raw"}).json()["event"]
    pipe.wait_for("the value", lambda: service.database.rows(1).get("a") == 1, service.process)
    request = service.local("POST", "/v1/proposals/1234/reprocess", {"runs": [1]}).json()["id"]
    new = {"name": "quality", "type": "number"}
    assert service.local("POST", "/v1/proposals/1234/user-variables", new).status == 201
    # What has no value is found by its route, and answered with 404.
    existing = {
        "p": [1234],
        "r": [1],
        "name": ["a"],
        "/v1/proposals/{p}/runs/{r}/user-values/{name} name": ["comment", "quality"],
        "/v1/proposals/{p}/requests/{id} id": [request],
        "/v1/tokens/{id} id": [service.token("read").split("_")[1]],
        "/v1/inbox/{id} id": [event],
        "/v1/inbox/{id}/retry id": [event],
        "/v1/inbox/{id}/drop id": [event],
    }
    reached = tmp_path / "reached"
    token = service.token("admin")
    words = [
        str(SCHEMATHESIS),
        "run",
        f"{service.url}/openapi.json",
        "--header",
        f"Authorization: Bearer {token}",
        "--checks",
        "not_a_server_error,content_type_conformance,response_schema_conformance",
        "--max-examples",
        "15",
        "--seed",
        "1",
        "--exclude-path",
        "/v1/events",
        # It guesses which answers belong to which requests, and stops with an error if it guesses wrong.
        "--phases",
        "examples,coverage,fuzzing",
        "--request-timeout",
        "60",
    ]
    environment = {
        **os.environ,
        "SCHEMATHESIS_HOOKS": "fuzz_hooks",
        "PYTHONPATH": str(Path(__file__).parent),
        "FUZZ_EXISTING": json.dumps(existing),
        "FUZZ_REACHED": str(reached),
    }
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=900, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert service.ask("GET", "/readyz").ok
    answers = collections.defaultdict(set)
    for line in reached.read_text().splitlines():
        operation, _, status = line.rpartition(" ")
        answers[operation].add(int(status))
    # A thumbnail is what the table has in place of a number, and the only variable is a number.
    unlucky = {name for name, statuses in answers.items() if statuses <= {400, 404, 405, 406, 415, 428}}
    assert unlucky <= LUCK | {"GET /v1/proposals/{p}/runs/{r}/variables/{name}/thumbnail"}, answers
