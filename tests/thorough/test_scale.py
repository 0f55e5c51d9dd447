"""The same calls on several devices, several processes, and points left on disk.

The number of devices is set once for a Python, so each run has one of its own.
"""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import course, em, mixture
from helpers.mixture import Mixture

ROOT = Path(__file__).resolve().parents[2]
# Of these Pythons: without the flags of `for_small_problems`, so as a user runs them.
FLAGS = os.environ.get("XLA_FLAGS", "").removeprefix(course._own_flags())
AS_USER = os.environ | {"XLA_FLAGS": FLAGS}

SETTING = """
import jax, jax.numpy as jnp, numpy as np, optax
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from helpers import em, mixture, vae

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_num_cpu_devices", 8)
key = jax.random.key(0)
corners = jnp.repeat(4 * jnp.eye(4, 3), 200, axis=0)
x = corners + jax.random.normal(key, (800, 3))

def apart(one, other):
    gaps = jax.tree.map(
        lambda a, b: jnp.max(jnp.abs(a - b) / (1 + jnp.abs(b))), one, other
    )
    return max(map(float, jax.tree.leaves(gaps)))

def spread(x, num_devices, kind):
    devices = jax.devices()[:num_devices]
    mesh = jax.make_mesh(
        (num_devices,), ("points",), axis_types=(kind,), devices=devices
    )
    return jax.device_put(x, NamedSharding(mesh, P("points")))

WAYS = [(n, kind) for n in (2, 8) for kind in (AxisType.Auto, AxisType.Explicit)]
"""

EM = """
for covariance_type in "spherical", "full":
    start = mixture.init_from_data(key, x, 4, covariance_type=covariance_type)
    there = em.fit(start, x, num_steps=40)
    for way in WAYS:
        here = em.fit(start, spread(x, *way), num_steps=40)
        assert int(here.num_steps) == int(there.num_steps) > 10
        print(apart(here[:2], there[:2]))
"""

UNCOPIED = """
# 4 n numbers are more than 2^24 on each of the devices
few = x
x = jnp.tile(few, (10600, 1))
start = mixture.init_from_data(key, few, 4, covariance_type="full")
there = em.fit(start, few, num_steps=3, tol=0)
here = em.fit(start, spread(x, 2, AxisType.Auto), num_steps=3, tol=0)
print(apart(here.params, there.params))
print(apart(here.log_likelihoods / 10600, there.log_likelihoods))
"""

ITERATE = """
for covariance_type in "spherical", "full":
    start = mixture.init_from_data(key, x, 4, covariance_type=covariance_type)
    there = em.iterate(start, x, num_steps=5)
    here = em.iterate(start, spread(x, 2, AxisType.Auto), num_steps=5)
    print(apart(here, there))
"""

ONE_DEVICE = """
import jax
from helpers import em, mixture
jax.config.update("jax_enable_x64", True)
x = jax.random.normal(jax.random.key(0), (1600, 16))
start = mixture.init_from_data(jax.random.key(1), x, 64, covariance_type="full")
for floor in 0.0, 0.1:
    result = em.fit(start, x, num_steps=5, tol=0, variance_floor=floor)
    l = mixture.log_likelihood(result.params, x)
    print(abs(float(result.log_likelihoods[-1] / l - 1)))
"""

MANY_LARGE = """
x = jax.random.normal(key, (1600, 16))
start = mixture.init_from_data(key, x, 64, covariance_type="full")
for floor in 0.0, 0.1:
    options = dict(num_steps=5, tol=0, variance_floor=floor)
    there = em.fit(start, x, **options)
    here = em.fit(start, spread(x, 8, AxisType.Auto), **options)
    assert int(here.num_steps) == int(there.num_steps) > 0
    print(apart(here[:2], there[:2]))
for function in em.e_step, jax.jit(jax.grad(mixture.log_likelihood)):
    print(apart(function(start, spread(x, 8, AxisType.Auto)), function(start, x)))
"""

VAE = """
start, optimizer = vae.init(key, (3, 8, 2)), optax.adam(1e-2)
options = dict(optimizer=optimizer, num_epochs=5, batch_size=100, progress=False)
there = vae.fit(key, start, x, held_out=x[:80], **options)
for way in WAYS:
    held_out = spread(x[:80], *way)
    here = vae.fit(key, start, spread(x, *way), held_out=held_out, **options)
    print(apart(here, there))
"""

REDUCTIONS = """
start, there = mixture.init_from_data(key, x, 4), spread(x, 2, AxisType.Auto)
print(jax.make_jaxpr(lambda start: em.fit(start, there, num_steps=40))(start))
"""


