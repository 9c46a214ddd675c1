"""MID 4002: XPCS of levitated droplets. One variable computes, the others show what it found."""

from datetime import timedelta

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import xarray as xr
from analysis_helpers import fit_droplets, plot_ellipse
from damnit.context import Cell, Skip, Variable
from extra_data import by_id
from speckle.pipeline import xpcs_offline

XPCS_RESULTS = {}
SAXS_RESULTS = {}
# What the variables of the scan found, in their order.
summary_lines = []
MASK_PATH = "masks/agipd_mask.npy"
mask = np.load(MASK_PATH)

selected_trains = None


# Run metadata


@Variable("Trains", tags=["Metadata"])
def n_trains(run):
    return len(run.train_ids)


@Variable("Run length", tags=["Metadata"])
def run_length(run):
    ts = run.train_timestamps()
    return str(timedelta(seconds=int((ts[-1] - ts[0]) / np.timedelta64(1, "s"))))


@Variable("Sample", tags=["Metadata"])
def sample(run):
    return run.get_run_value("MID_EXP_SYS/MDL/SAMPLES", "actualSampleName")


# Beam properties


@Variable("XGM intensity [uJ]", summary="mean")
def xgm_intensity(run):
    xgm = run["SA2_XTD1_XGM/XGM/DOOCS:output", "data.intensityTD"].xarray()
    return xgm[:, np.where(xgm[0] > 1)[0]].mean(axis=1)


@Variable("XGM overview")
def xgm_overview_plot(run, intensity: "var#xgm_intensity"):
    fig, ax = plt.subplots(figsize=(5, 3))
    intensity.plot(ax=ax)
    return ax


@Variable("XTD1 trans.", summary="nanmean", transient=True)
def xtd1_transmission(run):
    return run.alias["xtd1-transmission"].xarray()


@Variable("XTD6 trans.", summary="nanmean")
def xtd6_transmission(run):
    return run.alias["xtd6-transmission"].xarray()


@Variable("Opt. trans.", summary="nanmean")
def opt_transmission(run):
    return run.alias["opt-transmission"].xarray()


@Variable("Total trans.", summary="nanmean")
def total_transmission(run, xtd1: "var#xtd1_transmission", xtd6: "var#xtd6_transmission"):
    return xtd1 * xtd6


@Variable("Total trans. with optics", summary="nanmean")
def total_with_optics(run, total: "var#total_transmission", opt: "var#opt_transmission"):
    return total * opt


# Droplets


