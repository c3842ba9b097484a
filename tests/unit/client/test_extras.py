"""If this fails, somebody without a framework is not told what to install for its adapter."""

import importlib
import sys

import pytest

ADAPTERS = {
    "langchain": ("langchain_core.tools", "langchain"),
    "openai_agents": ("agents", "openai-agents"),
    "pydantic_ai": ("pydantic_ai", "pydantic-ai"),
}


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_an_adapter_without_its_framework_names_the_extra(monkeypatch, adapter):
    framework, extra = ADAPTERS[adapter]
    name = f"portcullis.client.adapters.{adapter}"
    monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, framework, None)  # as if it were not installed
    with pytest.raises(ImportError, match=rf"install -e '\.\[{extra}\]'"):
        importlib.import_module(name)
