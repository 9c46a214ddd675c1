"""One variable that is computed in a Slurm job: the mean pulse energy."""

from damnit_ctx import Variable


@Variable(title="Pulse energy", data="raw", cluster=True)
def pulse_energy(run):
    return run["SPB_XTD9_XGM/DOOCS/MAIN:output", "data.intensityTD"].ndarray().mean()
