"""The web site as it was built: from a folder and from a sub-folder of a host.

The README's line builds it. tests/test_site.py tests the parts.
"""

import functools
import gzip
import http.server
import re
import sys
import threading
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import nbformat
import pytest
from lab import NOTEBOOKS
from playwright.sync_api import expect

from helpers.site import __main__, build

HERE = Path(__file__).parent
AXE = HERE / "node_modules/axe-core/axe.min.js"
PAGES = ["index", *(path.stem for path in NOTEBOOKS)]
DESKTOP, PHONE = {"width": 1300, "height": 900}, {"width": 390, "height": 844}
MEGABYTE = 1_000_000

each_page = pytest.mark.parametrize("name", PAGES)


class Elements(HTMLParser):
    """A page's elements: each a name and its attributes."""

    def __init__(self, path):
        super().__init__()
        self.elements = []
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def of(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="session")
def site(pytestconfig):
    folder = Path(pytestconfig.getoption("--site")).resolve()
    assert (folder / "index.html").exists(), (
        f"no site in {folder}: build it with the line in the README, or name its "
        "folder with --site"
    )
    return folder


@pytest.fixture(scope="session")
def host(site, tmp_path_factory):
    """The address of the site in a sub-folder of a host."""
    root = tmp_path_factory.mktemp("host")
    (root / "course").mkdir()
    (root / "course/companion").symlink_to(site, target_is_directory=True)
    handler = functools.partial(Quiet, directory=root)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/course/companion"
        server.shutdown()


@pytest.fixture(params=["folder", "host"])
def address(request, site):
    """The address of the site, without a slash at its end."""
    if request.param == "folder":
        return site.as_uri()
    return request.getfixturevalue("host")


class Visit:
    """A page of the site in a browser, and what it said and asked for."""

    def __init__(self, page, address):
        self.page, self.address = page, address
        self.said, self.outside, self.failed = [], [], []
        page.on("console", self.hear)
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("request", self.note)
        page.on("requestfailed", lambda request: self.failed.append(request.url))

    def hear(self, message):
        if message.type in ("error", "warning"):
            self.said.append(message.text)

    def note(self, request):
        if not request.url.startswith((self.address, "data:", "blob:")):
            self.outside.append(request.url)

    def go(self, name):
        self.page.goto(f"{self.address}/{name}.html")
        self.settle()
        return self.page

    def settle(self):
        """Wait until the formulas are set."""
        if self.page.locator("script[src*=tex-svg]").count():
            self.page.evaluate("MathJax.startup.promise.then(() => true)")

    def read(self):
        """Scroll to the end, so that all that waits to be seen is loaded."""
        self.page.evaluate(
            """async () => {
              for (let y = 0; y < document.body.scrollHeight; y += 600) {
                scrollTo(0, y);
                await new Promise((done) => setTimeout(done, 30));
              }
              const waits = [...document.images].filter((image) => !image.complete);
              await Promise.all(
                waits.map((image) => new Promise((done) => {
                  image.onload = done;
                  image.onerror = done;
                }))
              );
            }"""
        )
        # The policy keeps Playwright from polling a function of its own.
        expect(self.page.locator(".explorer:not([data-state])")).to_have_count(0)


@pytest.fixture
def visit(browser):
    """A function that opens a page of its own for an address of the site."""
    contexts = []

    def visit(address, view=DESKTOP, **options):
        contexts.append(browser.new_context(viewport=view, **options))
        return Visit(contexts[-1].new_page(), address)

    yield visit
    for context in contexts:
        context.close()


# The build


def test_a_build_replaces_an_earlier_one(tmp_path, monkeypatch, capsys):
    out = tmp_path / "site"
    out.mkdir()
    (out / build.MARK).touch()
    (out / "left over.html").touch()
    monkeypatch.setattr(sys, "argv", ["site", str(out), "--stored"])
    assert __main__.main() == 0
    assert not (out / "left over.html").exists()
    assert {path.stem for path in out.glob("0*.html")} == set(PAGES[1:])
    assert re.search(
        r"^ *\d+ s  built: .*index.html\n\Z", capsys.readouterr().out, re.M
    )
    build.check_out(out)  # the next one may replace it


def test_a_warning_ends_the_build(tmp_path):
    (tmp_path / "source/static").mkdir(parents=True)
    (tmp_path / "source/index.md").write_text("# Title\n\n[nowhere](#nowhere)\n")
    with pytest.raises(build.SiteError, match=r"(?s)^Sphinx could not .*'nowhere'"):
        build.call_sphinx(tmp_path / "source", tmp_path / "site")


# What is in the files


@functools.cache
def parsed(path):
    return Elements(path)


def targets(path):
    """Return what an address can name in a page."""
    return {attributes.get("id") for _, attributes in parsed(path).elements} | {""}


