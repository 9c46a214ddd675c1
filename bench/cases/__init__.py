"""The measurements, in the order in which they are taken and reported."""

from cases import core, event, large, many, one, plan, service, slurm, table, triggers

MODULES = (one, many, plan, core, service, large, table, triggers, event, slurm)

CASES = [case for module in MODULES for case in module.CASES]
