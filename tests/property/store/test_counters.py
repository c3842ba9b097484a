"""If these fail, a counter lets through more than it counts, or forgets what was used.

Each counter is driven beside a plain model, with many reservations on their way at once.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from portcullis.core.limits import Amount, Over, Rate, Slot, Window, span
from portcullis.store.counters import LEASE
from portcullis.store.counters_local import LocalCounter
from portcullis.store.counters_sqlite import SharedCounter

CEILINGS = {"a": 50, "b": 120}
SECOND = 1_000_000
RATE = Rate("rate", 2 * SECOND, 4)
PLACES = 3
HOLD = 40.0


class Clock:
    time = 1_800_000_000.0

    def now(self):
        return self.time


class Counting(RuleBasedStateMachine):
    kind = LocalCounter

    @initialize()
    def begin(self):
        self.folder = Path(tempfile.mkdtemp(prefix="pc-counts-"))
        self.clock, self.loop = Clock(), asyncio.new_event_loop()
        self.open()
        self.used = {}  # by key and its window's end
        self.bucket, self.at = float(RATE.burst), self.clock.time  # a token bucket that is full
        self.held = {}  # reservation -> (its wants, when it was made, until when its place is kept)
        self.done = []
        self.names = 0

    def open(self):
        async def make():
            return self.kind(self.folder / "limits.db", self.clock)

        self.counter = self.run(make())

    def run(self, work):
        return self.loop.run_until_complete(work)

    def wants(self, amounts, *, rate, slot):
        ends_at = span(Window.MINUTE, self.clock.time)[1]
        found = [Amount(key, n, CEILINGS[key], ends_at) for key, n in sorted(amounts.items())]
        return [*found, *([RATE] if rate else []), *([Slot("slot", PLACES)] if slot else [])]

    def fits(self, want):
        if isinstance(want, Amount):
            used = self.used.get((want.key, want.ends_at), 0)
            return used + max(want.amount, 1) <= want.ceiling
        if isinstance(want, Rate):
            self.refill()
            return self.bucket >= 1 - 1e-6
        return len([1 for _, _, until in self.held.values() if until > self.clock.time]) < PLACES

    def refill(self):
        gone = (self.clock.time - self.at) / (RATE.interval / SECOND)
        self.bucket, self.at = min(self.bucket + gone, float(RATE.burst)), self.clock.time

    @rule(
        amounts=st.dictionaries(st.sampled_from("ab"), st.integers(0, 60), max_size=2),
        rate=st.booleans(),
        slot=st.booleans(),
    )
    def reserve(self, amounts, rate, slot):
        wants = self.wants(amounts, rate=rate, slot=slot)
        good = all(map(self.fits, wants))
        self.names += 1
        peeked = self.run(self.counter.peek(wants))
        made = self.run(self.counter.reserve(str(self.names), wants, hold=HOLD))
        assert isinstance(made, Over) != good
        assert isinstance(peeked, Over) != good
        if isinstance(made, Over):
            assert not self.fits(wants[made.which])
            assert made.resets_at >= self.clock.time
            return
        for want in wants:
            if isinstance(want, Amount):
                key = (want.key, want.ends_at)
                self.used[key] = self.used.get(key, 0) + want.amount
            elif isinstance(want, Rate):
                self.bucket -= 1
        place = self.clock.time + LEASE if slot else 0.0
        self.held[made.id] = (made, self.clock.time, place)

    def change(self, made, at, actual):
        late = self.clock.time >= at + HOLD
        for want, real in zip(made.wants, actual, strict=True):
            if isinstance(want, Amount) and want.ends_at > self.clock.time:
                change = real - want.amount
                if change > 0 or not late:
                    key = (want.key, want.ends_at)
                    self.used[key] = max(self.used[key] + change, 0)

    @rule(data=st.data())
    def settle(self, data):
        if not self.held:
            return
        name = data.draw(st.sampled_from(sorted(self.held)))
        made, at, _ = self.held.pop(name)
        actual = [data.draw(st.integers(0, 80)) for _ in made.wants]
        self.run(self.counter.settle(made, actual))
        self.change(made, at, actual)
        self.done.append(made)

    @rule(data=st.data())
    def release(self, data):
        if not self.held:
            return
        name = data.draw(st.sampled_from(sorted(self.held)))
        made, at, _ = self.held.pop(name)
        self.run(self.counter.release(made))
        self.change(made, at, [0] * len(made.wants))
        if RATE in made.wants and self.clock.time < at + HOLD:
            self.refill()
            self.bucket = min(self.bucket + 1, float(RATE.burst))
        self.done.append(made)

    @rule(data=st.data())
    def end_again(self, data):
        if self.done:
            self.run(self.counter.release(data.draw(st.sampled_from(self.done))))

    @rule(seconds=st.sampled_from([0.5, 1.0, 3.0, 20.0, 61.0]))
    def wait(self, seconds):
        self.clock.time += seconds

    @rule()
    def renew(self):
        kept = {
            name: (made, at, self.clock.time + LEASE)
            for name, (made, at, until) in self.held.items()
            if until > self.clock.time
        }
        self.run(self.counter.renew([made for made, _, _ in kept.values()]))
        self.held |= kept

    @invariant()
    def counts_are_the_models(self):
        if not hasattr(self, "counter"):
            return
        found = self.run(self.counter.read(list(CEILINGS)))
        now = span(Window.MINUTE, self.clock.time)[1]
        assert list(found) == [self.used.get((key, now), 0) for key in CEILINGS]

    def teardown(self):
        if hasattr(self, "counter"):
            self.run(self.counter.close())
            self.loop.close()
            shutil.rmtree(self.folder)


class Sharing(Counting):
    kind = SharedCounter

    @rule()
    def restart(self):
        """What is counted, and whose place it is, survives."""
        self.run(self.counter.close())
        self.open()


FEW = settings(
    max_examples=40,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestCounting = Counting.TestCase
TestCounting.settings = FEW
TestSharing = Sharing.TestCase
TestSharing.settings = settings(FEW, max_examples=15)
