"""What the README promises somebody new: from a demonstration that runs to an approved action."""

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from playwright.async_api import async_playwright

PORTCULLIS = str(Path(sys.executable).parent / "portcullis")
SECONDS = 90
"""For the story, the link, the browser and the call. The README's five minutes are for reading."""


@pytest.mark.timeout(SECONDS + 60)
def test_the_first_approved_action_is_minutes_away(tmp_path):
    started = time.monotonic()
    with subprocess.Popen(
        [PORTCULLIS, "demo", "--state", "kept"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    ) as demo:
        try:
            told = _until(demo.stdout, "Ctrl-C ends it.")
            command = re.search(r"^ +\S+ (console -c \S+)", told, re.MULTILINE)[1].split()
            link = subprocess.run(
                [PORTCULLIS, *command, "--json"],
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=30,
                check=True,
            )
            asyncio.run(_approve(json.loads(link.stdout)["url"]))
            done = _until(demo.stdout, "went through")
            assert re.search(r"went through: T-\d{4}", done)
            assert time.monotonic() - started < SECONDS
        finally:
            demo.send_signal(signal.SIGINT)
            demo.communicate(timeout=30)


async def _approve(link: str) -> None:
    """What the newcomer does: open the link, look, press a, say why."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        try:
            page = await browser.new_page()
            await page.goto(link)
            await page.get_by_role("button", name="Log in with this link").click()
            await page.get_by_role("link", name="tickets.create").click()
            assert "A refund of O-5002" in await page.inner_text("main")
            await page.keyboard.press("a")
            await page.keyboard.type("the user asked for it")
            await page.keyboard.press("Enter")  # to the button
            await page.wait_for_timeout(800)
            await page.keyboard.press("Enter")
            await page.wait_for_url("**/?done=*")
        finally:
            await browser.close()


def _until(lines, wanted: str) -> str:
    said = ""
    for line in lines:
        said += line
        if wanted in line:
            return said
    raise AssertionError(said)
