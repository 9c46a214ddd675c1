"""SPB/SFX 4001: single particles from an electrospray, with the offline pipeline started from here."""

import json
import re
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import h5py
import numpy as np
import spb_detector as detector
import xarray as xr
from damnit_ctx import Cell, Skip, Variable

# DAMNIT executes this file without __file__.
try:
    HERE = Path(__file__).resolve().parent
except NameError:
    HERE = Path(sys._getframe(0).f_code.co_filename).resolve().parent
OFFLINE = HERE / "offline"

undulator = "SPB_XTD2_UND/DOOCS/ENERGY"
bunch_pattern = "SPB_RR_SYS/MDL/BUNCH_PATTERN"
xtd2_att = "SA1_XTD2_ATT/MDL/MAIN"
xtd9_att = "SPB_XTD9_ATT/MDL/MAIN"
xgm = "SPB_XTD9_XGM/XGM/DOOCS"
det_pos = "SPB_IRU_AGIPD1M/MOTOR/Z_STEPPER"
taylor_cam = "SPB_IRU_AEROSOL/CAM/CAM_1"
aerosol_co2_cap = "SPB_IRU_AEROSOL/FLOW/CO2_CAPILLARY"
aerosol_n2_chm = "SPB_IRU_AEROSOL/FLOW/N2_CHAMBER"
aerosol_dp1 = "SPB_IRU_AEROSOL/FLOW/DP_1"
cube_flowmeter = "SPB_IRD_LIQUIDJET/FLOW/CUBE_He"  # not recorded in this beamtime

HITFINDER_POLL_INTERVAL_S = 0.05
HITFINDER_TIMEOUT_S = 60

# The geometry of the last calibration; a text file beside the database.
GEOMETRY = detector.read_geometry("agipd.geom")


def scratch(proposal_path):
    folder = proposal_path / "scratch"
    (folder / "log").mkdir(parents=True, exist_ok=True)
    return folder


def search_file(words, path):
    with open(path, encoding="utf-8") as file:
        return any(words.lower() in line.lower() for line in file)


def run_and_check_logs(name, run_no, proposal_path):
    """Run a script of the offline pipeline, unless its log says that it is done."""
    log = scratch(proposal_path) / "log" / f"{name}-{run_no}.out"
    if log.is_file():
        if search_file(f"{name} done", log):
            return "Done"
        raise Skip(f"Error: check {log.name}")
    script = OFFLINE / f"submit_{name}.sh"
    try:
        subprocess.run(
            ["bash", script, str(run_no), str(scratch(proposal_path)), sys.executable],
            capture_output=True,
            text=True,
            check=True,
        )
    except subprocess.CalledProcessError as e:
        raise Skip(f"{script.name} failed (rc={e.returncode}): {e.stderr or e.stdout}") from e
    return "Done"


# Run metadata


@Variable(title="Trains")
def n_trains(run):
    return len(run.train_ids)


@Variable(title="Run length")
def run_length(run):
    ids = sorted(set().union(*[f.valid_train_ids for f in run.files]))
    ts = run.train_timestamps()
    delta = ts[run.train_ids.index(ids[-1])] - ts[run.train_ids.index(ids[0])]
    return str(timedelta(seconds=float(delta / np.timedelta64(1, "s"))))


def run_size_mb(path):
    return sum(f.stat().st_size for f in path.rglob("*")) / 1e6


@Variable(title="Raw/size [MB]", tags="size")
def raw_size(run, proposal_path: "meta#proposal_path", run_no: "meta#run_number"):
    return run_size_mb(proposal_path / "raw" / f"r{run_no:04}")


@Variable(title="Proc/size [MB]", data="proc", tags=["size", "detector"])
def proc_size(run, proposal_path: "meta#proposal_path", run_no: "meta#run_number"):
    return run_size_mb(proposal_path / "proc" / f"r{run_no:04}")


# Beam properties


@Variable(title="Beam/photon energy [keV]", summary="mean", tags="beam")
def photon_energy(run):
    return run[undulator, "actualPosition"].drop_empty_trains()[0].ndarray()


@Variable(title="Beam/pulses", summary="mean", tags="beam")
def n_pulses(run):
    return run[bunch_pattern, "sase1.nPulses"].ndarray()


@Variable(title="Beam/rep. rate [MHz]", tags="beam")
def repetition_rate(run):
    counts = run[bunch_pattern, "sase1.nPulses"].ndarray()
    n = int(counts.max())
    if n < 2:
        return np.nan
    full_train = int(np.argmax(counts))
    spacing = np.gradient(run[bunch_pattern, "sase1.pulseIds"].ndarray()[full_train, :n])
    if np.all(spacing == spacing[0]):
        return 1300.0 / 288.0 / spacing[0]
    return np.nan


@Variable(title="Beam/XGM intensity [uJ]", summary="mean", tags="beam")
def xgm_intensity(run):
    n = run[xgm, "pulseEnergy.numberOfBunchesActual"].drop_empty_trains().ndarray()[0].squeeze()
    return run[f"{xgm}:output", "data.intensityTD"].xarray(roi=np.s_[:n], extra_dims=["pulse"])


