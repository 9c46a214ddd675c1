"""A context file whose variables check what earlier variables returned: in the same process, after a death, and in a job."""

HEAD = '''
import enum
import numpy as np
import pandas as pd
import xarray as xr
from damnit_ctx import Cell, Variable

class Colour(enum.Enum):
    RED = 1

def line(**options):
    return xr.DataArray(np.array([1, 2], "i2"), dims="trainId", **options)

def lazy():
    import dask.array as da
    numbers = da.map_blocks(block, chunks=((10, 5), (10,)), dtype="f8", meta=np.empty((0, 0)))
    return xr.DataArray(numbers, dims=("y", "x"), attrs={"units": "mJ"})

def block(block_info=None):
    effect("block")
    return np.ones(block_info[None]["chunk-shape"])

MADE = {
    "signal": lambda: line(name="SA2_XTD1_XGM/XGM/DOOCS:output.data"),
    "exposure": lambda: xr.DataArray([0.25, 0.5], dims="trainId", attrs={"units": "seconds"}),
    "since": lambda: line(attrs={"units": "pulses since start"}),
    "duration": lambda: xr.DataArray(np.array([1, 2], "m8[s]").astype("m8[ns]"), dims="x"),
    "profile": lambda: line(coords={"Height [mm]": ("trainId", [0.1, 0.2])}, name="profile"),
    "gain": lambda: line(attrs={"scale_factor": 2.0, "add_offset": 10.0, "n": 3, "one": [3]}),
    "bad": lambda: line(attrs={"missing_value": np.int16(2), "_FillValue": np.int16(1), "dtype": "bool"}),
    "settings": lambda: line(attrs={"a": {"gain": (2, None)}, "b": b"\\xfe", "c": np.eye(2), "d": None}),
    "both": lambda: xr.Dataset({"a/b": ("x", [1, 2]), "t": 5}, {"y z": 3}, {"coordinates": "q", "m": [1]}),
    "levels": lambda: xr.DataArray(np.eye(2), dims=("a", "b"), coords={"a": [1, 2], "b": [3, 4]}).stack(c=("a", "b")),
    "channel": lambda: pd.Series([1.0, 2.0], name="0"),
    "frame": lambda: pd.DataFrame({"a": [1, 2]}, index=pd.date_range("2026", periods=2, freq="D", name="t")),
    "small": lambda: np.float32(1.5),
    "raw": lambda: b"a\\0b\\0",
    "odd": lambda: line(attrs={"colour": Colour.RED}),
}

def told(value):
    """All that can be seen of a value, in words."""
    if isinstance(value, xr.DataArray):
        labels = [(name, told(coord.variable)) for name, coord in value.coords.items()]
        return [value.name, told(value.variable), labels, [(k, told(i.index)) for k, i in value.xindexes.items()]]
    if isinstance(value, xr.Dataset):
        return [told(value.attrs), told(value.variables), list(value.coords)]
    if isinstance(value, xr.Variable):
        return [value.dims, type(value.data), told(value.values), told(value.attrs)]
    if isinstance(value, pd.DataFrame):
        return [told(value.index), told(value.columns), [told(value[name]) for name in value]]
    if isinstance(value, pd.Series):
        return [value.name, value.dtype, told(value.index), told(value.to_numpy())]
    if isinstance(value, pd.Index):
        return [type(value), value.dtype, list(value.names), getattr(value, "freq", None), value.tolist()]
    if isinstance(value, (np.ndarray, np.generic)):
        return [type(value), value.dtype, value.shape, value.tolist()]
    if hasattr(value, "items"):
        return [(key, told(item)) for key, item in value.items()]
    if isinstance(value, (list, tuple)):
        return [type(value), *map(told, value)]
    return [type(value), value]

def judged(got):
    wrong = []
    for name, value in got.items():
        wanted = MADE[name]()
        wanted = wanted if isinstance(wanted, (xr.DataArray, xr.Dataset, pd.Series, pd.DataFrame)) else np.asarray(wanted)
        if repr(told(value)) != repr(told(wanted)):
            wrong.append(f"{name}: {told(value)} for {told(wanted)}")
    return "; ".join(wrong) or f"{len(got)} of {len(MADE)} ok"

def declare(name):
    def function(run):
        effect(name)
        return MADE[name]()
    function.__name__ = name
    globals()["v_" + name] = Variable(title=name)(function)

for name in MADE:
    declare(name)
del name

@Variable(title="Lazy", summary="mean")
def wave(run):
    return lazy()

@Variable(title="Cell")
def told_wave(run):
    made = lazy()
    return Cell(made, summary_value=made.max(), preview=made.sum("x"))
'''

# One argument for each, as users write it.
ARGUMENTS = ", ".join(
    f"{name}: 'var#{name}'"
    for name in (
        "signal exposure since duration profile gain bad settings both levels channel frame small raw odd".split()
    )
)
JUDGES = f'''
@Variable(title="Before")
def before(run, {ARGUMENTS}):
    return judged({{name: value for name, value in locals().items() if name in MADE}})

@Variable(title="Dies")
def dies(run, b: "var#before", w: "var#wave", t: "var#told_wave"):
    os.abort()

@Variable(title="After")
def after(run, {ARGUMENTS}, wave: "var#wave", dead: "var#dies" = None):
    assert wave.chunks == ((10, 5), (10,)) and float(wave.sum()) == 150
    return judged({{name: value for name, value in locals().items() if name in MADE}})
'''
IN_A_JOB = f'''
@Variable(title="In a job", cluster=True)
def in_a_job(run, {ARGUMENTS}, wave: "var#wave"):
    assert wave.chunks == ((10, 5), (10,)) and float(wave.sum()) == 150
    return judged({{name: value for name, value in locals().items() if name in MADE}})
'''

OK = "15 of 15 ok"
# What is executed: everything once, and what cannot be restored once more where it is needed again. A lazy array is computed
# once, for everything that is stored of it.
ONCE = {
    name: 1
    for name in "signal exposure since duration profile gain bad settings both levels channel frame small raw".split()
}