@each_page
def test_every_link_of_a_page_leads_somewhere(site, name):
    broken = []
    for link in (a["href"] for a in parsed(site / f"{name}.html").of("a")):
        if re.match(r"\w+:", link):
            continue
        file, fragment = urldefrag(link)
        path = site / unquote(file or f"{name}.html")
        if not path.exists() or (
            path.suffix == ".html" and fragment not in targets(path)
        ):
            broken.append(link)
    assert broken == []


def test_the_deck_leads_to_every_claim_and_its_section(site, host, visit):
    links = [a["href"] for a in parsed(site / "index.html").of("a")]
    claims = [link for link in links if re.search(r"#s\d\d$", link)]
    sections = {link for link in links if re.search(r"#section-\d+$", link)}
    assert len(claims) == len(set(claims)) == 33
    assert len(sections) >= 11
    there = visit(host)
    for link in sorted({*claims, *sections}):  # page by page
        there.page.goto(f"{host}/{link}")
        there.settle()
        name = link.partition("#")[2]
        place = there.page.locator(f"[id='{name}']")
        expect(place).to_be_attached()
        top = place.evaluate("place => place.getBoundingClientRect().top")
        assert -60 < top < DESKTOP["height"], link
        if link in claims:
            text = place.evaluate(
                """place => {
                  const mark = place.matches("span");
                  const after = mark ? place.nextElementSibling : place;
                  return after.textContent;
                }"""
            )
            assert name.upper() in text, link