@Variable(title="Beam/transmission", tags="beam")
def transmission(run):
    xtd2 = run[xtd2_att, "actual.transmission"].drop_empty_trains()[0].ndarray()
    xtd9 = run[xtd9_att, "actual.transmission"].drop_empty_trains()[0].ndarray()
    return (xtd2 * xtd9).squeeze()


@Variable(title="Beam/energy at sample [uJ]", summary="nanmean", tags="beam")
def energy_at_sample(run, intensity: "var#xgm_intensity", t: "var#transmission"):
    return (intensity * t).mean("pulse", keep_attrs=True)


@Variable(title="Beam/source of the energy")
def energy_source(run, intensity: "var#xgm_intensity", at_sample: "var#energy_at_sample"):
    return f"{intensity.name} over {at_sample.dims}, {intensity.attrs.get('units')}"


# Sample delivery


@Variable(title="Injector/Taylor cone", tags=["injector", "image"])
def taylor_cone_image(run):
    return run[f"{taylor_cam}:daqOutput", "data.image.pixels"].ndarray()[0]


@Variable(title="Injector/N2 in chamber", summary="mean", units="mg/min", tags="injector")
def n2_flow_chamber(run):
    return run[aerosol_n2_chm, "measureCapacity.value"].ndarray()


@Variable(title="Injector/CO2 in capillary", summary="mean", units="mg/min", tags="injector")
def co2_flow_capillary(run):
    return run[aerosol_co2_cap, "measureCapacity.value"].xarray()


@Variable(title="Injector/dP of outer capillary", summary="median", tags="injector")
def dp_outer(run):
    return run[aerosol_dp1, "measureCapacity.value"].ndarray()


@Variable(title="Injector/cube gas", summary="mean", tags="injector")
def cube_gas_flow(run):
    return run[cube_flowmeter, "measureCapacity.value"].ndarray()


@Variable(title="Injector/all gases", tags="injector")
def all_gases(run, cube: "var#cube_gas_flow", n2: "var#n2_flow_chamber"):
    return float(cube.mean() + n2.mean())


@Variable(title="Injector/known gases", tags="injector")
def known_gases(run, n2: "var#n2_flow_chamber", co2: "var#co2_flow_capillary", cube: "var#cube_gas_flow" = None):
    return [float(n2.mean()), float(co2.mean()), np.nan if cube is None else float(cube.mean())]


@Variable(title="Injector/jet speed", units="m/s", tags="injector")
def jet_speed(run, dp: "var#dp_outer"):
    if not dp.any():
        raise ValueError("no pressure difference at the outer capillary")
    return 12.5 / float(dp.mean())


# Detector


@Variable(title="AGIPD/distance [mm]", tags="detector")
def det_position(run):
    return GEOMETRY["offset"] * 1e3 + run[det_pos, "encoderPosition"].drop_empty_trains()[0].ndarray()[0]


@Variable(title="AGIPD/mean of the frames", data="proc", tags=["detector", "image"])
def agipd_mean(run):
    frames = detector.frames(run)
    return frames.where(detector.mask(run) == 0).mean(("train", "pulse"))


@Variable(title="AGIPD/assembled", data="proc", tags=["detector", "image"])
def agipd_assembled(run, mean: "var#agipd_mean"):
    image = detector.assemble(mean.values, GEOMETRY)
    return Cell(image, summary_value=f"{image.shape[0]} x {image.shape[1]}", preview=image[::4, ::4])


@Variable(title="AGIPD/q of the pixels", data="proc", transient=True)
def pixel_q(run, distance: "var#det_position", energy: "var#photon_energy"):
    return detector.momentum_transfer(GEOMETRY, float(distance), float(energy.mean()))


@Variable(title="AGIPD/radial profile", data="proc", summary="max", tags="detector")
def radial_profile(run, mean: "var#agipd_mean", q: "var#pixel_q"):
    profile = detector.azimuthal(mean.values, q)
    return profile.assign_attrs(units="photons", long_name="I(q)")


# Hit finding: a program in the background, started here and waited for further below.


