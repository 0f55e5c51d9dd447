"""The checker, with answers that raise, print, never end or change shared state.

Most answers here are to the exercise "shared_variance".
"""

import builtins
import importlib
import io
import sys
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from given_answers import EXERCISES

from helpers import exercises
from helpers.exercises import answers, guard
from helpers.exercises.formula import Formula, Slip, general_hint
from helpers.exercises.judge import judge
from helpers.mixture import Mixture

pytestmark = pytest.mark.usefixtures("as_in_a_notebook")


def right(x):
    return x.var(axis=0).mean()


def judged(answer, name="shared_variance"):
    return judge(EXERCISES[name], answer)


def rows_of(answer):
    return dict(judged(answer).rows)


class Lazy:
    """Looks like an array until it is read."""

    shape, dtype = (), np.dtype(float)

    def __array__(self, *args, **kwargs):
        raise RuntimeError("nothing here")

    def __repr__(self):
        raise RuntimeError("not even a name")


class NamelessError(Exception):
    def __str__(self):
        raise RuntimeError("no words")


def raises(error):
    def answer(x):
        raise error

    return answer


def leaks(x):
    kept = []
    jax.grad(lambda scale: kept.append(scale * x) or scale)(1.0)
    return kept[0].var()


def recurses(x):
    return recurses(x)


def branches_on_a_tracer(x):
    return jax.jit(lambda y: y if y > 0 else -y)(x.var())


BAD = {
    "an error": (raises(KeyError("mu")), "KeyError: 'mu'"),
    "a wrong call": (lambda: 1.0, "TypeError"),
    "exit": (lambda x: sys.exit(3), "SystemExit"),
    "an interrupt": (raises(KeyboardInterrupt()), "KeyboardInterrupt"),
    "a base exception": (raises(BaseException("gone")), "BaseException: gone"),
    "an error without words": (raises(NamelessError()), "cannot say what it is"),
    "deep recursion": (recurses, "RecursionError"),
    "a leaked tracer": (leaks, "UnexpectedTracerError"),
    "a branch on a tracer": (branches_on_a_tracer, "TracerBoolConversionError"),
    "a lazy object": (lambda x: Lazy(), "nothing here"),
    "a word": (lambda x: "1.5", "a text"),
    "a dictionary": (lambda x: {"variance": 1.5}, "a dictionary"),
    "a complex number": (lambda x: 1j, "complex"),
    "a function": (lambda x: right, "a function"),
    "a generator": (lambda x: (row.var() for row in x), "a generator"),
    "rows of different lengths": (lambda x: [[1.0], [1.0, 2.0]], "different lengths"),
    "nan": (lambda x: np.nan, "nan"),
    "infinity": (lambda x: -jnp.inf, "-inf"),
    "a wrong shape": (lambda x: jnp.ones((2, 3)), "shape (2, 3)"),
    "an empty array": (lambda x: jnp.ones(0), "shape (0,)"),
    "no function": (1.5, "a float"),
    "jax's own error": (lambda x: x @ x, "TypeError"),
}


@pytest.mark.parametrize(("answer", "words"), BAD.values(), ids=BAD)
def test_whatever_a_bad_answer_does_it_is_judged_wrong(answer, words):
    finding = judged(answer)
    rows = dict(finding.rows)
    assert finding.state == "wrong"
    assert words in rows.get("error", "") + rows.get("you returned", "")
    assert "Traceback" not in str(finding)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("q_for_sixteen", Lazy()),
        ("stride", Lazy()),
        ("variance_estimate", 3),
        ("baseline", lambda f: Lazy()),
        ("draw_z", lambda key, mu, sigma, num_samples: Lazy()),
    ],
)
def test_a_lazy_value_is_wrong_everywhere(name, value):
    assert judged(value, name).state == "wrong"


