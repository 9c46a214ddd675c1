"""A context file that says by a pipeline which of its variables count."""

from damnit_ctx import Group, Pipeline, Variable


@Variable(title="Left out")
def left_out(run):
    """Not part of the pipeline."""
    return 1


@Variable(title="Chosen base")
def base(run):
    """Needed by a chosen variable."""
    return 2


@Variable(title="Not matched")
def not_matched(run, value: "var#base"):
    """In the pipeline at first, but not selected."""
    return 3


@Variable(title="The chosen one")
def chosen(run, value: "var#base"):
    """Selected."""
    return value + 2


@Group
class Pair:
    """Two variables of which one is selected."""

    @Variable(title="Chosen in a group")
    def one(self, run):
        """Selected by its title."""
        return 1.5

    @Variable(title="Not in a group")
    def two(self, run):
        """Not selected."""
        return 2.5


first = Pipeline().add(base, not_matched, chosen)
second = Pipeline().add(Pair(name="pair"))
Pipeline.set_default(first.union(second).select(match=("chosen",)))