@Variable(title="Hits/hit finder started", data="proc", tags="hits")
def hitfinder_started(run, run_no: "meta#run_number", proposal_path: "meta#proposal_path"):
    folder = scratch(proposal_path)
    (folder / f"hits_r{run_no:04}.h5").unlink(missing_ok=True)
    with open(folder / "log" / f"hitfinder-{run_no}.out", "w") as log:
        subprocess.Popen(
            [sys.executable, OFFLINE / "find_hits.py", str(proposal_path), str(run_no), str(folder), "--threshold=1.5"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    return f"started for run {run_no}"


@Variable(title="Hits/hit finder ready", data="proc", tags="hits")
def hitfinder_ready(run, proposal_path: "meta#proposal_path", run_no: "meta#run_number", _: "var#hitfinder_started"):
    """Blocks until the hits are there."""
    deadline = time.monotonic() + HITFINDER_TIMEOUT_S
    while not (scratch(proposal_path) / f"hits_r{run_no:04}.h5").exists():
        if time.monotonic() > deadline:
            raise Skip(f"no hits of run {run_no} after {HITFINDER_TIMEOUT_S} s")
        time.sleep(HITFINDER_POLL_INTERVAL_S)
    return "Done"


@Variable(title="Hits/log", data="proc", transient=True)
def hitfinder_log(run, gate: "var#hitfinder_ready", proposal_path: "meta#proposal_path", run_no: "meta#run_number"):
    text = (scratch(proposal_path) / "log" / f"hitfinder-{run_no}.out").read_text()
    return dict(re.findall(r"^(\w+): (.+)$", text, flags=re.M))


@Variable(title="Hits/threshold", data="proc", tags="hits")
def hit_threshold(run, log: "var#hitfinder_log"):
    return float(log["threshold"])


@Variable(title="Hits/settings", data="proc", tags="hits")
def hit_settings(run, log: "var#hitfinder_log"):
    return json.dumps(log, sort_keys=True)


@Variable(title="Hits/score", data="proc", summary="mean", tags="hits")
def hit_score(run, gate: "var#hitfinder_ready", proposal_path: "meta#proposal_path", run_no: "meta#run_number"):
    with h5py.File(scratch(proposal_path) / f"hits_r{run_no:04}.h5", "r") as f:
        return xr.DataArray(f["score"][:], dims="frame", coords={"trainId": ("frame", f["trainId"][:])}, name="SPI/hitscore")


@Variable(title="Hits/per train", data="proc", summary="sum", tags="hits")
def num_hits(run, score: "var#hit_score", threshold: "var#hit_threshold"):
    ids, place = np.unique(score.trainId.values, return_inverse=True)
    hits = np.bincount(place, weights=score.values > threshold, minlength=len(ids))
    return xr.DataArray(hits, dims=["trainId"], coords={"trainId": ids})


@Variable(title="Hits/rate [%]", data="proc", units="%", tags="hits")
def hit_rate(run, hits: "var#num_hits", score: "var#hit_score"):
    rate = 100 * float(hits.sum()) / len(score)
    return Cell(rate, bold=rate > 40, background="#c8e6c9" if rate > 40 else None)


# Virtual data set, CXI file and what is made of it: each script needs the one before.


@Variable(title="Offline/VDS", data="proc", tags="offline")
def make_vds(run, run_no: "meta#run_number", proposal_path: "meta#proposal_path", gate: "var#hitfinder_ready"):
    return run_and_check_logs("vds", run_no, proposal_path)


@Variable(title="Offline/CXI", data="proc", tags="offline")
def make_cxi(run, run_no: "meta#run_number", proposal_path: "meta#proposal_path", vds_state: "var#make_vds"):
    return run_and_check_logs("cxi", run_no, proposal_path)


@Variable(title="Offline/background profile", data="proc", summary="median", tags="offline")
def background_profile(
    run, run_no: "meta#run_number", proposal_path: "meta#proposal_path", cxi_state: "var#make_cxi", q: "var#pixel_q"
):
    """Kept in the CXI file too, for the next step."""
    with h5py.File(scratch(proposal_path) / f"r{run_no:04}.cxi", "r+") as f:
        profile = detector.azimuthal(f["entry_1/white"][:], q).values
        if "background" in f["entry_1"]:
            del f["entry_1/background"]
        f["entry_1/background"] = profile
    return profile


@Variable(title="Offline/particle sizes", data="proc", cluster=True, summary="mean", tags="offline", units="nm")
def particle_sizes(run, run_no: "meta#run_number", proposal_path: "meta#proposal_path", profile: "var#background_profile"):
    with h5py.File(scratch(proposal_path) / f"r{run_no:04}.cxi", "r") as f:
        frames, background = f["entry_1/hits"][:], f["entry_1/background"][:]
    assert np.array_equal(background, profile)
    bright = frames.reshape(len(frames), -1).mean(axis=1) - background.mean()
    return 40 + 10 * np.cbrt(np.clip(bright, 0, None))


@Variable(title="Offline/size histogram", data="proc", cluster=True, tags="offline")
def size_histogram_plot(run, sizes: "var#particle_sizes"):
    import matplotlib.pyplot as plt

    fig, ax = plt.subplots(figsize=(4, 3))
    ax.hist(sizes, bins=np.linspace(40, 60, 11))
    ax.set_xlabel("size [nm]")
    return fig


@Variable(title="Offline/classes", data="proc", tags="offline")
def make_classes(run, run_no: "meta#run_number", proposal_path: "meta#proposal_path", cxi_state: "var#make_cxi"):
    """Fails where too few hits were found."""
    return run_and_check_logs("classes", run_no, proposal_path)


@Variable(title="Offline/number of classes", data="proc", tags="offline")
def n_classes(run, state: "var#make_classes", proposal_path: "meta#proposal_path", run_no: "meta#run_number"):
    return int((scratch(proposal_path) / f"classes_r{run_no:04}.txt").read_text())