@each_page
def test_a_page_lets_no_other_host_in(site, name):
    page = parsed(site / f"{name}.html")
    (policy,) = [
        meta["content"]
        for meta in page.of("meta")
        if meta.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy.startswith("default-src 'none'; ")
    assert "//" not in policy
    scripts = re.search(r"script-src ([^;]*);", policy)[1].split()
    assert all(s == "'self'" or s.startswith("'sha256-") for s in scripts)
    handlers = [(tag, a) for tag, a in page.elements if any(k[:2] == "on" for k in a)]
    assert handlers == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_download_is_the_notebook(site, path):
    assert (site / "notebooks" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_picture_is_there_with_its_words(site, path):
    outputs = [o for c in nbformat.read(path, 4).cells for o in c.get("outputs", [])]
    expected = sum("image/png" in output.get("data", {}) for output in outputs)
    images = parsed(site / f"{path.stem}.html").of("img")
    assert len(images) == expected
    assert all(len(image["alt"]) >= 20 for image in images)
    assert all((site / image["src"]).stat().st_size > 500 for image in images)


def test_sizes(site):
    files = [path for path in site.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 40 * MEGABYTE
    packs = [p.read_bytes() for p in (site / "_static/packs").iterdir()]
    assert len(packs) >= 12
    assert sum(len(gzip.compress(pack, 6)) for pack in packs) <= 5 * MEGABYTE


# What a reader sees


@pytest.fixture(scope="module", params=PAGES)
def opened(request, host, browser):
    """Each page on a host, read to its end, with what was loaded before that."""
    context = browser.new_context(viewport=DESKTOP, color_scheme="light")
    there = Visit(context.new_page(), host)
    there.name, there.loaded = request.param, {}

    def note(response):
        if "/packs/" not in response.url:
            there.loaded[response.url] = len(response.body())

    there.page.on("response", note)
    there.go(request.param)
    there.page.wait_for_timeout(300)
    there.first_view = sum(there.loaded.values())
    there.read()
    yield there
    context.close()


def check_read(there, name):
    """Check that nothing went wrong on a page that was read to its end."""
    page = there.page
    assert there.said == []
    assert there.outside == []
    assert there.failed == []
    blank = page.evaluate(
        "[...document.images].filter((i) => !i.naturalWidth).map((i) => i.src)"
    )
    assert blank == []
    formulas = page.locator(".math")
    assert page.locator("mjx-container").count() == formulas.count()
    assert page.locator("[data-mjx-error], mjx-merror").count() == 0
    states = page.locator(".explorer").evaluate_all(
        "each => each.map((one) => one.dataset.state)"
    )
    assert set(states) <= {"ready"}
    if name != "index":
        assert formulas.count() > 50
        assert len(states) >= 2


@each_page
def test_a_page_reads_from_a_folder_without_an_error(site, visit, name):
    there = visit(site.as_uri())
    there.go(name)
    there.read()
    check_read(there, name)


def test_a_page_reads_from_a_host_without_an_error(opened):
    check_read(opened, opened.name)


def test_the_first_view_is_small(opened):
    assert opened.first_view <= 3.5 * MEGABYTE, opened.loaded


# Elements that are wider than the page, and those that scroll sideways.
SIDEWAYS = """() => {
  const name = (each) => `${each.tagName}.${each.className?.baseVal ?? each.className}`;
  const alone = "pre, .wide, .pst-scrollable-table-container, mjx-assistive-mml";
  const seen = [...document.querySelectorAll("article *, footer *")].filter(
    (each) => each.checkVisibility() && !each.closest(`${alone}, svg *`));
  const page = document.scrollingElement;
  return [
    ...seen
      .filter((each) => {
        const { left, right } = each.getBoundingClientRect();
        return left < -1 || right > innerWidth + 1;
      })
      .map((each) => `${name(each)} is too wide: ${each.textContent.slice(0, 60)}`),
    ...seen
      .filter((each) => each.scrollWidth > each.clientWidth + 1 && each.clientWidth
        && ["auto", "scroll"].includes(getComputedStyle(each).overflowX)
        && !each.matches(".highlight"))
      .map((each) => `${name(each)} scrolls: ${each.textContent.slice(0, 60)}`),
    ...(page.scrollWidth > innerWidth ? [`the page is ${page.scrollWidth} wide`] : []),
  ];
}"""
FOLDS = "document.querySelectorAll('details').forEach((each) => (each.open = OPEN))"


@pytest.fixture
def unfolded(opened):
    """The page with all its folds open."""
    opened.page.evaluate(FOLDS.replace("OPEN", "true"))
    yield opened.page
    opened.page.evaluate(FOLDS.replace("OPEN", "false"))


def test_nothing_but_code_and_tables_scrolls_sideways_on_a_phone(unfolded):
    unfolded.set_viewport_size(PHONE)
    try:
        assert unfolded.evaluate(SIDEWAYS) == []
    finally:
        unfolded.set_viewport_size(DESKTOP)


def serious_findings(page):
    """Return what axe-core calls serious or worse."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE.read_text("utf-8"))
    found = page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
    return [
        (each["id"], node["target"], node.get("failureSummary"))
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"][:5]
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious(unfolded, theme):
    unfolded.evaluate("theme => document.documentElement.dataset.theme = theme", theme)
    unfolded.evaluate("scrollTo(0, 0)")
    try:
        assert serious_findings(unfolded) == []
    finally:
        unfolded.evaluate("document.documentElement.dataset.theme = 'light'")


def test_axe_finds_nothing_serious_in_the_search(host, visit):
    there = visit(host)
    there.go("search")
    assert serious_findings(there.page) == []


def test_the_dark_mode_is_dark_and_stays(host, visit, screenshot):
    there = visit(host, color_scheme="light")
    page = there.go(PAGES[1])
    background = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(background) == "rgb(255, 255, 255)"
    page.get_by_role("button", name="Color mode").first.click()
    page.get_by_role("button", name="Dark").first.click()
    screenshot(page, "dark")
    page = there.go(PAGES[2])
    dark = page.evaluate(background)
    assert max(map(int, re.findall(r"\d+", dark)[:3])) < 60


def test_search_finds_a_word_of_a_page(address, visit):
    there = visit(address)
    page = there.go("index")
    page.get_by_role("button", name="Search").first.click()
    page.get_by_role("searchbox").first.fill("underflows")
    page.get_by_role("searchbox").first.press("Enter")
    result = page.locator("#search-results li a").first
    expect(result).to_contain_text("MLE revisited")
    result.click()
    expect(page.locator("h1").first).to_contain_text("01 · MLE revisited")
    assert there.said == []
    assert there.outside == []


def test_previous_and_next_walk_the_road(host, visit):
    there = visit(host)
    page = there.go("index")
    for name in PAGES[1:]:
        page.locator("a.right-next").click()
        page.wait_for_url(f"{host}/{name}.html")
    page.locator("a.left-prev").click()
    page.wait_for_url(f"{host}/{PAGES[-2]}.html")


def test_folds_say_what_is_in_them_and_hold_formulas(host, visit):
    there = visit(host)
    page = there.go(PAGES[1])
    code = page.locator("details.fold > summary")
    assert all(
        text.startswith(("Code", "A solution")) for text in code.all_inner_texts()
    )
    expect(page.locator(".tag_solution .cell_output").first).to_be_hidden()
    answer = page.locator("details:has(summary:text-is('Open when you have a guess'))")
    formula = answer.last.locator("mjx-container svg").first
    expect(formula).to_be_hidden()
    answer.last.locator("summary").click()
    expect(formula).to_be_visible()
    assert formula.bounding_box()["height"] > 8


def test_answers_are_unfolded_on_paper_and_code_is_not(host, visit):
    there = visit(host)
    page = there.go(PAGES[1])
    answers = "article details:not(.fold, .cell_output *)"
    page.evaluate(
        """() => addEventListener("beforeprint", () => {
          const open = (which) =>
            [...document.querySelectorAll(which)].filter((each) => each.open).length;
          window.printed = [open(ANSWERS), open("details.fold")];
        })""".replace("ANSWERS", repr(answers))
    )
    assert len(page.pdf()) > 100_000
    assert page.evaluate("window.printed") == [page.locator(answers).count(), 0]
    assert page.locator("article details[open]").count() == 0
