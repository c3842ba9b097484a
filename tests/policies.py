"""Policies, calls and contexts for tests."""

import json
from pathlib import Path

import msgspec

from portcullis.catalogue.schema import fault
from portcullis.core.call import Action, Call, Context, Route
from portcullis.core.principal import Principal, PrincipalKind, Session
from portcullis.policy.engine import Input, RegorusEngine
from portcullis.policy.pdp import RegoPdp, compile_files
from portcullis.policy.source import SourceFile

SUPPORT = """\
version: 1
agents:
  support-1: {role: support, owner: team}
  idle-1: {role: idle}
roles:
  support:
    permissions: [{read: orders}, {write: tickets}]
    allowed_tools: [kb.search, files.read]
    denied_tools: [crm.delete, "danger.*"]
    models: [gpt-*, claude-*]
    provider_features: [openai.web_search]
    allowed_resources: ["files.file:///srv/docs/*", "files.memo://one"]
    allowed_prompts: [files.summarise]
    server_requests: [every.sampling/createMessage]
  idle: {}
tools:
  orders.search:
    resource: orders
    verb: read
    risk: read
    arguments:
      customer_id: {equals: session.subject.customer_id, log: clear}
      limit: {minimum: 1, maximum: 100}
      status: {enum: [open, closed]}
  orders.export: {resource: orders, verb: read, risk: external}
  tickets.create:
    resource: tickets
    verb: write
    risk: modify
    arguments:
      text: {max_length: 10, required: true}
      opened_by: {equals: session.user}
      kind: {equals: support}
  files.read:
    arguments:
      path: {prefix: /srv/docs/}
"""

PAIR = """\
version: 1
agents: {shop: {role: shop, owner: team}, helper: {role: helper, owner: team}}
roles:
  shop:
    allowed_tools: [kb.search, kb.read, orders.find]
    models: [gpt-*]
    allowed_prompts: [kb.hello]
    allowed_resources: ["kb.memo://one"]
  helper:
    allowed_tools: [kb.search, kb.write, orders.find]
    models: [gpt-5.2, claude-*]
    allowed_prompts: [kb.hello, kb.bye]
    allowed_resources: ["kb.memo://*"]
tools:
  orders.find:
    arguments:
      customer_id: {equals: session.subject.customer_id}
"""
"""Two agents that may do different things: ``kb.search`` and ``gpt-5.2`` are what both may."""


def policy_of(*texts, names=("main.yaml",)):
    """Compile policy texts as the files of one folder."""
    named = names if len(names) == len(texts) else [f"{n}.yaml" for n in range(len(texts))]
    files = tuple(
        SourceFile(f"policy/{name}", text) for name, text in zip(named, texts, strict=True)
    )
    return compile_files(files, fault, RegorusEngine())


def pdp_of(*texts):
    return RegoPdp(policy_of(*texts), RegorusEngine())


def call(action=Action.TOOL, target="orders.search", arguments=None, features=(), **more):
    server, _, name = target.partition(".")
    return Call(
        id="call",
        route=Route.MCP_HTTP,
        action=Action(action),
        server=server,
        name=name,
        method="method",
        arguments={} if arguments is None else arguments,
        payload=None,
        body=b"",
        features=features,
        **more,
    )


def session_of(agent="support-1", subject=None, grant=None, user="ada"):
    return Session(
        id="session",
        agent=agent,
        application="app",
        user=user,
        prompt="",
        subject={"customer_id": "C-1"} if subject is None else subject,
        grant=grant,
        opened_at=0.0,
        expires_at=1.0,
    )


def context(agent="support-1", session=None, kind=PrincipalKind.AGENT, bound_to=...):
    if bound_to is ...:
        bound_to = None if session is None else session.id
    principal = Principal(kind=kind, id=agent, credential="cred", expires_at=1.0, session=bound_to)
    return Context(principal=principal, session=session, source="t", trace_id="", received_at=0.0)


def chained(around, *delegators):
    """The same context, on behalf of other agents, nearest first."""
    principal = msgspec.structs.replace(around.principal, chain=delegators)
    return msgspec.structs.replace(around, principal=principal)


def write(folder: Path, text: str, name: str = "main.yaml") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    return folder


def asked_of(question):
    """An input document, as an engine is asked: what it is about stands in it."""
    about = question if isinstance(question, dict) else {}
    principal, server = about.get("principal"), about.get("server")
    agent = principal.get("id") if isinstance(principal, dict) else None
    names = about.get("names", [about.get("name")])
    names = names.values() if isinstance(names, dict) else names if isinstance(names, list) else []
    tools = [f"{server}.{name}" for name in names]
    return Input(json.dumps(question), agent if isinstance(agent, str) else "", tools)
