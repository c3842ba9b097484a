"""What the pages tell a reader to do works, from top to bottom, on a real gate.

A page is read in a reading below, after others of it, or else alone at a gate of its own. What it
does not say but needs is in ``before/``, in a page of its name. Nothing here lists what is not
run: that stands in the pages, each with its reason.
"""

import re
from contextlib import ExitStack
from pathlib import Path

import pytest

from docs_pages import blocks, steps
from docs_programs import programs
from docs_reader import PageError, Reader, free_ports

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
BEFORE = Path(__file__).parent / "before"
GENERATED = {DOCS / "reference", DOCS / "errors.md"}
"""Made from the program itself: usage lines there are synopses, which nobody is to type."""
TOLD = {
    "demo": {
        "quickstart.md": 8,
        "how-to/developer.md": 10,
        "how-to/auditor.md": 10,
        "README.md": 9,
    },
    "operator": {"how-to/operator.md": 20, "how-to/frameworks.md": 7},
    "tester": {"how-to/tester.md": 6},
}
"""Pages that one reader reads one after the other, and how many commands each has at least."""
SHARED = (
    *(
        "alerts",
        "approvals",
        "audit",
        "backup",
        "breakers",
        "clients",
        "console",
        "containment",
        "end-to-end",
    ),
    "evidence",
    *("exporters", "inspection", "keys", "privacy", "quarantine", "reach", "redteam-contain"),
    *(
        "kubernetes",
        "opa",
        "operators",
        "policy-releases",
        "policy-review",
        "policy-tests",
        "processes",
        "replication",
        "review",
        "run",
        "runbooks",
        "sandbox",
        "tenants",
        "terminal",
        "tools-in-boxes",
    ),
)
"""Pages that have a gate together, of which none takes from another what that needs."""
MARKED = 41
"""So many blocks at most are not run, for a reason that stands before each."""


def name(page):
    """As in ``TOLD``."""
    return page.name if page.parent == ROOT else str(page.relative_to(DOCS))


def pages():
    """Every page that somebody wrote."""
    found = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
    return [page for page in found if not GENERATED & {page, page.parent}]


def alone():
    """The pages with commands of which nothing is said above."""
    told = {page for reading in TOLD.values() for page in reading}
    told |= {f"{page}.md" for page in SHARED}
    return [page for page in pages() if name(page) not in told and instructs(page)]


def instructs(page):
    """Whether it has anything to do; also when nobody knows what."""
    try:
        return any(steps(page))
    except ValueError:
        return True


def prepared(page):
    """What is done before a page, if anything has to be."""
    found = BEFORE / name(page).replace("/", "-") if page.parent != BEFORE else page
    return found if found != page and found.is_file() else None


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    with programs(tmp_path_factory.mktemp("programs")) as said:
        yield f"export TESTS={Path(__file__).parents[1]}\n{said}"


@pytest.fixture
def gate(tmp_path_factory, loaded):
    """What reads a page at a gate that it shares with those which are read before."""
    ports, folder = free_ports(), tmp_path_factory.mktemp("g")  # sockets below it: a short path
    with ExitStack() as stack:
        house = Reader(folder, stack, loaded, ports)
        house.follow(BEFORE / "house.md")

        def read(page):
            with ExitStack() as own:
                reader = Reader(folder, own, loaded, ports)
                return reader.follow(page, prepared(page))

        yield read


@pytest.mark.timeout(240)
@pytest.mark.parametrize("reading", TOLD.values(), ids=TOLD)
def test_whoever_follows_a_page_gets_what_it_says(tmp_path, loaded, reading):
    with ExitStack() as stack:
        reader = Reader(tmp_path, stack, loaded)
        for page, least in reading.items():
            path = (ROOT if page == "README.md" else DOCS) / page
            assert reader.follow(path, prepared(path)) >= least


@pytest.mark.timeout(240)
def test_what_the_pages_about_one_gate_say_is_so(gate):
    gate(BEFORE / "shop.md")
    wrong = []
    for page in SHARED:
        try:
            assert gate(DOCS / f"{page}.md") > 0, f"{page} has nothing to do"
        except PageError as error:
            wrong.append(f"{page}: {error}")
    assert wrong == []


@pytest.mark.timeout(240)
@pytest.mark.parametrize("page", alone(), ids=name)
def test_what_a_page_says_is_so(gate, page):
    if page.name != "identity.md":  # which tells how an agent comes to be
        gate(BEFORE / "shop.md")
    assert gate(page) > 0


def test_every_command_on_every_page_is_run_or_says_why_not():
    marked = [
        f"{name(page)}: {block.order}"
        for page in pages()
        for block in blocks(page)
        if block.order.startswith("not,")
    ]
    assert len(marked) <= MARKED, "\n".join(marked)
    named = re.findall(r"\btests/[\w./-]*\w", "\n".join(marked))
    assert [path for path in named if not (ROOT / path).exists()] == []
    unread = {page.name for page in BEFORE.iterdir()} - {"house.md", "shop.md"}
    assert unread <= {name(page).replace("/", "-") for page in pages()}
