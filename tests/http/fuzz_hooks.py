"""Hooks of Schemathesis: requests reach things that exist, and what they reached is written to a file.

Without them nearly every request is about a proposal, run or variable that does not exist.
"""

from __future__ import annotations

import collections
import json
import os
import random
from pathlib import Path
from typing import Any

import schemathesis

#: Names of the paths, with what exists. `FUZZ_EXISTING` has that of this service as JSON.
EXISTING: dict[str, list[Any]] = json.loads(os.environ["FUZZ_EXISTING"])
REACHED = Path(os.environ["FUZZ_REACHED"])
#: The rest stays as it was made: what does not exist has to be answered, too.
SHARE = 0.8
#: Requests that execute the context file take a second each: so many of them are made, the others are about no proposal.
EXECUTES = ("/plan", "/context/check", "/context")
EXECUTED = 12
executions = collections.Counter[str]()
#: This one only reads the file.
SHOWS = "GET /v1/proposals/{p}/context"
#: Schemathesis learns ids from answers, and would revoke its own token.
ALWAYS = {"DELETE /v1/tokens/{id}"}
chance = random.Random(1)


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Puts existing things into most requests. Hooks that change what is generated are not called in all phases."""
    place = f"{case.operation.method.upper()} {case.operation.path}"
    if place.startswith(("GET", "POST", "PUT")) and place.endswith(EXECUTES) and place != SHOWS:
        executions[place] += 1
        if executions[place] > EXECUTED:
            case.path_parameters["p"] = 999
            return
    for name in case.path_parameters or {}:
        values = EXISTING.get(f"{case.operation.path} {name}", EXISTING.get(name))
        if values and (place in ALWAYS or chance.random() < SHARE):
            case.path_parameters[name] = chance.choice(values)
    if case.query:
        # Such an answer does not end.
        case.query.pop("follow", None)
    if case.query and chance.random() < SHARE:
        # The service has one directory, whose path nobody guesses.
        case.query.pop("directory", None)
    if case.operation.method.upper() in ("PUT", "PATCH") and chance.random() < SHARE:
        # Changes are made to whatever version there is.
        case.headers["If-Match"] = "*"


@schemathesis.hook
def after_call(context: Any, case: Any, response: Any) -> None:
    """Writes what was reached."""
    with REACHED.open("a") as reached:
        reached.write(f"{case.operation.method.upper()} {case.operation.path} {response.status_code}\n")
