"""What a decision costs: it is asked of every call, so it must not be felt."""

import time

from portcullis.core.call import RiskClass
from portcullis.core.containment import ArgumentModel, ArgumentRole, ResultField, ToolModel
from portcullis.provenance.judge import assess
from portcullis.provenance.labels import Labels
from portcullis.provenance.learning import learn
from portcullis.provenance.words import Words

MAIL = ToolModel(
    tool="mail.send_email",
    risk=RiskClass.EXTERNAL,
    arguments={
        "to": ArgumentModel(role=ArgumentRole.DESTINATION),
        "subject": ArgumentModel(role=ArgumentRole.PAYLOAD),
        "body": ArgumentModel(role=ArgumentRole.PAYLOAD),
        "attachments": ArgumentModel(role=ArgumentRole.OBJECT),
    },
)
CONTACTS = ToolModel(
    tool="mail.contacts",
    results=(ResultField(path=("[]", "email"), trusted=(ArgumentRole.DESTINATION,)),),
)
PROMPT = "Please send the file 24 to alice@ours.example and to the team, see you at 10:30. "
BODY = "Dear all, we meet on 2024-05-15 at 10:30 and talk about the last quarter. " * 12
CALL = {
    "to": ["alice@ours.example", "p7@ours.example"],
    "subject": "Meeting",
    "body": BODY,
    "attachments": ["24"],
}
TARGET_MICROSECONDS = 100


def median_microseconds(words, labels, times=1000):
    assert assess(MAIL, CALL, words, labels).questions == ()
    taken = []
    for _ in range(times):
        begin = time.thread_time_ns()
        assess(MAIL, CALL, words, labels)
        taken.append(time.thread_time_ns() - begin)
    return sorted(taken)[times // 2] / 1000


def test_a_mail_of_a_page_is_judged_in_a_tenth_of_a_millisecond():
    labels = learn(CONTACTS, [{"email": f"p{n}@ours.example"} for n in range(50)], Labels())
    median = median_microseconds(Words.of([PROMPT]), labels)
    print(f"median of a decision: {median:.1f} us")  # noqa: T201 - the figure
    assert median < 3 * TARGET_MICROSECONDS  # a busy machine's margin


def test_a_decision_costs_the_same_however_much_was_said_and_learned():
    few = learn(CONTACTS, [{"email": f"p{n}@ours.example"} for n in range(10)], Labels())
    many = learn(CONTACTS, [{"email": f"p{n}@ours.example"} for n in range(1000)], Labels())
    short = median_microseconds(Words.of([PROMPT]), few)
    long = median_microseconds(Words.of([PROMPT * 200]), many)
    assert long < 3 * short, f"{short} us with little, {long} us with much"
