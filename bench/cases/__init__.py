"""The measurements, in the order in which they are taken and reported."""

from cases import core, large, many, one, plan, slurm, table

CASES = [*one.CASES, *many.CASES, *plan.CASES, *core.CASES, *large.CASES, *table.CASES, *slurm.CASES]
