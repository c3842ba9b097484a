"""If these fail, a mined policy allows what was never needed, or refuses what was."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
import yaml

from portcullis.core.errors import Problem
from portcullis.core.event import Event, EventType, ResultSummary
from portcullis.policy.source import SourceFile
from portcullis.review.mine import propose
from portcullis.review.mine_shapes import shapes
from portcullis.review.replay_side import Side

BEGAN = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
KEYED = "hmac-sha256:" + "0" * 64
POLICY = """\
version: 1
# who there is
agents:
  wide-1: {role: wide, owner: team, observe: {until: "2026-11-15T00:00:00Z", reason: trial}}
  other-1: {role: wide, owner: team}
roles:
  wide:
    permissions: [{read: files}, {write: files}]
    allowed_tools: [shop.orders, shop.price, shop.refund, shop.mail, shop.drop, shop.unused]
    denied_tools: ["admin.*"]
    models: ["gpt-*"]
    allowed_resources: ["wiki.wiki://*"]
    inspection: {to_tool: {personal: block}}
tools:
  shop.orders: {risk: read}
  shop.price: {risk: read}
  shop.unused: {risk: read}
  shop.refund: {risk: external, arguments: {amount: {maximum: 1000}}}
  shop.mail: {risk: external}
  shop.drop: {risk: delete}
  files.read: {resource: files, verb: read, risk: read}
  files.write: {resource: files, verb: write, risk: modify}
limits:
  pace: {for: {role: wide}, requests: {rate: 60/minute}}
