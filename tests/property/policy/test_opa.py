"""What our compiler makes, decided by the real OPA and by our engine: the same, whatever is asked.

An answer that is no answer (undefined, an error) is a deny in the gate, so it compares as one.
"""

import io
import json
import tarfile
from collections import Counter

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from effort import NIGHT
from opa import needs_opa, opa, opa_server
from policies import asked_of
from policy_questions import drawn, of, questions
from portcullis.core.release import File
from portcullis.policy.bundles.layout import built
from portcullis.policy.engine import DECISION, PROFILE, VISIBLE, EngineFault, RegorusEngine

POLICIES = 400 if NIGHT else 24
EACH = 25
"""Questions to each policy: 10 000 by night."""

pytestmark = needs_opa


def settled(entry, answer):
    """An answer as the gate takes it: what is undefined or an error denies, and shows nothing."""
    if entry == DECISION and (not isinstance(answer, dict) or "allow" not in answer):
        return {"allow": False}
    if entry == VISIBLE and not isinstance(answer, list):
        return []
    return None if answer == "<undefined>" else answer


def ours(engine, policy, entry, asked):
    try:
        text = engine.evaluate(policy, entry, asked_of(asked))
    except EngineFault:
        return None
    return json.loads(text)


@pytest.mark.nightly
def test_opa_and_the_gate_decide_alike(record_property):
    engine, seen = RegorusEngine(), Counter()
    with opa() as peer:
        for seed in range(POLICIES):
            policy, source = drawn(seed)
            peer.load(policy.bundle)
            for number, asked in enumerate(questions(source, EACH)):
                for entry in (DECISION, VISIBLE, PROFILE):
                    question = of(entry, asked)
                    said = peer.ask(entry, question)
                    theirs = settled(entry, said.get("result"))
                    mine = settled(entry, ours(engine, policy, entry, question))
                    if entry == DECISION:
                        seen["allow" if mine["allow"] else mine.get("code", "undefined")] += 1
                        if "code" not in theirs and not theirs["allow"]:
                            mine = {"allow": mine["allow"]}
                    assert mine == theirs, (seed, number, entry, question, said)
    record_property("decisions", dict(seen))
    codes = {"allow", "PC2004", "PC2006", "PC3001", "PC3002", "PC3005", "PC3009", "PC3012"}
    assert codes <= set(seen), seen


def test_a_policy_that_is_not_the_same_is_noticed():
    policy, source = drawn(0)
    wider = policy.bundle.data.replace('"denied_tools":{', '"denied_tools":{"one.a":"",', 1)
    assert wider != policy.bundle.data
    engine, found = RegorusEngine(), 0
    with opa() as peer:
        peer.load(type(policy.bundle)(policy.bundle.modules, wider))
        for asked in questions(source, 200):
            question = of(DECISION, asked)
            said = settled(DECISION, peer.ask(DECISION, question).get("result"))
            found += said.get("code") != ours(engine, policy, DECISION, question).get("code")
    assert found


def test_a_release_s_signed_bundle_decides_in_opa_as_its_policy_does_here(tmp_path):
    policy, source = drawn(1)
    key = ec.generate_private_key(ec.SECP256R1())
    signed = built(policy.bundle, (File(name="main.yaml", text="version: 1"),), 1, key, 1)
    with tarfile.open(fileobj=io.BytesIO(signed), mode="r:gz") as archive:
        archive.extractall(tmp_path, filter="data")
    engine, compared = RegorusEngine(), 0
    with opa_server(tmp_path) as url, httpx2.Client(base_url=url, timeout=10) as http:
        for asked in questions(source, 60):
            question = of(DECISION, asked)
            answer = http.post("/v1/data/portcullis/decision", json={"input": question})
            if answer.status_code == 200:
                mine = ours(engine, policy, DECISION, question)
                assert answer.json().get("result") == mine
                compared += 1
    assert compared > 40
