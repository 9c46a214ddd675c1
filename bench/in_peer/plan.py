"""Plans variables with DAMNIT, in its interpreter: `plan.py SHAPE COUNT RESULT`.

Writes the milliseconds from its variables (created before the measurement) to its selection, and the size
of the selection.
"""

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from damnit.context import ContextFile, RunData, Variable

from shapes import dependencies


def variable(shape, at):
    """Variable number `at`. The annotations of its function name its dependencies."""

    names = {f"a{number}": f"var#v{need}" for number, need in enumerate(dependencies(shape, at))}
    parameters = ", ".join(["run", *(f"{name}: {need!r}" for name, need in names.items())])
    scope = {}
    exec(f"def v{at}({parameters}): return {at}", scope)
    return Variable(title=f"Variable {at}", cluster=at % 7 == 6)(scope[f"v{at}"])


def main():
    """Plan and write the result."""
    shape, count, result = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    variables = {f"v{at}": variable(shape, at) for at in range(count)}
    start = time.perf_counter()
    context = ContextFile(variables, "")
    context.check()
    selected = context.filter(run_data=RunData.ALL)
    ms = (time.perf_counter() - start) * 1e3
    result.write_text(json.dumps({"ms": ms, "planned": len(selected.ordered_vars())}))


if __name__ == "__main__":
    main()