"""
FILES = (SourceFile("policy/policy.yaml", POLICY),)


class Trail:
    """The log of an agent: each call with what came back."""

    def __init__(self, agent="wide-1"):
        self.agent = agent
        self.events = []

    def call(self, tool, clear=None, hidden=(), session="s1", *, error=False, found=(), **fields):
        number = len(self.events) + 1
        server, _, name = tool.partition(".")
        at = BEGAN + timedelta(minutes=number)
        given = {"type": EventType.TOOL_CALL, "action": "tool", "risk": "read", "verdict": "allow"}
        given |= {"approval": "not_required"}
        asked = Event(
            v=1,
            id=f"{number:032x}",
            time=at,
            gateway="example.org/gate",
            principal_kind="agent",
            principal=self.agent,
            session=session,
            server=server,
            name=name,
            parameters=clear or {},
            commitments={"subject": KEYED + session}
            | {f"arguments.{one}": KEYED for one in hidden},
            **given | fields,
        )
        self.events.append(asked)
        if asked.verdict == "allow":
            self.events.append(
                Event(
                    v=1,
                    id=f"{number + 1:032x}",
                    time=at,
                    type=EventType.TOOL_RESULT,
                    gateway=asked.gateway,
                    principal_kind="agent",
                    principal=self.agent,
                    session=session,
                    decision=asked.id,
                    verdict="allow",
                    findings=found,
                    result=ResultSummary(bytes=10, error=error),
                )
            )
        return asked


def worked():
    trail = Trail()
    for number in range(12):
        session = f"s{number % 4}"
        trail.call(
            "shop.orders",
            {"status": ["open", "closed"][number % 2], "page": number},
            session=session,
        )
        trail.call("files.read", {"path": f"/srv/docs/{number % 6}/a.txt"}, session=session)
    for amount in (10, 25.5, 99):
        trail.call("shop.refund", {"amount": amount}, risk="external", approval="a" * 32)
    trail.call("shop.price", hidden=["sku"])
    trail.call("up.gpt-5", type=EventType.LLM_CALL, action="model", risk="external")
    for number in range(5):
        page = f"wiki://team/{number}"
        trail.call(f"wiki.{page}", type=EventType.DECISION, action="resource")
    return trail


def proposed(trail, **more):
    return propose(FILES, trail.agent, lambda: iter(trail.events), NOW, **more)


@pytest.fixture(scope="module")
def made():
    return proposed(worked())


def role_of(made):
    (text,) = [one.text for one in made.draft.files if one.name == made.draft.added]
    return yaml.safe_load(text)["roles"][made.draft.role]


def entry(made, tool):
    return next(one for one in role_of(made)["allowed_tools"] if one["tool"] == tool)


def test_each_argument_is_bound_as_it_was_seen_and_no_wider(made):
    orders = entry(made, "shop.orders")["when"]
    assert orders == (
        "arguments.page >= 0 and arguments.page <= 11 and arguments.status in ['closed', 'open']"
    )
    assert entry(made, "files.read")["when"] == "arguments.path startswith '/srv/docs/'"
    assert entry(made, "shop.refund")["when"] == "arguments.amount >= 10 and arguments.amount <= 99"


def test_what_was_not_used_is_not_granted_and_nothing_is_a_bare_wildcard(made):
    role = role_of(made)
    tools = [one["tool"] for one in role["allowed_tools"]]
    assert tools == ["files.read", "shop.orders", "shop.price", "shop.refund"]
    assert [one["model"] for one in role["models"]] == ["gpt-5"]
    assert [one["resource"] for one in role["allowed_resources"]] == ["wiki.wiki://team/*"]
    assert "permissions" not in role


def test_what_sends_or_deletes_needs_a_human_and_every_grant_ends(made):
    assert entry(made, "shop.refund")["obligations"] == {"approvers": 1}
    assert "obligations" not in entry(made, "shop.orders")
    for one in role_of(made)["allowed_tools"]:
        assert one["until"] == "2027-02-18"
        assert one["reason"].startswith("mined: ")


def test_what_narrowed_the_old_role_narrows_the_new_one(made):
    role = role_of(made)
    assert role["denied_tools"] == ["admin.*"]
    assert role["inspection"] == {"to_tool": {"personal": "block"}}
    (text,) = [one.text for one in made.draft.files if one.name == made.draft.added]
    assert yaml.safe_load(text)["limits"]["pace-mined-wide-1"]["for"] == {"role": "mined-wide-1"}
    assert made.loosened == ()


def test_the_draft_refuses_nothing_that_was_learned_and_says_what_it_newly_refuses():
    trail = worked()
    trail.call("shop.unused", {"x": 1}, error=True)
    made = proposed(trail)
    assert made.lost == ()
    assert [(one.target, one.new) for one in made.denied] == [("shop.unused", ("deny PC3001",))]
    assert made.evidence.failed == 1


def test_the_patch_changes_one_line_and_ends_the_observation(made):
    patch = made.draft.patch
    removed = [line for line in patch.splitlines() if line.startswith("-") and line[1:2] == " "]
    assert len(removed) == 1
    assert "+  wide-1: {role: mined-wide-1, owner: team}" in patch
    new = Side(made.draft.files)
    assert new.compiled.roles == {"wide-1": "mined-wide-1", "other-1": "wide"}


def test_an_attacked_session_teaches_nothing_from_then_on():
    trail = Trail()
    trail.call("shop.orders", {"status": "open"})
    trail.call("shop.price", {"sku": "x"}, found=("INJECTION:block@result",))
    trail.call("shop.mail", {"to": "eve@evil.example"}, risk="external")
    trail.call("shop.mail", {"to": "ada@example.org"}, session="clean", risk="external")
    made = proposed(trail)
    assert {one.name for one in made.entries} == {"shop.orders", "shop.mail"}
    assert made.evidence.suspect == 2
    held = [one for one in made.denied if one.target == "shop.price"]
    assert held[0].count == 1


def test_where_nothing_counts_nothing_is_mined():
    trail = Trail()
    trail.call("shop.drop", {"id": 1}, verdict="deny", code="PC3001", check="authorize")
    with pytest.raises(Problem) as refused:
        proposed(trail)
    assert refused.value.code == "PC7041"
    with pytest.raises(Problem) as unknown:
        propose(FILES, "nobody", lambda: iter(()), NOW)
    assert unknown.value.code == "PC2007"


class Own:
    """Whose the values are, as the keys of commitments would tell."""

    def user(self, asked, value):
        return value == "ada"

    def members(self, asked, argument, value):
        return ("customer_id",) if value == f"C-{asked.context.session.id}" else ()


def test_an_argument_that_always_is_the_session_s_own_becomes_row_scope():
    trail = Trail()
    for number in range(4):
        clear = {"customer": f"C-s{number}", "by": "ada"}
        trail.call("shop.orders", clear, session=f"s{number}")
    made = proposed(trail, scopes=Own())
    assert entry(made, "shop.orders")["when"] == (
        "arguments.by == session.user and arguments.customer == session.subject.customer_id"
    )
    assert made.lost == ()


def test_a_sealed_value_of_one_person_s_is_not_written_into_a_policy():
    trail = Trail()
    kept = {}
    for number in range(6):
        asked = trail.call("shop.price", hidden=["email", "kind"], session=f"s{number % 3}")
        kept[asked.id] = {
            "arguments.email": msgspec.json.encode(
                f"p{number % 2}@example.org" if number % 3 else "p9@example.org"
            ),
            "arguments.kind": b'"net"',
        }
    made = proposed(trail, contents=lambda event: kept.get(event, {}))
    assert entry(made, "shop.price")["when"] == "arguments.kind == 'net'"
    assert "example.org" not in made.draft.patch.replace("b/policy", "")


def test_neither_the_end_of_a_range_nor_a_folder_is_one_persons():
    trail = Trail()
    kept = {}
    for number in range(12):
        of = number % 4
        asked = trail.call("shop.price", hidden=["pay", "file", "age"], session=f"s{of}")
        kept[asked.id] = {
            "arguments.pay": msgspec.json.encode(41_000 + number),
            "arguments.age": msgspec.json.encode((number // 4) * 10 + (of if number < 8 else 0)),
            "arguments.file": msgspec.json.encode(f"/home/jane/{number}"),
        }
    one = trail.call("shop.price", hidden=["pay", "file", "age"], session="s0")
    kept[one.id] = {
        "arguments.pay": b"40000",
        "arguments.age": b"0",
        "arguments.file": b'"/home/jane/x"',
    }
    made = proposed(trail, contents=lambda event: kept.get(event, {}))
    assert entry(made, "shop.price")["when"] == "arguments.file startswith '/home/jane/'"
    alone = Trail()
    kept = {}
    for number in range(6):
        asked = alone.call("shop.price", hidden=["file"], session=f"s{number % 2}")
        kept[asked.id] = {"arguments.file": msgspec.json.encode(f"/home/jane/{number}")}
    made = proposed(alone, contents=lambda event: kept.get(event, {}))
    assert "jane" not in made.draft.patch


@pytest.mark.parametrize("odd", ["a b", "\x7f", "\x85", "\u2028", "'\"", "\ufeff"], ids=ascii)
def test_no_name_that_an_agent_makes_up_costs_it_the_draft(odd):
    trail = Trail()
    for _ in range(4):
        trail.call("shop.orders", {"status": "open"})
        trail.call("shop.price", {odd: "x", "status": f"a{odd}"})
    trail.call(f"up.gpt-{odd}", type=EventType.LLM_CALL, action="model", risk="external")
    trail.call(f"wiki.wiki://a/{odd}", type=EventType.DECISION, action="resource")
    made = proposed(trail)
    assert entry(made, "shop.orders")["when"] == "arguments.status == 'open'"
    assert made.lost == ()


def test_a_value_that_may_be_absent_is_bound_where_it_is_there(made):
    trail = Trail()
    for number in range(6):
        trail.call("shop.orders", {"limit": 10} if number % 2 else {"limit": 20, "sort": "up"})
    found = {one.argument: one for one in shapes(proposed(trail).evidence.learned)}
    assert found["sort"].test == "(not exists arguments.sort or arguments.sort == 'up')"
    assert found["limit"].test == "arguments.limit in [10, 20]"


def test_a_name_that_would_be_a_wildcard_or_is_cut_is_not_granted():
    trail = Trail()
    trail.call("shop.orders", {"status": "open"})
    decision = {"type": EventType.DECISION, "action": "resource"}
    trail.call("wiki.wiki://*", **decision)
    trail.call("wiki.wiki://" + "x" * 249, **decision)
    trail.call("wiki.ping", type=EventType.DECISION, action="server_request")
    made = proposed(trail)
    assert [one.name for one in made.entries] == ["shop.orders"]
    assert made.evidence.unnamed == 3


BLOCK = """\
  wide-1:
    role: "wide"
    observe:
      until: "2026-11-15T00:00:00Z"
      reason: trial
    owner: team
