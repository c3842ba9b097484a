"""If these fail, the pages cannot be read with a keyboard, a screen reader or a phone."""

import shutil

import pytest
from playwright.sync_api import sync_playwright

from needs import NODE

AXE = NODE / "axe-core/axe.min.js"
PAGES = ("index", "quickstart", "guard", "how-to/developer", "reference/cli", "errors", "search")
PHONE = {"width": 360, "height": 740}
SCREEN = {"width": 1280, "height": 900}
WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        yield found
        found.close()


@pytest.fixture(params=[PHONE, SCREEN], ids=["phone", "screen"])
def page(browser, request):
    made = browser.new_page(viewport=request.param)
    made.complaints = []
    made.on("pageerror", lambda error: made.complaints.append(str(error)))
    made.on("console", lambda said: made.complaints.append(said.text))
    yield made
    made.close()
    assert made.complaints == []


def faults(page):
    """What axe-core finds that is serious, and controls that are too small to be touched."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate(
        "axe.run(document, {preload: false, resultTypes: ['violations'],"
        " rules: {'target-size': {enabled: true}}})"
    )
    return [
        f"{one['id']}: {node['html'][:120]}"
        for one in found["violations"]
        if one["impact"] in {"serious", "critical"}
        for node in one["nodes"][:3]
    ]


def test_a_page_has_no_serious_fault_and_is_not_wider_than_the_window(site, page):
    found = {}
    for name in PAGES:
        page.goto((site / f"{name}.html").as_uri())
        found[name] = [*faults(page), *(["too wide"] if page.evaluate(WIDER) > 0 else [])]
    assert found == {name: [] for name in PAGES}


def test_search_and_menu_come_before_the_page_and_the_page_can_be_skipped_to(site, page):
    page.goto((site / "guard.html").as_uri())
    menu, search = page.locator("details.menu"), page.locator("#searchbox input[name=q]")
    phone = page.viewport_size == PHONE
    assert page.locator("details.menu > summary").is_visible() == phone
    assert menu.get_by_role("link", name="The terminal").is_visible() != phone
    heading = page.locator("div.body h1").bounding_box()
    assert not phone or search.bounding_box()["y"] < heading["y"] < PHONE["height"] / 2
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"


def test_a_page_that_was_opened_as_a_file_can_search(site, page):
    page.goto((site / "search.html").as_uri() + "?q=blinds")
    found = page.locator("#search-results").get_by_role("link", name="tools in a framework")
    found.wait_for(timeout=5000)
