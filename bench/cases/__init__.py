"""The measures, in the order in which they are taken and reported."""

from cases import large, many, one, plan, slurm, table

CASES = [*one.CASES, *many.CASES, *plan.CASES, *large.CASES, *table.CASES, *slurm.CASES]
