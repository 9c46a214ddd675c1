"""A plain array of 1 GiB, and a scalar in the same run file."""

import numpy as np
from damnit_ctx import Variable


@Variable(title="Large", data="raw")
def large(run):
    return np.arange(2**27, dtype="f8")


@Variable(title="Small", data="raw")
def small(run):
    return SMALL  # The benchmark inserts this constant above.
