"""The runner of the docs finds what is wrong in a page: otherwise nothing on a page is proven."""

from contextlib import ExitStack

import pytest

from docs_pages import STAYS, Command, File, commands, shown, steps
from docs_reader import PageError, Reader, absent

PAGE = """
<!-- run: file notes/a.txt -->
```text
seven
```

```console
$ cat notes/a.txt
seven
$ WORD=$(cat notes/a.txt) &&
> export WORD
```

<!-- run: background -->
```console
$ while true; do echo "it is $WORD"; sleep 0.1; done
it is ...
```

<!-- run: not, it would take a year -->
```console
$ sleep 31536000
```

<!-- run: exit 3 -->
```console
$ (exit 3)
```
"""


BEFORE = """
```console
$ THING=seven
```

## Later

```console
$ THING=eight OTHER=nine
```
"""


def followed(folder, text, before=""):
    page, ready = folder / "page.md", folder / "before.md"
    page.write_text(text)
    ready.write_text(before)
    with ExitStack() as stack:
        return Reader(folder, stack).follow(page, ready)


def test_a_page_that_is_right_is_followed_to_its_end(tmp_path):
    assert followed(tmp_path, PAGE) == 4


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("seven\n$ WORD", "eight\n$ WORD"),
        ("(exit 3)", "(exit 4)"),
        ("(exit 3)", "true"),
        ("$ cat notes/a.txt", "$ cat notes/b.txt"),
    ],
)
def test_a_page_that_says_something_else_than_what_happens_is_found(tmp_path, right, wrong):
    with pytest.raises(PageError):
        followed(tmp_path, PAGE.replace(right, wrong))


def test_what_stays_must_not_end_in_a_fault(tmp_path):
    page = (
        "<!-- run: background -->\n```console\n$ echo on; sleep 0.2; exit 3\n```\n\n    sleep 0.5\n"
    )
    assert followed(tmp_path, page.replace("exit 3", "sleep 60")) == 2
    with pytest.raises(PageError, match="ended with 3"):
        followed(tmp_path, page)


def test_a_word_in_capitals_stands_for_what_was_prepared_under_the_same_heading(tmp_path):
    first = "    echo THING/$THING env:THING > one\n"
    page = f"{first}\n## Later\n\n```console\n$ cat one; echo THING OTHER\nseven/seven env:THING\n"
    assert followed(tmp_path, page + "eight nine\n```\n", BEFORE) == 2
    with pytest.raises(PageError, match="Later"):
        followed(tmp_path, first, BEFORE)


def test_no_page_writes_outside_of_its_folder(tmp_path):
    with pytest.raises(PageError, match="folder"):
        followed(tmp_path, f"    cp page.md /{tmp_path.name}\n")


@pytest.mark.parametrize(
    "page",
    [
        "```bash\nportcullis up\n```\n",
        "```\nportcullis up\n```\n",
        "```text\n$ ls\n```\n",
        "- so:\n\n  ```console\n  $ portcullis up\n  ```\n",
        "~~~console\n$ portcullis up\n~~~\n",
        "<!-- run: not, it takes a year -->\n\nNo block.\n",
        "<!-- run: exit 3 -->\n\n    no command\n",
        "So:\nportcullis up\n",
    ],
    ids=["bash", "none", "text", "list", "tildes", "nowhere", "empty", "prose"],
)
def test_a_command_that_nobody_would_run_is_an_error(tmp_path, page):
    (tmp_path / "page.md").write_text(page)
    with pytest.raises(ValueError, match=r"page\.md:\d"):
        list(steps(tmp_path / "page.md"))


@pytest.mark.parametrize("order", ["not", "not, no", "backgruond", "file ../../etc;x"])
def test_a_comment_that_says_nothing_known_is_an_error(tmp_path, order):
    page = tmp_path / "page.md"
    page.write_text(f"<!-- run: {order} -->\n```console\n$ true\n```\n")
    with pytest.raises(ValueError, match="no order"):
        list(steps(page))


def test_a_page_is_read_as_its_reader_reads_it(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    first, second, *_, last = steps(page)
    assert first == File("notes/a.txt", "seven\n")
    assert second == Command("cat notes/a.txt", ("seven",))
    assert last == Command("(exit 3)", (), code=3)


def test_commands_are_found_in_blocks_indented_and_in_sentences(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "Say `portcullis up`, then\n\n    portcullis explain PC3004\n\n"
        "```console\n$ portcullis a\n```\n"
    )
    assert list(shown(page)) == [
        ("portcullis explain PC3004", True),
        ("portcullis a", True),
        ("portcullis up", False),
    ]


def test_what_is_printed_may_have_more_lines_but_none_less():
    assert absent(("b", "d ... f"), "a\nb\nc\nd  and  f\n") == ""
    assert absent(("d", "b"), "a\nb\nc\nd\n") == "b"
    assert absent(("b ...",), "a b\n") == "b ..."


def test_an_indented_block_of_commands_is_run_and_one_of_something_else_is_not(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "    # first\n    export A=1   # why\n    cat \\\n      b\n\nand\n\n    GET /v1\n"
    )
    assert list(steps(page)) == [Command("export A=1   # why", ()), Command("cat \\\n  b", ())]


def test_what_stays_by_nature_is_put_in_another_terminal():
    assert STAYS.search("portcullis audit tail -f --agent a")
    assert STAYS.search("JOIN=$(portcullis agent join a) portcullis agent connect a")
    assert not STAYS.search("portcullis audit mirror --from a --to b --once")
    assert not STAYS.search("portcullis audit export --format ocsf | jq .")


def test_a_command_goes_on_in_the_next_line():
    assert list(commands("$ a \\\n>   b\nout\n$ c\n")) == [("a \\\n  b", ("out",)), ("c", ())]