TWICE = Formula(lambda x: 2 * x, lambda: [(np.arange(6.0).reshape(2, 3),)], ())


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda x: 2 * x.T, "rows and columns are swapped"),
        (lambda x: 2 * x[None], "an axis of length 1 too many"),
        (lambda x: (2 * x).sum(), "the sum of the expected numbers"),
        (lambda x: (2 * x).mean(), "the mean of the expected numbers"),
        (lambda x: x.sum(axis=0), "Over which axis"),
        (lambda x: 6 * x, "3 times what was expected"),
        (lambda x: -2 * x, "The sign is flipped"),
        (lambda x: 2 * x[::-1], "in the opposite order"),
        (lambda x: 2 * x + 1, "too large by the same 1"),
        (lambda x: 2 * x - 1, "too small by the same 1"),
        (lambda x: 2 * np.minimum(x, 3), "4 of 6 numbers are right"),
        (lambda x: x / 0, "not finite"),
    ],
)
def test_a_slip_that_no_exercise_lists_gets_a_general_hint(answer, words):
    def quiet(x):
        with np.errstate(all="ignore"):
            return answer(x)

    assert words in dict(judge(TWICE, quiet).rows)["hint"]


def test_an_unexplained_answer_gets_no_hint():
    assert general_hint(np.array([1.0, 5.0]), np.array([2.0, 3.0])) == ""
    assert general_hint(np.array(1.0), np.array(0.0)) == ""
    assert "hint" not in dict(judge(TWICE, lambda x: x**2 + 2).rows)


def test_numbers_that_nearly_agree_are_shown_with_enough_digits():
    rows = dict(judge(TWICE, lambda x: 2 * x * (1 + 1.1e-5)).rows)
    assert rows["you returned"].split()[-1] != rows["expected"].split()[-1]
    loud = Formula(lambda x: x, lambda: [(np.array([0.0, 3e6]),)], ())
    rows = dict(judge(loud, lambda x: [0.0, 3e6 + 32]).rows)
    assert rows["you returned"] != rows["expected"]


def test_an_entry_of_a_large_array_is_named():
    many = Formula(lambda x: x, lambda: [(np.arange(20.0).reshape(4, 5),)], ())

    def answer(x):
        x = x.copy()
        x[2, 3] += 1
        return x

    rows = dict(judge(many, answer).rows)
    assert rows["you returned"] == "result[2, 3] = 14"
    assert rows["expected"] == "result[2, 3] = 13"
    assert rows["input"] == "x = an array (4, 5), first entry 0"


def test_a_part_that_no_slip_explains_gets_the_nearest_hint():
    """The hint for one part is shown although another part is wrong in another way."""
    pair = Formula(
        lambda x: (x, 3 * x),
        lambda: [(2.0,)],
        (
            Slip(lambda x: (x, 4 * x), "not this"),
            Slip(lambda x: (-x, 3 * x), "of one"),
        ),
        parts=("one", "other"),
    )
    assert dict(judge(pair, lambda x: (-x, 7 * x)).rows)["hint"] == "of one"


def test_a_call_with_arguments_that_are_no_arrays_is_shown():
    finding = judged(lambda f, u, m, s: f.nothing, "logistic_slopes")
    assert dict(finding.rows)["input"].startswith("f = square; u = [")


# Not attempted, or an error.


def stub_in_a_branch(x):
    if x.ndim:
        raise NotImplementedError("later")


@pytest.mark.parametrize("answer", [raises(NotImplementedError), stub_in_a_branch])
def test_a_stub_that_says_so_is_not_attempted(answer):
    assert judged(answer).state == "not attempted"


DEEP = {
    "JAX": lambda x: jnp.mean(x, out=np.zeros(())),
    "the library": lambda x: io.RawIOBase().readinto(bytearray(1)),
    "an exception of a package": lambda x: importlib.abc.InspectLoader().get_source(""),
}


@pytest.mark.parametrize("answer", DEEP.values(), ids=DEEP)
@pytest.mark.parametrize("filtering", ["off", "tracebackhide", "remove_frames"])
def test_what_others_have_not_implemented_is_an_error(answer, filtering):
    jax.config.update("jax_traceback_filtering", filtering)
    try:
        finding = judged(answer)
    finally:
        jax.config.update("jax_traceback_filtering", "auto")
    assert finding.state == "wrong"
    assert dict(finding.rows)["error"]


def test_the_line_that_failed_is_shown():
    def answer(x):
        centre = x.mean(axis=0)
        return x.nothing_of_the_kind - centre

    assert "x.nothing_of_the_kind - centre" in rows_of(answer)["error"]


