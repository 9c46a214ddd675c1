"""100,000 tasks through one core: the example program `core_100k`.

DAMNIT has nothing comparable, so the last tenth of the tasks is compared with the first. A ratio of 1 means
a constant cost per task.
"""

import json

import measure as timing
from report import Measure
from sides import Bench, Case


def _core(bench: Bench) -> list[Measure]:
    report = json.loads(timing.output_of([bench.programs / "examples" / "core_100k"], bench.ours.environment))
    if report["left"] != [0, 0]:
        raise timing.CommandFailed(f"core_100k has not forgotten what is finished: {report['left']}")
    extra = {"tasks": report["tasks"], "peak_mib": report["peak_mib"]}
    note = "Amore only: the last tenth of the tasks beside the first"
    first, last = report["microseconds_first"], report["microseconds_last"]
    return [Measure("core_100k", "µs", [last], [first], note=note, extra=extra)]


CASES = [Case(("core_100k",), _core)]
