"""Everyday values for the slots of benign text and of carriers; none of them is a span."""

from collections.abc import Callable

from detection_cases.grammar import DIGITS, HEX, Dice, Value, listed

WORDS: dict[str, list[str]] = {
    "first": listed(
        "Marta Jonas Priya Owen Lucia Tomasz Aiko Bram Selin Declan Ines Rafael Greta Yusuf "
        "Nadia Emil Chloe Kofi Hannah Dmitri Paula Sanjay Freya Luca"
    ),
    "last": listed(
        "Okafor Lindqvist Marchetti Novak Brandt Delgado Fontaine Achebe Whitlock Tanaka "
        "Petrov Vandermeer Castellano Hughes Yilmaz Bergstrom Kowalski Ferreira Oduya Sato"
    ),
    "city": listed(
        "Leipzig Porto Gdansk Bristol Lyon Ghent Turin Malmo Denver Osaka Utrecht Halifax "
        "Valencia Graz Cork Boise Nantes Tampere Bergamo Adelaide"
    ),
    "company": listed(
        "Nordwind Logistics|Halden Foods|Kestrel Analytics|Bluefjord Energy|Oakline Bank|"
        "Pinecrest Dental|Solano Textiles|Vantage Robotics|Marlow & Reed|Tidewater Media|"
        "Copperfield Labs|Arbor Health|Quillon Software|Zephyr Air Cargo",
        "|",
    ),
    "product": listed(
        "X200 scanner|Aria headset|Trailhead tent|Lumen desk lamp|Pulse 4 watch|"
        "Harbor backup plan|Cobalt CRM|Fern espresso machine|Delta e-bike|Mosaic router|"
        "Sable winter jacket|Onyx label printer",
        "|",
    ),
    "service": listed(
        "billing-api checkout-web auth-proxy report-worker search-indexer mail-relay "
        "image-resizer ledger-sync session-store feature-flags"
    ),
    "weekday": listed("Monday Tuesday Wednesday Thursday Friday Saturday Sunday"),
    "month": listed(
        "January February March April May June July August September October November December"
    ),
    "domain": listed(
        "example.com example.org acme-retail.test nordwind.example corp.internal "
        "docs.example.net status.example.io shop.example.eu"
    ),
    "path": listed(
        "guide/setup reports/2024/q3 help/returns blog/release-notes wiki/onboarding "
        "status/incidents api/v2/orders products/1182 legal/terms events/autumn"
    ),
    "lang": listed("Python Go Rust TypeScript Java Kotlin Ruby SQL Bash"),
    "dish": listed(
        "lentil soup|mushroom risotto|apple crumble|fish tacos|ratatouille|carrot cake|"
        "chickpea curry|potato dumplings",
        "|",
    ),
    "team": listed(
        "Platform|Customer Success|Finance|Data|Mobile|Legal|Facilities|Procurement", "|"
    ),
    "status": listed("open pending closed resolved in_progress on_hold escalated"),
    "level": listed("INFO INFO INFO DEBUG WARN ERROR"),
    "topic": listed(
        "photosynthesis|compound interest|the Hanseatic League|plate tectonics|sourdough|"
        "Bayesian inference|the French Revolution|binary search|jet lag|monetary policy|"
        "beekeeping|the water cycle|Impressionism|garbage collection in Java",
        "|",
    ),
}


def _number(length: int) -> Callable[[Dice], str]:
    return lambda dice: str(dice.between(1, 9)) + dice.text(DIGITS, length - 1)


def _date(dice: Dice) -> str:
    return f"20{dice.between(19, 25)}-{dice.between(1, 12):02d}-{dice.between(1, 28):02d}"


def _time(dice: Dice) -> str:
    return f"{dice.below(24):02d}:{dice.below(60):02d}"


def _uuid(dice: Dice) -> str:
    lengths = (8, 4, 3, 3, 12)
    parts = [dice.text(HEX, length) for length in lengths]
    return f"{parts[0]}-{parts[1]}-4{parts[2]}-a{parts[3]}-{parts[4]}"


MADE: dict[str, Callable[[Dice], str]] = {
    **{f"n{length}": _number(length) for length in range(1, 11)},
    "date": _date,
    "time": _time,
    "ts": lambda dice: f"{_date(dice)}T{_time(dice)}:{dice.below(60):02d}Z",
    "money": lambda dice: f"{dice.between(3, 9800)}.{dice.below(100):02d}",
    "pct": lambda dice: f"{dice.below(100)}.{dice.below(10)}%",
    "hex7": lambda dice: dice.text(HEX, 7),
    "hex40": lambda dice: dice.text(HEX, 40),
    "hex64": lambda dice: dice.text(HEX, 64),
    "uuid": _uuid,
    "ip": lambda dice: f"10.{dice.below(256)}.{dice.below(256)}.{dice.between(1, 254)}",
    "version": lambda dice: f"{dice.below(9)}.{dice.below(30)}.{dice.below(15)}",
    "name": lambda _: "{first} {last}",
    "email": lambda dice: f"{dice.pick(WORDS['first']).lower()}@{dice.pick(WORDS['domain'])}",
    "url": lambda _: "https://{domain}/{path}",
}


def plain(dice: Dice, more: dict[str, list[str]] | None = None) -> Callable[[str], Value | None]:
    """The lookup of everyday slots, with more banks before them."""

    def lookup(name: str) -> Value | None:
        if more and name in more:
            return Value(dice.pick(more[name]))
        if name in WORDS:
            return Value(dice.pick(WORDS[name]))
        if name in MADE:
            return Value(MADE[name](dice))
        return None

    return lookup