"""


def test_an_agent_that_is_written_in_lines_gets_its_role_and_loses_its_observation():
    trail = Trail()
    trail.call("shop.orders", {"status": "open"})
    flow = POLICY.splitlines(keepends=True)[3]
    for block in (BLOCK, BLOCK.replace("    owner: team\n", "")):
        files = (SourceFile("policy/policy.yaml", POLICY.replace(flow, block)),)
        made = propose(files, "wide-1", lambda: iter(trail.events), NOW)
        side = Side(made.draft.files)
        assert side.compiled.roles == {"wide-1": "mined-wide-1", "other-1": "wide"}
        assert side.compiled.observed == ()


PARENTS = """\
version: 1
agents: {kid-1: {role: child, owner: team}}
windows:
  office: {days: [mon, tue, wed, thu, fri, sat, sun], from: "00:00", to: "24:00", zone: UTC}
roles:
  parent:
    denied_tools: [shop.drop]
    inspection: {to_tool: {personal: block}}
    allowed_tools:
      - tool: shop.orders
        during: office
        when: "arguments.page < 100"
        obligations: {log: [page]}
  child:
    inherits: [parent]
    inspection: {to_model: {secret: block}}
    allowed_tools: [shop.mail]
tools:
  shop.orders: {risk: read}
  shop.mail: {risk: external}
"""


def test_what_a_role_inherits_goes_with_it_and_a_grant_keeps_its_terms():
    trail = Trail("kid-1")
    for page in (1, 2, 3):
        trail.call("shop.orders", {"page": page})
    files = (SourceFile("policy/policy.yaml", PARENTS),)
    made = propose(files, "kid-1", lambda: iter(trail.events), NOW)
    assert (made.lost, made.loosened) == ((), ())
    role = role_of(made)
    assert role["denied_tools"] == ["shop.drop"]
    assert role["inspection"] == {"to_tool": {"personal": "block"}, "to_model": {"secret": "block"}}
    orders = entry(made, "shop.orders")
    assert (orders["during"], orders["obligations"]) == ("office", {"log": ["page"]})
    assert (
        orders["when"] == "(arguments.page < 100) and arguments.page >= 1 and arguments.page <= 3"
    )