def python(code, *arguments):
    """The words that a new Python process prints."""
    run = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT,
        env=AS_USER,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.parametrize(
    ("code", "num_runs"),
    [
        (EM, 8),
        (UNCOPIED, 2),
        (MANY_LARGE, 4),
        (ITERATE, 2),
        (VAE, 4),
    ],
    ids=[
        "em",
        "em of many points",
        "em of many components",
        "iterate",
        "vae",
    ],
)
def test_several_devices_give_the_answer_of_one(code, num_runs):
    gaps = [float(n) for n in python(SETTING + code).split()]
    assert len(gaps) == num_runs
    assert max(gaps) < 1e-12


def test_many_large_covariances_do_not_deadlock_on_one_device():
    gaps = [float(n) for n in python(ONE_DEVICE).split()]
    assert len(gaps) == 2
    assert max(gaps) < 1e-12


def test_a_step_sums_over_the_devices_once():
    program = python(SETTING + REDUCTIONS)
    before, loop = program.split("while[")
    # two for the data's mean before the loop, then l and what the M-step needs
    assert len(re.findall(r"= psum\w*\[", before)) == 2
    assert len(re.findall(r"= psum\w*\[", loop)) == 1
    assert not re.search(r"= (all_gather|all_to_all|ppermute)", program)


def larger_data_script():
    """Return the script of the README's section on larger data."""
    section = (ROOT / "README.md").read_text("utf-8").split("## Larger data")[1]
    return re.search(r"```python\n(.*?)```", section, re.DOTALL)[1]


def test_the_readmes_script_gives_the_same_on_one_process_and_on_two():
    def log_likelihoods(num_processes):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        runs = [
            subprocess.Popen(
                [sys.executable, "-c", script, address, str(num_processes), str(i)],
                cwd=ROOT,
                env=AS_USER,
                stdout=subprocess.PIPE,
                text=True,
            )
            for i in range(num_processes)
        ]
        try:
            said = [run.communicate(timeout=300)[0] for run in runs]
            return [words.splitlines()[-1] for words in said]
        finally:
            for run in runs:
                run.kill()

    script = larger_data_script()
    (alone,), together = log_likelihoods(1), log_likelihoods(2)
    assert together == [alone, alone]
    assert re.fullmatch(r"400000 points, .* -\d\.\d{4}", alone)


def points_on_disk(folder, n=4001, offset=1000.0):
    rng = np.random.default_rng(0)
    corners = 4 * np.eye(4, 3)[rng.integers(4, size=n)]
    np.save(folder / "x.npy", corners + rng.normal(size=(n, 3)) + offset)
    return np.load(folder / "x.npy", mmap_mode="r")


@pytest.mark.parametrize("kind", ["spherical", "full"])
@pytest.mark.parametrize("floor", [0.0, 1.5])
def test_points_on_disk_give_the_answer_of_points_in_memory(tmp_path, kind, floor):
    # some pieces of 4 MB, the last one short
    x = points_on_disk(tmp_path, n=500_001)
    key = jax.random.key(0)
    start = mixture.init_from_data(key, jnp.array(x), 4, covariance_type=kind)
    options = {"num_steps": 10, "variance_floor": floor}
    from_disk = em.fit(start, x, **options)
    expected = em.fit(start, jnp.array(x), **options)
    for one, other in zip(from_disk, expected, strict=True):
        # at the floor a full covariance is diagonal: its zeros are rounding
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14),
            one,
            other,
        )


def test_points_on_disk_are_checked(tmp_path, refused):
    x = np.array(points_on_disk(tmp_path))
    start = mixture.init_from_data(jax.random.key(0), jnp.array(x), 4)
    x[4000, 1] = np.nan
    np.save(tmp_path / "bad.npy", x)
    bad = np.load(tmp_path / "bad.npy", mmap_mode="r")
    with refused("x", "nan at index (4000, 1)", "finite"):
        em.fit(start, bad)
    with refused("x", "(4001, 2)", "d = 3"):
        em.fit(start, bad[:, :2])
    with refused("x", "(4001, 2)", "d = 3"):
        em.fit(start, bad[:, 0:2])
    with refused("x", "(0, 3)", "at least one entry"):
        em.fit(start, bad[:0])
    with refused("x", "complex numbers", "real numbers"):
        em.fit(start, on_disk(tmp_path, x[:100].astype(complex)))
    with refused("x", "3 distinct points", "num_components = 4"):
        em.fit(start, on_disk(tmp_path, np.repeat(np.eye(3), 1000, axis=0)))


def test_points_on_disk_may_be_fitted_inside_another_program(tmp_path, as_user):
    x = on_disk(tmp_path, np.array(points_on_disk(tmp_path)))
    start = mixture.init_from_data(jax.random.key(0), jnp.array(x), 4)

    @jax.jit
    def twice_the_end(factor):
        return factor * em.fit(start, x, num_steps=5).log_likelihoods[-1]

    expected = 2 * em.fit(start, x, num_steps=5).log_likelihoods[-1]
    np.testing.assert_allclose(twice_the_end(2.0), expected, rtol=1e-12)


