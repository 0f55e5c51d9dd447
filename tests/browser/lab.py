"""A JupyterLab of our own, notebooks open in it, and the explorers on their pages."""

import ast
import contextlib
import io
import itertools
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from base64 import b64decode
from pathlib import Path

import numpy as np
from jupyter_client import BlockingKernelClient
from PIL import Image
from playwright.sync_api import Error, expect

import helpers.explorer

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
PAGE = Path(__file__).with_name("page.js").read_text("utf-8").rstrip("\n;")
VIEW = Path(helpers.explorer.__file__).with_name("view.js").read_text("utf-8")
TOKEN = "browser-tests"
SETTINGS = {
    # All cells are in the page, not only those in view; no pop-up asks for anything.
    "notebook-extension/tracker": {"windowingMode": "none"},
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}
CHROMIUM = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
]


def free_port():
    """Return a port of this machine that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def exactly(words):
    """Return a pattern for just these words."""
    return re.compile(f"^{re.escape(words)}$")


@contextlib.contextmanager
def frames_shown(page):
    """Collect what the browser presents while this is open: at its end, PNGs.

    The first and the last are of the page at rest: a frame may come late, from before
    the page had scrolled or from its last change.
    """
    frames, session = [], page.context.new_cdp_session(page)

    def keep(event):
        frames.append((event["metadata"]["timestamp"], b64decode(event["data"])))
        with contextlib.suppress(Error):  # it may be the last one, which nobody awaits
            session.send("Page.screencastFrameAck", {"sessionId": event["sessionId"]})

    session.on("Page.screencastFrame", keep)
    session.send("Page.startScreencast", {"format": "png"})
    _await_rest(page, frames)
    frames[:] = sorted(frames)[-1:]
    yield frames
    _await_rest(page, frames)
    session.send("Page.stopScreencast")
    session.detach()
    frames[:] = [frame for _, frame in sorted(frames)]  # they overtake one another


def _await_rest(page, frames):
    """Wait until there is a frame and no other has come for 300 ms."""
    before = None
    while not frames or len(frames) != before:
        before = len(frames)
        page.wait_for_timeout(300)


def num_changes(frames, box):
    """Return how often a part of the page looked different from one frame to the next.

    A move that shows one new picture counts one; were there a blank frame between the
    old and the new, it would count two.
    """
    left, top = box["x"] + 1, box["y"] + 1
    area = (left, top, left + box["width"] - 2, top + box["height"] - 2)
    area = tuple(round(side) for side in area)
    parts = [Image.open(io.BytesIO(frame)).crop(area).tobytes() for frame in frames]
    return sum(one != other for one, other in itertools.pairwise(parts))


@contextlib.contextmanager
def slow_line(port, *, delay, rate):
    """Give the address of a line to a port, and a call that slows it: see relay.py."""
    entry, script = free_port(), Path(__file__).with_name("relay.py")
    command = [str(part) for part in (sys.executable, script, entry, port, delay, rate)]
    relay = subprocess.Popen(command, stdin=subprocess.PIPE)
    try:
        for _ in range(100):
            with contextlib.suppress(OSError), socket.socket() as probe:
                probe.connect(("127.0.0.1", entry))
                break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{entry}", relay.stdin.close
    finally:
        relay.terminate()
        relay.wait()


class Server:
    """JupyterLab, or Notebook 7, over a folder with settings and kernels of its own."""

    def __init__(self, folder, app="jupyterlab", *, tree=None):
        self.folder, self.app, self.port = Path(folder), app, free_port()
        self.tree = tree or Path(__file__).parents[2]  # whose notebooks and helpers
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self):
        own = self.folder / "jupyter"
        for name, settings in SETTINGS.items():
            path = own / f"settings/@jupyterlab/{name}.jupyterlab-settings"
            path.parent.mkdir(parents=True)
            path.write_text(json.dumps(settings))
        (self.folder / "notebooks").mkdir()
        for path in (self.tree / "notebooks").glob("*.ipynb"):
            shutil.copy(path, self.folder / "notebooks")
        env = os.environ | {
            "JUPYTER_TOKEN": TOKEN,
            "JUPYTER_CONFIG_DIR": str(own / "config"),
            "JUPYTER_RUNTIME_DIR": str(own / "runtime"),
            "JUPYTERLAB_SETTINGS_DIR": str(own / "settings"),
            "JUPYTERLAB_WORKSPACES_DIR": str(own / "workspaces"),
            "IPYTHONDIR": str(own / "ipython"),
            "PYTHONPATH": os.pathsep.join([str(self.tree), *filter(None, sys.path)]),
        }
        command = [sys.executable, "-m", self.app, "--no-browser", "--allow-root"]
        command += ["--ip=127.0.0.1", f"--port={self.port}"]
        command += ["--LabApp.expose_app_in_browser=True"]
        command += ["--JupyterNotebookApp.expose_app_in_browser=True"]
        command += [f"--notebook-dir={self.folder / 'notebooks'}"]
        self.log = (self.folder / "server.log").open("w")
        self.process = subprocess.Popen(
            command, env=env, stdout=self.log, stderr=subprocess.STDOUT
        )
        for _ in range(120):
            with contextlib.suppress(OSError):
                self.api("status")
                return self
            time.sleep(0.5)
        self.__exit__()
        raise RuntimeError(f"no JupyterLab within a minute: {self.folder}/server.log")

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            for session in self.api("sessions"):  # kernels outlive a killed server
                self.api(f"sessions/{session['id']}", method="DELETE")
        self.process.terminate()
        self.process.wait(timeout=30)
        self.log.close()

    def api(self, path, method="GET"):
        """Return the answer of the server's REST interface."""
        request = urllib.request.Request(f"{self.url}/api/{path}", method=method)
        request.add_header("Authorization", f"token {TOKEN}")
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or "null")

    def close(self, name):
        """End the kernel of a notebook."""
        for session in self.api("sessions"):
            if session["name"] == name:
                self.api(f"sessions/{session['id']}", method="DELETE")

    def kernel(self, name):
        """Return a client of an open notebook's kernel, beside the page's own."""
        (session,) = (s for s in self.api("sessions") if s["name"] == name)
        path = self.folder / f"jupyter/runtime/kernel-{session['kernel']['id']}.json"
        client = BlockingKernelClient(connection_file=str(path))
        client.load_connection_file()
        client.start_channels()
        client.wait_for_ready(timeout=60)
        return client


