"""The setup in a first cell: fast compiling, and programs kept for the next kernel."""

import os
from pathlib import Path

import jax
import jaxlib
import matplotlib.pyplot as plt
import numpy as np
import platformdirs
import pytest

from helpers import course


def flags_after(monkeypatch, version, given):
    monkeypatch.setattr(jaxlib, "__version__", version)
    monkeypatch.setenv("XLA_FLAGS", given)
    course.for_small_problems()
    course.for_small_problems()  # a cell that runs again
    return os.environ["XLA_FLAGS"]


def test_flags_that_the_user_gave_come_last_and_so_take_precedence(monkeypatch):
    flags = flags_after(monkeypatch, "0.10.2", "--xla_backend_optimization_level=3")
    assert flags == f"{course.QUICK['0.10']} --xla_backend_optimization_level=3"


def test_nothing_changes_for_a_version_whose_flags_are_not_known(monkeypatch):
    assert flags_after(monkeypatch, "0.99.1", "--some=1") == "--some=1"


@pytest.fixture
def home(monkeypatch, tmp_path):
    """A user's empty cache folder, and JAX without a cache."""
    home = tmp_path / "cache"
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda *_, **__: home)
    monkeypatch.delenv("COURSE_CACHE", raising=False)
    monkeypatch.delenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", raising=False)
    names = (
        "jax_compilation_cache_dir",
        "jax_enable_compilation_cache",
        "jax_persistent_cache_min_compile_time_secs",
    )
    before = {name: getattr(jax.config, name) for name in names}
    jax.config.update("jax_compilation_cache_dir", None)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)
    yield home
    for name, value in before.items():
        jax.config.update(name, value)


def test_start_sets_up_everything_and_may_run_again(home):
    jax.config.update("jax_enable_x64", False)
    with plt.rc_context():
        for _ in range(2):
            course.start()
            assert jax.numpy.ones(()).dtype == np.float64
            assert course._own_flags() in os.environ["XLA_FLAGS"]
            assert jax.config.jax_compilation_cache_dir.startswith(str(home))
            assert jax.config.jax_persistent_cache_min_compile_time_secs == 0
            assert not plt.rcParams["axes.spines.top"]


def test_the_folder_is_named_after_the_version_and_the_processor(home, monkeypatch):
    course.keep_compiled_programs()
    folder = Path(jax.config.jax_compilation_cache_dir)
    assert folder.parent == home
    assert folder.is_dir()
    assert folder.name.startswith(f"jaxlib-{jaxlib.__version__}-")
    other_processor = {}

    def read_text(path, *_):
        assert path == Path("/proc/cpuinfo")
        return other_processor["lines"]

    monkeypatch.setattr(Path, "read_text", read_text)
    names = [folder.name]
    for lines in (
        "processor : 0\nmodel name : A\nflags : fpu avx2\ncpu MHz : 2000",
        "processor : 0\nmodel name : A\nflags : fpu avx2 avx512f\ncpu MHz : 2000",
        "processor : 0\nCPU part : 0xd0c\nFeatures : asimd sve",
    ):
        for mhz in ("2000", "3141"):  # changes all the time and does not count
            other_processor["lines"] = lines.replace("2000", mhz)
            jax.config.update("jax_compilation_cache_dir", None)
            course.keep_compiled_programs()
            names.append(Path(jax.config.jax_compilation_cache_dir).name)
    assert names[1::2] == names[2::2]
    assert len(set(names)) == 4


def test_without_proc_cpuinfo_the_features_that_numpy_found_are_used(home, monkeypatch):
    def read_text(path, *_):
        raise FileNotFoundError(path)

    monkeypatch.setattr(Path, "read_text", read_text)
    names = []
    for found in (["NEON"], ["NEON", "SVE"]):
        monkeypatch.setattr(
            np, "show_config", lambda mode, f=found: {"SIMD Extensions": {"found": f}}
        )
        jax.config.update("jax_compilation_cache_dir", None)
        course.keep_compiled_programs()
        names.append(jax.config.jax_compilation_cache_dir)
    assert names[0] != names[1]


@pytest.mark.parametrize("value", ["off", "OFF", "0", "no"])
def test_one_variable_switches_the_cache_off(home, monkeypatch, value):
    monkeypatch.setenv("COURSE_CACHE", value)
    course.keep_compiled_programs()
    assert jax.config.jax_compilation_cache_dir is None
    assert not home.exists()