def on_disk(folder, x):
    np.save(folder / "given.npy", x)
    return np.load(folder / "given.npy", mmap_mode="r")


SIX = Mixture([0.5, 0.5], [[0.0, 0.0], [30.0, 30.0]], [100.0, 100.0])
POINTS = np.random.default_rng(0).integers(0, 40, size=(300, 2))


@pytest.mark.parametrize("dtype", ["int64", "uint8", "float16", "float32", "float64"])
@pytest.mark.parametrize("x64", [True, False])
def test_every_kind_of_numbers_on_disk_is_as_in_memory(tmp_path, dtype, x64):
    x = POINTS.astype(dtype)
    with jax.enable_x64(x64):
        here = em.fit(SIX, on_disk(tmp_path, x), num_steps=5, tol=0.0)
        there = em.fit(SIX, x, num_steps=5, tol=0.0)
    assert here.params.means.dtype == there.params.means.dtype
    rtol = 1e-10 if x64 and dtype in ("int64", "uint8", "float64") else 1e-4
    np.testing.assert_allclose(here.params.means, there.params.means, rtol=rtol)
    np.testing.assert_allclose(here.log_likelihoods, there.log_likelihoods, rtol=rtol)


def test_points_on_disk_under_vmap_and_jit_are_as_in_memory(tmp_path):
    x = on_disk(tmp_path, POINTS)
    starts = jax.tree.map(lambda leaf: jnp.stack([jnp.asarray(leaf, float)] * 2), SIX)
    one = em.fit(SIX, x, num_steps=5, tol=0.0).log_likelihoods
    both = jax.vmap(lambda start: em.fit(start, x, num_steps=5, tol=0.0))(starts)
    np.testing.assert_allclose(both.log_likelihoods, jnp.stack([one, one]), rtol=1e-10)
    inside = jax.jit(lambda: em.fit(SIX, x, num_steps=5, tol=0.0).log_likelihoods)
    np.testing.assert_allclose(inside(), one, rtol=1e-10)


def test_numbers_on_disk_that_float32_does_not_hold_are_refused(refused, tmp_path):
    with jax.enable_x64(False):
        with refused("x", "1e+39 at index (7, 1)", "float32 can hold"):
            x = POINTS.astype(float)
            x[7, 1] = 1e39
            em.fit(SIX, on_disk(tmp_path, x))
        with refused("x", "1e+08", "subtract each column's mean"):
            em.fit(SIX, on_disk(tmp_path, POINTS / 40 + 1e8))


def test_a_fault_on_disk_is_reported(tmp_path):
    x = points_on_disk(tmp_path)
    start = mixture.init_from_data(jax.random.key(0), jnp.array(x), 4)
    # one component on one point, so narrow that it keeps it: it falls onto it
    means = start.means.at[0].set(jnp.asarray(x[0]))
    start = start._replace(means=means, covariances=start.covariances.at[0].set(1e-8))
    assert "component 0 has collapsed" in em.faults(em.fit(start, x))[0]


FROM_DISK = """
import resource, sys
import jax, numpy as np
from helpers import em
from helpers.mixture import Mixture

def anonymous():
    # what is mapped from the file is not counted: the system may drop it at any time
    status = dict(line.split(":") for line in open("/proc/self/status"))
    return int(status["RssAnon"].split()[0]) * 1024

def data():
    status = dict(line.split(":") for line in open("/proc/self/status"))
    return int(status["VmData"].split()[0]) * 1024

small, large = (np.load(path, mmap_mode="r") for path in sys.argv[1:3])
means = np.array([[-1.0, 0.0], [1.0, 0.0]])
start = Mixture(np.full(2, 0.5), means, np.ones(2))
em.fit(start, small, num_steps=2, tol=0)  # compiled
allowed = large.nbytes // 10
resource.setrlimit(resource.RLIMIT_DATA, (data() + allowed,) * 2)
before = anonymous()
result = em.fit(start, large, num_steps=2, tol=0)
print(int(result.num_steps), (anonymous() - before) / allowed)
try:
    np.array(large)
except MemoryError:
    print("the limit holds")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc")
def test_memory_is_a_tenth_of_the_points_on_disk(tmp_path):
    small = np.random.default_rng(0).normal(size=(2**21, 2)).astype(np.float32)
    np.save(tmp_path / "small.npy", small)
    large = np.lib.format.open_memmap(
        tmp_path / "large.npy", "w+", np.float32, (25 * len(small), 2)
    )
    for i in range(25):
        large[i * len(small) : (i + 1) * len(small)] = small
    large.flush()
    said = python(FROM_DISK, tmp_path / "small.npy", tmp_path / "large.npy")
    assert re.fullmatch(r"2 -?0?\.\d+(e-\d+)?\nthe limit holds\n", said), said