@Variable("Droplet fit", tags=["droplet"])
def droplet_fit(run, name: "var#sample"):
    if name == "empty":
        return None
    global selected_trains
    cam = run["MID_EXP_SAM/CAM/CAM5:daqOutput"]
    droplet = fit_droplets(cam["data.image.pixels"].xarray(extra_dims=["y", "x"]), threshold=200)
    selected_trains = droplet.trainId.values[droplet.volume.values > droplet.volume.values.mean()]

    middle = droplet.trainId.values[len(run.train_ids) // 2]
    image = cam.select_trains(by_id[[middle]])["data.image.pixels"].ndarray().squeeze()
    fig, (ax1, ax2) = plt.subplots(1, 2, figsize=(7, 3))
    plot_ellipse(image, droplet.sel(trainId=middle), ax1)
    droplet.volume.plot(ax=ax2)
    ax2.axvline(middle, color="red", ls="--", label="preview")
    return Cell(droplet, preview=fig)


@Variable("Droplet volume", summary="nanmean", tags=["droplet"], units="mm³")
def droplet_volume(run, droplet: "var#droplet_fit"):
    return droplet.volume.where(np.isin(droplet.trainId, selected_trains))


@Variable("Selected trains", tags=["droplet"])
def n_selected(run, droplet: "var#droplet_fit" = None):
    return None if selected_trains is None else len(selected_trains)


# XPCS: all of it comes from one pass over the frames.


@Variable("XPCS PIPELINE", data="proc", cluster=True, tags=["offline"])
def xpcs_pipeline(run, proposal: "meta#proposal", run_no: "meta#run_number", name: "var#sample", total: "var#total_transmission"):
    args = dict(q_range=np.array([0.0, 60.0, 120.0, 200.0]), mask=mask, calc_stats=True)
    if name == "empty":
        args["q_range"] = args["q_range"][:2]
        args["calc_stats"] = False
    global XPCS_RESULTS
    XPCS_RESULTS = xpcs_offline(run, transmission=float(total.mean()), **args)
    if XPCS_RESULTS["TTCF_off"] is None:
        return "Incomplete"
    return "Done"


@Variable("AGIPD geometry", data="proc", cluster=True, tags=["offline"])
def agipd_geometry(run, ds: "var#xpcs_pipeline"):
    return XPCS_RESULTS["setup"].config.geometry


@Variable("SDD", data="proc", cluster=True, tags=["offline"], units="mm")
def xpcs_sdd(run, ds: "var#xpcs_pipeline"):
    return XPCS_RESULTS["setup"].config.sdd


@Variable("XPCS TTCF", data="proc", cluster=True, tags=["offline"])
def xpcs_ttcf(run, ds: "var#xpcs_pipeline"):
    raw, off = XPCS_RESULTS["TTCF_raw"], XPCS_RESULTS["TTCF_off"]
    return None if off is None else raw - off


@Variable("XPCS mean dataset", data="proc", cluster=True, tags=["offline"])
def xpcs_mean_dataset(run, ds: "var#xpcs_pipeline"):
    return xr.Dataset({"ttcf_mean": XPCS_RESULTS["TTCF_raw"].mean("t2"), "g2": XPCS_RESULTS["g2"]}, attrs={"version": 3})


@Variable("XPCS contrast", data="proc", cluster=True, summary="max", tags=["offline"])
def xpcs_contrast(run, ttcf: "var#xpcs_ttcf"):
    return ttcf.max(("t1", "t2")) - 1


@Variable("XPCS SAXS", data="proc", cluster=True, tags=["offline"])
def xpcs_saxs(run, ds: "var#xpcs_pipeline"):
    saxs = XPCS_RESULTS["SAXS"]
    SAXS_RESULTS["mean"] = float(saxs.mean())
    SAXS_RESULTS.setdefault("sources", []).append(saxs.name)
    return saxs


@Variable("XPCS kbar", data="proc", cluster=True, tags=["offline"])
def xpcs_kbar(run, _: "var#xpcs_saxs"):
    return SAXS_RESULTS["mean"] / len(SAXS_RESULTS["sources"])


@Variable("XPCS q-rings", data="proc", cluster=True, tags=["offline"])
def xpcs_q_rings_plot(run, ds: "var#xpcs_pipeline"):
    return XPCS_RESULTS["figure_2d"]


@Variable("XPCS g2", data="proc", cluster=True, tags=["offline"])
def xpcs_g2_plot(run, ds: "var#xpcs_pipeline"):
    return XPCS_RESULTS["figure_g2"]


@Variable("XPCS g2, to look into", data="proc", cluster=True, tags=["offline"])
def xpcs_g2_interactive(run, ds: "var#xpcs_pipeline"):
    import plotly.graph_objects as go

    g2 = XPCS_RESULTS["g2"]
    lines = [go.Scatter(x=g2.lag.values, y=line.values, name=f"q {float(line.q):.0f}") for line in g2]
    return Cell(go.Figure(lines), summary_value="g2")


@Variable("XPCS outliers", data="proc", cluster=True, tags=["offline"])
def xpcs_outliers_plot(run, ds: "var#xpcs_pipeline"):
    return XPCS_RESULTS["fig_outlier"]


# The scan of the sample stage: lines of a report, in the order in which they are found.


@Variable("Scan X [mm]", summary="mean", tags=["scan"])
def sample_x(run):
    x = run.alias["sample-x"].xarray()
    summary_lines.append(f"x from {float(x.min()):g} to {float(x.max()):g}")
    return x


@Variable("Scan step [mm]", tags=["scan"])
def scan_step(run, x: "var#sample_x"):
    steps = np.unique(np.diff(x))
    if len(steps) != 1:
        raise Skip("not a regular scan")
    summary_lines.append(f"step {steps[0]:g}")
    return steps[0]


@Variable("Scan report", tags=["scan"])
def scan_report(run, _: "var#scan_step"):
    return "; ".join(summary_lines)


@Variable("Slow data", tags=["scan"])
def slow_data(run, x: "var#sample_x", xtd6: "var#xtd6_transmission"):
    return pd.DataFrame({"x": x.values, "XTD6": xtd6.values}, index=pd.Index(x.trainId.values, name="trainId"))


@Variable("Mean of the slow data", tags=["scan"])
def slow_mean(run, frame: "var#slow_data"):
    return frame.mean()


@Variable("Slow data, first", tags=["scan"])
def slow_first(run, frame: "var#slow_data", mean: "var#slow_mean"):
    return f"{frame.index.name} {frame.index[0]} {list(frame.columns)} {mean['x']:.3f}"
