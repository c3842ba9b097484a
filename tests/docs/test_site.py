"""The pages as they are built: every link leads somewhere, and a reader's browser asks nobody."""

import re
from html.parser import HTMLParser
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOADS = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
    "embed": "src",
    "object": "data",
    "form": "action",
    "base": "href",
}


class Loaded(HTMLParser):
    """What a page has a browser load."""

    def __init__(self, page):
        super().__init__()
        self.addresses = []
        self.ids = set()
        self.links = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        said = dict(attrs)
        self.ids.add(said.get("id"))
        if tag == "a" and "href" in said:
            self.links.append(said["href"])
        if tag == "link" and said.get("rel") not in {"index", "search", "next", "prev"}:
            self.addresses.append(said["href"])
        if tag in LOADS and said.get(LOADS[tag]):
            self.addresses.append(said[LOADS[tag]])


def test_every_page_of_the_folder_is_built_and_can_be_found(site):
    for page in (ROOT / "docs").rglob("*.md"):
        name = page.relative_to(ROOT / "docs").with_suffix("")
        assert (site / name).with_suffix(".html").is_file()
        assert f'"{name}"' in (site / "searchindex.js").read_text(encoding="utf-8")


def test_nothing_on_any_page_comes_from_somewhere_else(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 40
    for page in pages:
        assert [one for one in Loaded(page).addresses if re.match(r"([a-z]+:)?//", one)] == []
    for style in site.rglob("*.css"):
        assert not re.search(r"@import|url\(\s*['\"]?([a-z]+:)?//", style.read_text())


def test_every_link_between_pages_leads_to_a_place_that_is_there(site):
    pages = {page: Loaded(page) for page in site.rglob("*.html")}
    dead = []
    for page, loaded in pages.items():
        for link in loaded.links:
            if re.match(r"[a-z]+:", link):
                continue
            file, _, place = link.partition("#")
            target = (page.parent / file).resolve() if file else page
            known = pages.get(target)
            if not target.is_file() or (place and known and place not in known.ids):
                dead.append((page.name, link))
    assert dead == []
