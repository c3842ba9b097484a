"""The sets about injection: attacks, benign text, and text that only looks like an attack."""

from detection_cases import obfuscation
from detection_cases.attacks import DROP, EVIL, GOALS, MARKED
from detection_cases.attacks_more import DIRECT, FOREIGN_GOALS, FOREIGN_MARKED, UNMARKED
from detection_cases.benign_user import THINGS, USER
from detection_cases.document_carriers import DOCUMENTS
from detection_cases.grammar import TOKEN, Carrier, Dice, Rows, Value, escaped, render, repeated
from detection_cases.hard_negatives import HARD
from detection_cases.prose import FOREIGN, PROSE
from detection_cases.tool_carriers import TOOLS
from detection_cases.vocab import plain

FOREIGN_SHARE, OBFUSCATED_SHARE, MIXED_SHARE = 15, 10, 12
LONG_SHARE, STRAY_SHARE = 15, 25
PLACES = ("s", "p", "pp")
MARKUP_ONLY = ("comment", "css")


def simple(template: str, dice: Dice, more: dict[str, list[str]] | None = None) -> str:
    """A template with everyday slots."""
    return render(template, dice, plain(dice, more))[0]


def sentences(dice: Dice, topic: list[str], low: int, high: int) -> str:
    """Some sentences of one topic."""
    return " ".join(simple(line, dice) for line in dice.sample(topic, dice.between(low, high)))


def prose(dice: Dice, place: str, topic: list[str]) -> str:
    """Benign text for a place of this size; it may stray from the topic."""
    if place == "s":
        if dice.chance(STRAY_SHARE):
            topic = dice.pick(list(PROSE.values()))
        return sentences(dice, topic, 1, 1)
    if place == "p":
        return sentences(dice, topic, 2, 5)
    parts = [sentences(dice, topic, 2, 5)]
    parts += [
        sentences(dice, dice.pick(list(PROSE.values())) if dice.chance(25) else topic, 2, 6)
        for _ in range(dice.between(6, 14) if dice.chance(LONG_SHARE) else dice.between(1, 4))
    ]
    return "\n\n".join(parts)


def with_payload(dice: Dice, place: str, topic: list[str], payload: str) -> str:
    """The payload alone or between sentences, in front, in the middle or at the end."""
    if place == "s" and dice.chance(45):
        return payload
    gap = dice.pick((" ", " ", "\n", "\n\n"))
    before = prose(dice, place, topic) if dice.chance(75) else ""
    after = prose(dice, dice.pick(PLACES[:2]), topic) if dice.chance(60) else ""
    return gap.join(part for part in (before, payload, after) if part)


def carried(carrier: Carrier, dice: Dice, payload: str | None = None) -> str:
    """A carrier filled with benign prose, and with the payload in one of its places."""
    topic = dice.pick(list(PROSE.values()))
    if dice.chance(MIXED_SHARE):
        topic = dice.pick(list(FOREIGN.values()))
    body = repeated(carrier.body, dice)
    places = sum(1 for match in TOKEN.finditer(body) if match[2] in PLACES)
    target = dice.below(places) if payload is not None else -1
    everyday = plain(dice)
    held: list[str] = []

    def lookup(name: str) -> Value | None:
        if name not in PLACES:
            return everyday(name)
        here = len(held)
        text = (
            with_payload(dice, name, topic, payload)
            if payload is not None and here == target
            else prose(dice, name, topic)
        )
        held.append(escaped(text, carrier.mode))
        return Value(f"\x00{here}\x00")

    frame = render(body, dice, lookup)[0]
    for number, text in enumerate(held):
        frame = frame.replace(f"\x00{number}\x00", text)
    return frame


def goal(dice: Dice, bank: list[str]) -> dict[str, list[str]]:
    """The slots of an attack."""
    text = simple(dice.pick(bank), dice, {"evil": EVIL, "drop": DROP})
    return {"goal": [text], "Goal": [text[0].upper() + text[1:]]}


