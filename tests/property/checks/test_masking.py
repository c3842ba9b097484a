"""If these fail, a text that went through placeholders comes back as another text, or a stream
tells what a whole answer would not."""

import anyio
from hypothesis import given, settings
from hypothesis import strategies as st

from firewalls import CARD, KEY, MAIL, PATTERNS, Clock, Wall, chat, profile, said, streamed
from portcullis.checks.looking import Look
from portcullis.checks.restoring import restored
from portcullis.checks.rules import Rules
from portcullis.checks.treat import Span, Substitutes, merged, placeholders
from portcullis.core.inspection import Channel, Treatment
from portcullis.core.verdict import PASS
from portcullis.inspection.normalise import layers
from portcullis.store.vaults import LocalVaults

PARTS = [CARD, MAIL, KEY, "<EMAIL_ADDRESS_1>", "<CREDIT_CARD_1>", "<LITERAL_1>", "<A_", "_1>", "<"]
SIGNS = st.characters(exclude_characters="/\\")  # in links nothing comes back
TEXTS = st.lists(st.sampled_from(PARTS) | st.text(SIGNS, max_size=5), max_size=12).map("".join)


def hidden(text, vault):
    found = [Span(m.start, m.end, m.entity, Treatment.TOKENISE) for m in PATTERNS.scan([text])[0]]
    spans = merged([*found, *placeholders(text, Treatment.TOKENISE)])
    means = Substitutes(vault, lambda value: value.hex())
    look = Look(
        channel=Channel.TO_MODEL,
        rules=Rules((profile(),), {}),
        substitutes=means,
        wrap=lambda inner: inner,
    )
    return look.rewritten(text, spans)


@given(st.lists(TEXTS, min_size=1, max_size=4))
@settings(max_examples=150, deadline=None)
def test_what_was_hidden_comes_back_as_it_was(texts):
    vault = LocalVaults(Clock()).vault("s1")
    masked = [hidden(text, vault) for text in texts]
    assert [restored(text, vault, ()) for text in masked] == texts
    assert not any(PATTERNS.scan(masked))


WALL = Wall(from_model={"secret": "mask", "personal": "hash", "exfiltration": "mask"})
WALL.vaults.vault("s1").hide("CREDIT_CARD", CARD)


def plain(text):
    """Whether it reads as it stands: what is disguised ends a stream instead."""
    found = layers(text)
    return text and found.text == text and not found.decoded


@given(TEXTS.filter(plain), st.lists(st.integers(0, 200), max_size=30))
@settings(max_examples=150, deadline=None)
def test_a_stream_becomes_what_the_whole_answer_becomes(text, places):
    anyio.run(_both_ways, text, sorted({place % len(text) for place in places} - {0}))


async def _both_ways(text, places):
    pieces = [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]
    whole = await WALL.result(chat(), said(text))
    expected = whole.payload["choices"][0]["message"]["content"] if whole != PASS else text
    out, denied = streamed(WALL.stream(), pieces)
    assert denied is None
    assert without(begun(text, len(pieces[0])), out) == expected


def begun(text, first):
    """What goes on of a long datum that the first piece ends within: four characters at most."""
    for found in PATTERNS.scan([text])[0]:
        part = text[found.start : first] if first < found.end else ""
        if found.entity == "API_KEY" and part.isalnum() and len(part) <= 4:
            return part
    return ""


def without(part, out):
    return out.replace(f"{part}[API_KEY]", "[API_KEY]", 1) if part else out
