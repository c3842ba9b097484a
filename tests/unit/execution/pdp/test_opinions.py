"""If these fail, silence or nonsense of another PDP is taken for a yes, or it learns too little."""

import json
import time

import pytest

from doubting import doubting
from policies import call, context, session_of
from portcullis.core.call import Action
from portcullis.core.errors import Problem
from portcullis.execution.pdp.asking import Asking
from portcullis.execution.pdp.authzen import AuthzenOpinion
from portcullis.execution.pdp.opa import OpaOpinion
from portcullis.execution.secrets import EnvSecrets, Secrets
from portcullis.wire import authzen

pytestmark = pytest.mark.anyio
TOOL = frozenset({Action.TOOL})
AROUND = context("support-1", session_of())
ASKED = call(arguments={"limit": 3})


class Inputs:
    def question(self, asked, around):
        return json.dumps({"name": asked.name, "principal": around.principal.id}).encode()


@pytest.fixture(scope="module")
def doubter():
    with doubting() as made:
        yield made


@pytest.fixture(params=["opa", "authzen"])
async def opinion(request, doubter):
    doubter.again()
    doubter.asked.clear()
    made = Asking(
        "other",
        f"{doubter.url}/{request.param}",
        secrets=Secrets({"env": EnvSecrets({"PDP_TOKEN": "token-7a"})}),
        credential="env:PDP_TOKEN",
        authorities=None,
        seconds=0.3,
    )
    if request.param == "opa":
        yield OpaOpinion("other", TOOL, made, Inputs())
    else:
        yield AuthzenOpinion("other", TOOL, made)
    await made.close()


def answering(opinion, *, allow):
    return {"result": allow} if isinstance(opinion, OpaOpinion) else {"decision": allow}


async def test_a_yes_is_a_yes_and_a_no_a_no(opinion, doubter):
    for allow in (True, False):
        doubter.says(answering(opinion, allow=allow))
        assert await opinion.allows(ASKED, AROUND) is allow
    (path, headers, _) = doubter.asked[0]
    assert path in {"/opa", "/authzen"}
    assert headers["Authorization"] == "Bearer token-7a"


@pytest.mark.parametrize("allow", ["true", 1, None, [True], {}, {"allow": "yes"}])
async def test_what_is_not_a_boolean_is_no_answer(opinion, doubter, allow):
    doubter.says(answering(opinion, allow=allow))
    with pytest.raises(Problem) as problem:
        await opinion.allows(ASKED, AROUND)
    assert problem.value.code == "PC3037"


async def test_nobody_waits_longer_than_the_deadline(opinion, doubter):
    doubter.says(answering(opinion, allow=True), seconds=1.0)
    began = time.monotonic()
    with pytest.raises(Problem, match=r"does not answer within 0\.3 s"):
        await opinion.allows(ASKED, AROUND)
    assert time.monotonic() - began < 0.9


async def test_who_is_not_there_says_nothing(doubter):
    asking = Asking(
        "gone",
        "http://127.0.0.1:1/x",
        secrets=Secrets({}),
        credential=None,
        authorities=None,
        seconds=1,
    )
    with pytest.raises(Problem) as problem:
        await AuthzenOpinion("gone", TOOL, asking).allows(ASKED, AROUND)
    assert (problem.value.code, problem.value.detail[:12]) == ("PC3037", "the PDP gone")
    await asking.close()


async def test_an_opa_may_answer_with_an_object_and_undefined_is_no(doubter):
    asking = Asking(
        "opa", doubter.url, secrets=Secrets({}), credential=None, authorities=None, seconds=2
    )
    opa = OpaOpinion("opa", TOOL, asking, Inputs())
    for answer, allow in (
        ({"result": {"allow": True, "rule": "x"}}, True),
        ({"result": {"allow": False}}, False),
        ({}, False),
        ({"decision_id": "1"}, False),
    ):
        doubter.says(answer)
        assert await opa.allows(ASKED, AROUND) is allow
    assert doubter.asked[-1][2] == {"input": {"name": "search", "principal": "support-1"}}
    await asking.close()


@pytest.mark.parametrize(
    "asked",
    [
        call(arguments={"limit": 3}),
        call(Action.MODEL, ".gpt-5", features=("openai.web_search",)),
        call(Action.RESOURCE, "files.file:///a.b"),
        call(Action.PROMPT, "files.hello"),
        authzen.call_of(
            "c", "GET", authzen.Entity(type="url", id="https://api.x.example:8443/v1/a")
        ),
        authzen.call_of("c", "connect", authzen.Entity(type="host", id="x.example:22")),
    ],
    ids=lambda one: one.action.value,
)
def test_the_question_that_we_ask_is_the_one_that_we_would_answer(asked):
    said = authzen.question_of(asked, AROUND)
    resource = authzen.Entity(**said["resource"])
    read = authzen.call_of("c", said["action"]["name"], resource)
    assert (read.action, read.server, read.name) == (asked.action, asked.server, asked.name)
    assert (read.arguments, read.features) == (asked.arguments, asked.features)
    assert authzen.session_of(authzen.Entity(**said["subject"])) == "session"
