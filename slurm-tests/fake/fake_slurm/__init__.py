"""A fake Slurm: a small program that acts as Slurm's commands, and really executes jobs.

Each cluster is a folder, created by `Cluster.make` (cluster.py); tests also use the cluster to cause faults. `bin/` in
it has sbatch, squeue, sacct, scontrol, scancel, sinfo and sacctmgr: links to one launcher. The folder of the link
identifies the cluster: Amore clears the environment of Slurm's commands, so nothing else could.

The answers are those that real Slurms gave when `slurm-tests/recorded/` was recorded; where they differ, those of
24.11.5. Options and fields that Amore does not use are errors: an answer would be made up.
"""
