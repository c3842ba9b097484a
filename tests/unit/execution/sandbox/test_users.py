"""If this fails, boxes share a user where they need not, or cannot be made in a container."""

from contextlib import ExitStack

from portcullis.execution.sandbox import users


def test_each_box_is_a_user_of_its_own_where_there_are_so_many(tmp_path, monkeypatch):
    maps = tmp_path / "uid_map"
    for text, there in (
        ("         0          0 4294967295\n", True),
        ("0 100000 65536\n", False),
        ("0 1000 1\n1 100000 65536\n", False),
    ):
        maps.write_text(text)
        assert users._there(maps) is there
    monkeypatch.setattr(users, "_there", lambda: True)
    with ExitStack() as first, ExitStack() as second:
        assert users.take(first) != users.take(second)
    monkeypatch.setattr(users, "_there", lambda: False)
    with ExitStack() as first:
        assert users.take(first) == 65534
