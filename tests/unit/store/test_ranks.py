"""If this fails, what is grave waits behind what is not, after an upgrade."""

import msgspec
from sqlalchemy import text

from databases import each_kind, each_test, new_database  # noqa: F401 - fixtures
from portcullis.core.notice import About, Notice
from portcullis.store.dialect import writing
from portcullis.store.engine import migrate
from portcullis.store.notices import SqlNotices

GRAVEST_FIRST = ["critical", "high", "odd", "medium", "delete", "external", "read", "low"]


def documents():
    """Notices by name, of alerts and of calls; one of them is damaged."""
    for at, name in enumerate(sorted(GRAVEST_FIRST)):
        of_alert = name in {"critical", "high", "medium", "low"}
        notice = Notice(
            id=name,
            channel="ops",
            agent="shop-1",
            opened_at=float(at),
            subjects=(),
            risk="" if of_alert else name,
            alert=About(rule="r", title="t", level=name, at=1.0) if of_alert else None,
            next_at=1.0,
        )
        yield name, b"{" if name == "odd" else msgspec.json.encode(notice)


def test_what_waited_before_an_upgrade_is_told_in_its_order(tmp_path):
    engine = new_database(tmp_path / "portcullis.db")
    migrate(engine, "0031")
    insert = text(
        "INSERT INTO notices (id, channel, gathers, opened_at, due, state, document)"
        " VALUES (:id, 'ops', '', 1, :due, 'due', :document)"
    )
    with writing(engine).begin() as connection:
        for name, document in documents():
            due = 0.5 if name == "odd" else 1.0 + (name == "medium")
            connection.execute(insert, {"id": name, "due": due, "document": document})
    migrate(engine)
    with engine.connect() as connection:
        found = connection.exec_driver_sql("SELECT id FROM notices ORDER BY rank, due").scalars()
        assert list(found) == GRAVEST_FIRST
    store, told = SqlNotices(engine), []
    while (one := store.due("ops", 9.0, 99.0)) is not None:
        told.append(one.id)
        store.change(one.id, lambda it: msgspec.structs.replace(it, state="told"))
    assert told == [name for name in GRAVEST_FIRST if name != "odd"]
    assert store.damaged("ops") == 1
    migrate(engine, "0031")
    engine.dispose()