class Notebook:
    """A notebook open in a page, and its kernel.

    Attributes:
        page: Playwright's page.
        errors: those of the page's console and scripts.
        outside: addresses on other machines that the page asked for.
    """

    def __init__(self, server, page, name, *, url=None):
        self.server, self.page, self.name = server, page, name
        self.errors, self.outside, self._ends = [], [], {}
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self._on_address(request.url))
        page.on("websocket", lambda socket: self._on_address(socket.url))
        # In Lab, in a workspace of its own, where no other tab is opened again.
        lab = server.app == "jupyterlab"
        route = f"lab/workspaces/{id(self)}/tree" if lab else "notebooks"
        page.goto(f"{url or server.url}/{route}/{name}?token={TOKEN}")
        self._await_kernel()
        self.client = server.kernel(name)

    def _await_kernel(self):
        self.page.wait_for_function(
            """() => window.jupyterapp?.shell.currentWidget?.sessionContext?.session
               ?.kernel?.status === "idle" """,
            timeout=60_000,
        )

    def reload(self):
        """Load the page again, with the same kernel."""
        self.page.reload()
        self._await_kernel()

    def _on_console(self, message):
        if message.type == "error":
            self.errors.append(f"{message.text} {message.location['url']}")

    def _on_address(self, address):
        if not re.match(r"(http|ws)://127\.0\.0\.1:|data:|blob:", address):
            self.outside.append(address)

    def close(self):
        """Close the page and end the kernel."""
        self.client.stop_channels()
        self.page.close()
        self.server.close(self.name)

    def run_all(self):
        """Run all cells by the menu, as a student does."""
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        self.page.locator(".jp-InputPrompt", has_text="*").first.wait_for()
        self.wait_until_run()

    def failures(self):
        """Return the errors in the outputs of the cells."""
        return self.page.evaluate(
            """() => jupyterapp.shell.currentWidget.content.widgets
              .flatMap((cell) => cell.model.outputs?.toJSON() ?? [])
              .filter((output) => output.output_type === "error")
              .map((output) => output.evalue)"""
        )

    def wait_until_run(self):
        """Wait until no cell is running."""
        running = self.page.locator(".jp-InputPrompt", has_text="*")
        running.first.wait_for(state="detached", timeout=120_000)

    def toggle_left_area(self):
        """Show or hide the list of files, which JupyterLab alone has."""
        if self.server.app == "jupyterlab":
            self.page.evaluate("""jupyterapp.commands.execute(
              'application:toggle-left-area')""")

    def ask(self, question, *args, **kwargs):
        """Return what a function of `probe` answers in the notebook's kernel."""
        return self.ask_for(f"__import__('probe').{question}(*{args!r}, **{kwargs!r})")

    def ask_for(self, expression):
        """Return what an expression is in the notebook's kernel, as JSON has it."""
        reply = self.client.execute(
            "",
            silent=True,
            user_expressions={"answer": f"__import__('json').dumps({expression})"},
            reply=True,
            timeout=120,
        )
        answer = reply["content"]["user_expressions"]["answer"]
        if answer["status"] != "ok":
            raise RuntimeError(f"{expression}: {answer['ename']}: {answer['evalue']}")
        return json.loads(ast.literal_eval(answer["data"]["text/plain"]))

    def ends(self, label):
        """Return what an explorer shows at its start and its controls' ends."""
        if label not in self._ends:
            self._ends[label] = self.ask("ends", label)
        return self._ends[label]

    def settled(self, label):
        """Return what `probe.now` answers once it has been the same for a while.

        JupyterLab lets widgets' messages run in a thread of their own, beside `ask`.
        """
        before, now = None, self.ask("now", label)
        while now != before:
            self.page.wait_for_timeout(300)
            before, now = now, self.ask("now", label)
        return now

    def explorer(self, label):
        """Return the explorer with a label, on the page."""
        return OnPage(self, label)


