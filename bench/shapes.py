"""The dependency graphs of 10,000 variables to be planned; the same as in the example program `time_plan`.
"""


def dependencies(shape: str, at: int) -> list[int]:
    """The dependencies of variable number `at`."""
    if shape == "chain":
        return [at - 1] if at else []
    if shape == "layers":
        return [(at // 10 - 1) * 10 + (at + 3 * step) % 10 for step in range(3)] if at >= 10 else []
    if shape == "star":
        return [0] if at else []
    raise ValueError(f"unknown shape {shape}; there are chain, layers and star")


def context(shape: str, count: int) -> str:
    """A context file with this many variables."""
    parts = ["from damnit_ctx import Variable\n"]
    for at in range(count):
        needs = "".join(f', a{number}: "var#v{need}"' for number, need in enumerate(dependencies(shape, at)))
        cluster = ", cluster=True" if at % 7 == 6 else ""
        parts.append(
            f'\n\n@Variable(title="Variable {at}"{cluster})\ndef v{at}(run{needs}):\n    return {at}\n'
        )
    return "".join(parts)
