"""A Slurm that is not one: a small program that answers to the names of Slurm's commands and executes what it is given.

Each cluster is a folder of its own, made by `Cluster.make` (cluster.py), by which a test also tells it how to
misbehave. `bin/` in it holds sbatch, squeue, sacct, scontrol, scancel, sinfo and sacctmgr: links to one launcher. The
folder of the link says which cluster is meant: Amore clears the environment of Slurm's commands, so nothing else could.

What is answered is what real Slurms answered when `slurm-tests/recorded/` was written; where they differ, as 24.11.5
did. Options and fields that Amore does not ask for are errors: an answer would be made up.
"""