class OnPage:
    """An explorer on its page."""

    def __init__(self, notebook, label):
        self.notebook, self.page, self.label = notebook, notebook.page, label
        heading = self.page.locator("strong", has_text=exactly(label))
        self.root = self.page.locator(".jp-OutputArea-output .widget-vbox", has=heading)
        self.cell = self.page.locator(".jp-CodeCell", has=heading)
        # the second is that of the version before, which the benchmark compares
        self.pictures = self.root.locator(".explorer-picture, .widget-gridbox")
        self.caption = self.root.get_by_role("status")
        self.error = self.root.get_by_role("alert")
        self.ended = self.page.locator(".jupyter-widgets-disconnected.explorer-live")
        self.reset = self.root.get_by_role("button", name="Reset", exact=True)

    def scroll_into_view(self):
        """Scroll the explorer to the middle of the page, where no key scrolls it."""
        self.root.evaluate("root => root.scrollIntoView({ block: 'center' })")

    def control(self, description, kind):
        """Return the part of a control that takes the keys."""
        if kind == "Dropdown":
            return self.root.get_by_role("combobox", name=description, exact=True)
        if kind == "Checkbox":
            return self.root.get_by_role("checkbox", name=description, exact=True)
        if kind == "Pad":
            return self.root.get_by_role("group", name=description, exact=True)
        label = self.page.locator("label", has_text=exactly(description))
        row = self.root.locator(".widget-slider", has=label)
        return row.get_by_role("slider")

    def press(self, control, key, kind="Slider"):
        """Move a control by the keyboard: to its first or last place, or a step."""
        if kind == "Pad":
            buttons = control.get_by_role("button")
            buttons.nth({"Home": 0, "End": -1}[key]).press("Enter")
            return
        control.focus()
        if kind == "Checkbox":
            if control.is_checked() != (key == "End"):
                self.page.keyboard.press("Space")
        else:
            self.page.keyboard.press(key)

    def ask_page(self, question):
        """Return what a function of page.js answers about this explorer."""
        return self.root.evaluate(f"root => ({PAGE}).{question}(root)")

    def expect_shown(self, shown):
        """Wait until the page shows this caption and this picture."""
        expect(self.caption).to_have_text(shown["state"]["words"])
        self.page.wait_for_function(
            f"""async ([root, expected]) => {{
              const found = ({PAGE}).drawing(root);
              return await found.catch(() => null) === expected;  // null: replaced
            }}""",
            arg=[self.root.element_handle(), shown["drawing"]],
            timeout=10_000,
        )

    def drag(self, slider, to):
        """Drag a slider's handle to a part of its track, in many small moves."""
        slider.scroll_into_view_if_needed()
        handle, mouse = slider.bounding_box(), self.page.mouse
        track = slider.locator("xpath=ancestor::div[contains(@class, 'noUi-target')]")
        x, width = (track.bounding_box()[side] for side in ("x", "width"))
        y = handle["y"] + handle["height"] / 2
        mouse.move(handle["x"] + handle["width"] / 2, y)
        mouse.down()
        mouse.move(x + to * width, y, steps=40)
        mouse.up()


def touch(session, kind, *places):
    """Put a finger down, move it or lift it, through Chrome's protocol."""
    points = [{"x": x, "y": y} for x, y in places]
    session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})


class Bare:
    """The explorers' view on an empty page, whose pixels are those of the picture."""

    def __init__(self, page):
        self.page = page
        self.page.set_content("<body style='margin: 0'><div id='root'></div>")
        self.page.add_script_tag(
            type="module", content=f"{VIEW}\nwindow.mountExplorer = mount;"
        )
        self.page.wait_for_function("'mountExplorer' in window")
        self.page.evaluate("window.held = []")

    def mount(self, scene):
        """Start with an explorer that has not shown anything yet."""
        self.page.evaluate(
            """scene => {
              const root = document.querySelector("#root");
              root.replaceChildren();
              window.view = mountExplorer(root, scene, (place) => held.push(place));
            }""",
            scene,
        )

    def show(self, state):
        """Show a state, and return what page.js calls its drawing."""
        return self.page.evaluate(
            f"""async state => {{
              await view.show(state);
              return await ({PAGE}).drawing(view.element);
            }}""",
            state,
        )

    def share_apart(self, picture):
        """Return the part of a picture's pixels that the browser draws otherwise.

        That is those that differ by more than 64 levels of 255.
        """
        picture = np.asarray(picture.convert("RGB"), int)
        shot = Image.open(io.BytesIO(self.page.screenshot())).convert("RGB")
        rows, columns = picture.shape[:2]
        shown = np.asarray(shot, int)[:rows, :columns]
        return (abs(shown - picture).max(axis=2) > 64).mean()
