import os

import pytest

from policies import SUPPORT, write
from portcullis.core.errors import Problem
from portcullis.policy.source import MAX_FILE_BYTES, read
from portcullis.policy.testing.cases import read_cases
from portcullis.policy.testing.rules import read_rules


def refused(folder):
    with pytest.raises(Problem) as caught:
        read(folder)
    return caught.value


def test_files_are_read_in_order_and_named_without_machine_paths(tmp_path):
    folder = write(tmp_path / "policy", SUPPORT, "b.yaml")
    write(folder, SUPPORT, "a.yaml")
    write(folder, "notes", "README.md")
    (folder / ".hidden").mkdir()
    assert [file.name for file in read(folder)] == ["policy/a.yaml", "policy/b.yaml"]


@pytest.mark.parametrize(("name", "code"), [("more.yml", "PC7002"), ("sub/x.yaml", "PC7002")])
def test_nothing_in_the_folder_is_skipped_in_silence(tmp_path, name, code):
    folder = write(tmp_path / "policy", SUPPORT)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("x", encoding="utf-8")
    assert refused(folder).code == code


def test_a_missing_or_empty_folder_is_an_error_and_not_an_empty_policy(tmp_path):
    assert refused(tmp_path / "nowhere").code == "PC7002"
    assert refused(tmp_path).code == "PC7002"


def test_a_file_that_is_not_utf8_or_too_large_names_its_place(tmp_path):
    (tmp_path / "main.yaml").write_bytes(b"version: 1\n# \xff\n")
    assert "main.yaml:2: not valid UTF-8" in refused(tmp_path).detail
    (tmp_path / "main.yaml").write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    assert "larger than" in refused(tmp_path).detail


def test_links_are_followed_inside_the_folder_and_lead_to_no_line_of_anything_else(tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("password: hunter2\n", encoding="utf-8")
    (tmp_path / "policy").mkdir()
    folder = write(tmp_path / "policy" / "..2030_01_31", SUPPORT).parent
    (folder / "..data").symlink_to("..2030_01_31")  # as kubelet mounts a ConfigMap
    (folder / "main.yaml").symlink_to("..data/main.yaml")
    assert [file.name for file in read(folder)] == ["policy/main.yaml"]
    tests = folder / "tests"
    tests.mkdir()
    for place, reading, code in (
        (folder / "a.yaml", lambda: read(folder), "PC7002"),
        (tests / "a.yaml", lambda: read_cases(tests), "PC7022"),
        (tests / "a_test.rego", lambda: read_rules(tests), "PC7023"),
    ):
        place.symlink_to(secret)
        with pytest.raises(Problem) as caught:
            reading()
        assert (caught.value.code, "hunter2" in str(caught.value)) == (code, False)
        place.unlink()
        os.mkfifo(place)  # whoever opened it to read would wait
        with pytest.raises(Problem, match="not a file of this folder"):
            reading()
        place.unlink()