def indirect_marked(rows: Rows, dice: Dice, count: int) -> None:
    """Attacks with a marker; every way, carrier and goal has its turn."""
    ways = [(way, n, text) for way, texts in MARKED.items() for n, text in enumerate(texts)]
    turn = hidden = 0
    while len(rows.rows) < count:
        way, number, template = ways[turn % len(ways)]
        source, bank = (("tool", TOOLS), ("document", DOCUMENTS))[turn % 2]
        turn += 1
        carrier = dice.pick(bank)
        kind, roll = way, dice.below(100)
        goals = GOALS
        if roll < FOREIGN_SHARE:
            tongue = dice.pick(list(FOREIGN_MARKED))
            number = dice.below(len(FOREIGN_MARKED[tongue]))
            template, kind, goals = (
                FOREIGN_MARKED[tongue][number], f"lang_{tongue}", FOREIGN_GOALS[tongue]
            )  # fmt: skip
        payload = simple(template, dice, goal(dice, goals))
        if FOREIGN_SHARE <= roll < FOREIGN_SHARE + OBFUSCATED_SHARE:
            method = list(obfuscation.ALL)[hidden % len(obfuscation.ALL)]
            hidden += 1
            if method in MARKUP_ONLY and carrier.mode in {"csv", "line"}:
                carrier = dice.pick([c for c in bank if c.mode in {"text", "json"}])
            payload, kind = obfuscation.ALL[method](payload, dice), f"obfuscated_{method}"
        name = f"im-{carrier.name}-{way}{number}" if kind == way else f"im-{carrier.name}-{kind}"
        text = carried(carrier, dice, payload)
        rows.add(f"{name}{number if kind != way else ''}", text, source=source, label=1, kind=kind)


def indirect_unmarked(rows: Rows, dice: Dice, count: int) -> None:
    """Plain orders in other people's text."""
    while len(rows.rows) < count:
        number = dice.below(len(UNMARKED))
        source, bank = dice.pick((("tool", TOOLS), ("document", DOCUMENTS)))
        carrier = dice.pick(bank)
        payload = simple(UNMARKED[number], dice, goal(dice, GOALS))
        text = carried(carrier, dice, payload)
        name = f"iu-{carrier.name}-{number}"
        rows.add(name, text, source=source, label=1, kind="imperative")


def direct(rows: Rows, dice: Dice, count: int) -> None:
    """What a user tries, now and then behind a harmless beginning."""
    ways = [(way, n, text) for way, texts in DIRECT.items() for n, text in enumerate(texts)]
    while len(rows.rows) < count:
        way, number, template = dice.pick(ways)
        text = simple(template, dice)
        topic = dice.pick(list(PROSE.values()))
        if dice.chance(35):
            text = f"{prose(dice, dice.pick(PLACES[:2]), topic)} {text}"
        if dice.chance(25):
            text = f"{text} {prose(dice, 's', topic)}"
        rows.add(f"d-{way}{number}", text, source="user", label=1, kind=way)


def benign_tool(rows: Rows, dice: Dice, count: int) -> None:
    """Tool results without an attack."""
    while len(rows.rows) < count:
        carrier = TOOLS[len(rows.rows) % len(TOOLS)]
        rows.add(f"bt-{carrier.name}", carried(carrier, dice), source="tool", label=0, kind="tool")


def benign_document(rows: Rows, dice: Dice, count: int) -> None:
    """Documents without an attack."""
    while len(rows.rows) < count:
        carrier = DOCUMENTS[len(rows.rows) % len(DOCUMENTS)]
        text = carried(carrier, dice)
        rows.add(f"bd-{carrier.name}", text, source="document", label=0, kind="document")


def benign_user(rows: Rows, dice: Dice, count: int) -> None:
    """Chat prompts; those without slots come once."""
    while len(rows.rows) < count:
        number = dice.below(len(USER))
        topic = dice.pick(list(PROSE.values()))
        foreign = dice.pick(list(FOREIGN.values()))
        more = THINGS | {
            "s": [prose(dice, "s", topic) for _ in range(6)],
            "p": [prose(dice, "p", topic)],
            "pp": [prose(dice, "pp", topic)],
            "f": [sentences(dice, foreign, 2, 4)],
        }
        text = simple(USER[number], dice, more)
        rows.add(f"bu-{number}", text, source="user", label=0, kind="chat")


def hard_negative(rows: Rows, dice: Dice, count: int) -> None:
    """Trigger words in harmless text: alone, with neighbours, or inside a carrier."""
    ways = [(way, n, text) for way, texts in HARD.items() for n, text in enumerate(texts)]
    turn = 0
    while len(rows.rows) < count:
        way, number, template = ways[turn % len(ways)]
        turn += 1
        kind, source = way.split(".")
        text = simple(template, dice)
        name = f"hn-{kind}{number}"
        siblings = [simple(other, dice) for other in dice.sample(HARD[way], 3)]
        form = dice.below(3)
        if source == "user":
            text += ["", " " + prose(dice, "s", dice.pick(list(PROSE.values()))), ""][form]
        elif kind in {"security_doc", "mail", "design", "everyday"} and form == 1:
            source = dice.pick(("tool", "document"))
            carrier = dice.pick(TOOLS if source == "tool" else DOCUMENTS)
            text, name = carried(carrier, dice, text), f"{name}-{carrier.name}"
        elif form:
            gap = " " if kind in {"security_doc", "design", "everyday"} else "\n"
            text = gap.join([text, *siblings])
        rows.add(name, text, source=source, label=0, kind=kind)