def test_a_folder_that_the_user_gave_to_jax_is_kept(home, tmp_path):
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "mine"))
    course.keep_compiled_programs()
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "mine")
    assert jax.config.jax_persistent_cache_min_compile_time_secs == 1
    assert not home.exists()


def test_a_cache_that_the_user_switched_off_in_jax_stays_off(home):
    jax.config.update("jax_enable_compilation_cache", False)
    course.keep_compiled_programs()
    assert jax.config.jax_compilation_cache_dir is None
    assert not home.exists()


def test_the_users_own_least_time_to_compile_is_kept(home, monkeypatch):
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "1")
    course.keep_compiled_programs()
    assert jax.config.jax_compilation_cache_dir
    assert jax.config.jax_persistent_cache_min_compile_time_secs == 1


def test_there_is_no_cache_where_no_folder_can_be_made(home, capfd):
    home.write_text("a file where the folder would be")
    course.keep_compiled_programs()
    assert jax.config.jax_compilation_cache_dir is None
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "place",
    [
        "~/.cache/companion",  # what Python makes of "~" if nobody knows where that is
        "nobody/.cache/companion",  # a home that does not exist
    ],
)
def test_there_is_no_cache_for_a_user_without_a_home(
    home, monkeypatch, tmp_path, place
):
    path = Path(place) if place.startswith("~") else tmp_path / place
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda *_, **__: path)
    monkeypatch.chdir(tmp_path)
    course.keep_compiled_programs()
    assert jax.config.jax_compilation_cache_dir is None
    assert list(tmp_path.iterdir()) == []


def kept_program(folder, name, *, size, used):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.touch()
    os.truncate(path, size)  # takes no room on the disk
    os.utime(path, (used, used))
    return path


def test_programs_of_other_versions_are_removed(home):
    old = kept_program(home / "jaxlib-0.9.1-abc", "a-cache", size=10, used=5)
    other = kept_program(
        home / f"jaxlib-{jaxlib.__version__}-abc", "a-cache", size=10, used=5
    )
    not_ours = kept_program(home / "notes", "a", size=10, used=5)
    course.keep_compiled_programs()
    assert not old.parent.exists()
    assert other.exists()
    assert not_ours.exists()


def test_programs_not_used_for_longest_are_removed_beyond_200_mb(home):
    folders = [home / f"jaxlib-{jaxlib.__version__}-{name}" for name in ("a", "b")]
    programs = [
        kept_program(folders[used % 2], f"{used}-cache", size=60_000_000, used=used)
        for used in range(1, 8)
    ]
    course.keep_compiled_programs()
    assert [program.exists() for program in programs] == 4 * [False] + 3 * [True]


def test_a_program_that_another_kernel_just_removed_is_no_error(home, monkeypatch):
    folder = home / f"jaxlib-{jaxlib.__version__}-a"
    kept_program(folder, "a-cache", size=300_000_000, used=1)

    def unlink(path):
        raise FileNotFoundError(path)

    monkeypatch.setattr(Path, "unlink", unlink)
    (folder / "gone-cache").symlink_to(folder / "nowhere")
    course.keep_compiled_programs()
    assert jax.config.jax_compilation_cache_dir


def test_programs_are_forgotten_only_beyond_the_memory_allowed():
    triple = jax.jit(lambda x: 3 * x)
    triple(1.0)
    course.forget_programs_beyond(1e15)
    assert triple._cache_size() == 1
    course.forget_programs_beyond(1.0)
    assert triple._cache_size() == 0
    assert triple(2.0) == 6.0


def test_where_memory_cannot_be_read_nothing_is_forgotten(monkeypatch):
    triple = jax.jit(lambda x: 3 * x)
    triple(1.0)

    def refuse(path):
        raise FileNotFoundError(path)

    monkeypatch.setattr(course.Path, "read_text", refuse)
    course.forget_programs_beyond(1.0)
    assert triple._cache_size() == 1


def test_a_second_start_looks_at_the_memory_once_per_cell(monkeypatch):
    class Events:
        registered = ()

        def register(self, name, function):
            self.registered += (name,)

        def unregister(self, name, function):
            if name not in self.registered:
                raise ValueError(name)
            self.registered = tuple(n for n in self.registered if n != name)

    class Shell:
        events = Events()

    monkeypatch.setattr(course, "get_ipython", lambda: Shell)
    monkeypatch.setattr(course, "KERNEL_BYTES", 1e15)
    course.start()
    course.start()
    assert Shell.events.registered == ("post_run_cell",)
    course._after_a_cell()
