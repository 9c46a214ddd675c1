"""One variable: the mean pulse energy."""

from damnit_ctx import Variable


@Variable(title="Pulse energy", data="raw")
def pulse_energy(run):
    return run["SPB_XTD9_XGM/DOOCS/MAIN:output", "data.intensityTD"].ndarray().mean()
