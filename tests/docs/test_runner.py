"""The runner of the docs finds what is wrong in a page: otherwise nothing on a page is proven."""

from contextlib import ExitStack

import pytest

from docs_pages import Command, File, commands, shown, steps
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


def followed(folder, text):
    page = folder / "page.md"
    page.write_text(text)
    with ExitStack() as stack:
        return Reader(folder, stack).follow(page)


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
        ("portcullis a", True),
        ("portcullis explain PC3004", True),
        ("portcullis up", False),
    ]


def test_what_is_printed_may_have_more_lines_but_none_less():
    assert absent(("b", "d ... f"), "a\nb\nc\nd  and  f\n") == ""
    assert absent(("d", "b"), "a\nb\nc\nd\n") == "b"
    assert absent(("b ...",), "a b\n") == "b ..."


def test_a_command_goes_on_in_the_next_line():
    assert list(commands("$ a \\\n>   b\nout\n$ c\n")) == [("a \\\n  b", ("out",)), ("c", ())]