def test_an_unknown_field_of_a_tuple_gets_a_hint():
    params = Mixture(np.ones(1), np.ones((1, 2)), np.ones(1))
    hint = rows_of(lambda x: params.variances)["hint"]
    assert hint == (
        "A Mixture has the fields weights, means, covariances. For round components, "
        "`covariances` holds the variances."
    )
    verdict = exercises.Verdict("a name", judged(right))
    assert rows_of(lambda x: verdict.text)["hint"] == (
        "A Verdict has the fields name, finding."
    )


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda x: np.ones(2) + np.ones(3), "Two shapes do not fit"),
        (lambda x: np.ones((2, 3)) @ np.ones((2, 3)), "Two shapes do not fit"),
        (lambda x: jnp.ones((2, 3)) @ jnp.ones((2, 3)), "Two shapes do not fit"),
        (lambda x: __import__("math").exp(800), "too large"),
        (recurses, "without ever stopping"),
        (leaks, "Return it instead"),
        (lambda x: sys.exit(), "Leave exit() out"),
    ],
)
def test_an_error_gets_a_hint(answer, words):
    assert words in rows_of(answer)["hint"]


def test_an_input_that_only_the_last_case_has_is_shown():
    def answer(x):
        if x.shape[1] == 1:
            raise ZeroDivisionError
        return right(x)

    assert rows_of(answer)["input"].count("[") == 5  # four points of one dimension


def test_changing_an_argument_is_wrong_and_does_no_harm():
    def answer(a):
        m = a.max(axis=1)
        a -= m[:, None]
        return m + np.log(np.exp(a).sum(axis=1))

    for _ in range(2):  # the second time on arguments as fresh as the first
        finding = judged(answer, "log_sum_exp")
        assert finding.state == "wrong"
        assert "a was changed" in dict(finding.rows)["you returned"]


# Printing.


def test_what_is_printed_is_kept_and_cut(capsys):
    def answer(x):
        for i in range(10_000):
            print("round", i)
        return right(x)

    finding = judged(answer)
    printed = dict(finding.rows)["printed"]
    assert finding.state == "right"
    assert printed.startswith("round 0\nround 1")
    assert printed.endswith("round 7 ... (cut)")
    (line,) = rows_of(lambda x: print("x" * 9999) or 1.0)["printed"].split("\n")
    assert len(line) == 400 + len(" ... (cut)")
    assert rows_of(lambda x: print("!", file=sys.stderr) or 1.0)["printed"] == "!"
    assert capsys.readouterr() == ("", "")


def test_what_another_thread_prints_is_not_in_the_verdict(capsys):
    asked, told = threading.Event(), threading.Event()

    def slider():
        asked.wait(10)
        print("from a slider")
        told.set()

    def answer(x):
        asked.set()
        told.wait(10)
        print("from the answer", flush=True)
        return right(x)

    thread = threading.Thread(target=slider)
    thread.start()
    finding = judged(answer)
    thread.join()
    assert set(dict(finding.rows)["printed"].split("\n")) == {"from the answer"}
    assert capsys.readouterr().out == "from a slider\n"


def test_warnings_of_an_answer_are_not_shown(recwarn):
    judged(lambda a: np.log(np.exp(a).sum(axis=1)), "log_sum_exp")
    assert not recwarn.list


# Leaving.


class Shell:
    """The shell that IPython's `exit()` asks to stop."""

    exit_now = False
    keepkernel_on_exit = None

    def ask_exit(self):
        self.exit_now = True

    def exit(self, keep_kernel=False):
        self.keepkernel_on_exit = keep_kernel
        self.ask_exit()


def test_exit_in_ipython_is_an_error_and_nothing_else(monkeypatch):
    shell = Shell()
    monkeypatch.setattr(guard, "get_ipython", lambda: shell)
    rows = rows_of(lambda x: shell.exit())
    assert "SystemExit: exit() would end the kernel" in rows["error"]
    assert "Leave exit() out" in rows["hint"]
    assert shell.exit_now is False
    assert vars(shell) == {"keepkernel_on_exit": None}
    shell.exit()  # a reader's own still works
    assert shell.exit_now is True


def test_another_thread_may_leave_while_an_answer_is_judged(monkeypatch):
    shell = Shell()
    monkeypatch.setattr(guard, "get_ipython", lambda: shell)

    def answer(x):
        thread = threading.Thread(target=shell.exit)
        thread.start()
        thread.join()
        return right(x)

    assert judged(answer).state == "right"
    assert shell.exit_now is True


def test_exit_in_plain_python_closes_nothing():
    stdin = sys.stdin
    rows = rows_of(lambda x: builtins.exit())
    assert "SystemExit" in rows["error"]
    assert sys.stdin is stdin
    assert not stdin.closed


# Settings of JAX.


def test_an_answer_that_leaves_double_precision_is_wrong():
    def answer(x):
        jax.config.update("jax_enable_x64", False)
        return right(jnp.asarray(np.asarray(x)))

    finding = judged(answer)
    assert finding.state == "wrong"
    assert "jax_enable_x64 was changed" in dict(finding.rows)["you returned"]
    assert jax.config.jax_enable_x64
    assert jnp.ones(1).dtype == jnp.float64


def test_other_settings_are_put_back():
    def answer(x):
        jax.config.update("jax_debug_nans", True)
        jax.config.update("jax_default_matmul_precision", "float32")
        return right(x)

    before = jax.config.values
    assert judged(answer).state == "right"
    assert jax.config.values == before


def test_settings_are_put_back_after_an_error_and_after_the_time_limit(monkeypatch):
    monkeypatch.setattr(guard, "SECONDS", 0.3)

    def fails(x):
        jax.config.update("jax_enable_x64", False)
        raise KeyError

    def never_ends(x):
        jax.config.update("jax_enable_x64", False)
        while True:
            pass

    for answer in (fails, never_ends):
        assert judged(answer).state == "wrong"
        assert jax.config.jax_enable_x64


# The time limit.


def forever(x):
    while True:
        x = x + 0


def forever_in_a_list(x):
    return [y for y in iter(int, 1)]


@pytest.mark.parametrize("answer", [forever, forever_in_a_list])
def test_an_endless_loop_is_ended(answer, monkeypatch):
    monkeypatch.setattr(guard, "SECONDS", 0.4)
    rows = rows_of(answer)
    assert rows["error"] == "no answer within 0.4 seconds"
    assert "never ends" in rows["hint"]
    assert "note" not in rows  # nothing is left running


def test_an_interrupt_of_the_reader_ends_the_answer(monkeypatch):
    def interrupt(worker):
        raise KeyboardInterrupt

    monkeypatch.setattr(guard._Worker, "wait", interrupt)
    running = threading.active_count()
    stdout = sys.stdout
    with pytest.raises(KeyboardInterrupt):
        judged(forever)
    assert threading.active_count() == running
    assert sys.stdout is stdout


# What the reader sees.


def test_a_verdict_reads_the_same_as_text_and_as_html(capsys):
    exercises.check("shared_variance", lambda x: x.var())
    text = capsys.readouterr().out
    assert text.startswith("✗ shared_variance: wrong\n  input: x = [[")
    for label in ("you returned: ", "expected: ", "hint: You used one mean"):
        assert f"\n  {label}" in text
    finding = judged(lambda x: "<script>")
    finding = finding._replace(rows=(("you returned", "<script>"),))
    page = exercises.Verdict("<b>", finding)._repr_html_()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "&lt;b&gt;: <b>wrong</b>" in page
    assert "<table>" not in exercises.Verdict("a", judged(...))._repr_html_()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("shared_varaince", "Did you mean shared_variance?"),
        ("xyz", "one of"),
        (["score"], "a name of type list"),
        (Lazy(), "a name of type Lazy"),
        (np.ones(2), "a name of type ndarray"),
        (None, "a name of type NoneType"),
    ],
)
def test_an_unknown_name_is_reported_and_breaks_nothing(name, words, capsys):
    assert exercises.check(name, 1.0) is None
    assert words in capsys.readouterr().out


def test_kinds_have_articles():
    assert answers.kind(1.0) == "a float"
    assert answers.kind(1) == "an int"
    assert answers.kind("") == "a text"
