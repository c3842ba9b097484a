"""Someone sits at an agent in its box. If these fail, they cannot, or it gets their terminal."""

import asyncio
import termios

import pytest

from needs import needs_boxes
from terminals import terminal

pytestmark = [pytest.mark.anyio, needs_boxes]

PUSH = """import fcntl, termios
try:
    fcntl.ioctl(0, termios.TIOCSTI, b"x")
    print("pushed in")
except OSError as error:
    print("refused:", "TIOCSTI", error.errno)
"""


def at_it(config, do):
    words = ("run", "--agent", "worker-1", "-c", str(config), "--cwd", "none", "--")
    with terminal(*words, "/bin/bash", "--norc", "-i") as screen:
        screen.expect("holds)")
        do(screen)
        screen.press("exit 5\r")
        code = screen.end()
        return code, screen.restored()


async def test_a_shell_has_a_terminal_with_its_size_its_keys_and_its_jobs(stage):
    def work(screen):
        screen.press("stty size\r")
        screen.expect("24 100")
        screen.press("sleep 100\r")
        screen.read(0.3)
        screen.press("\x03")  # is the agent's, not ours
        screen.press("echo after $?\r")
        screen.expect("after 130")
        screen.press("sleep 100\r")
        screen.read(0.3)
        screen.press("\x1a")
        screen.expect("Stopped")
        screen.press("kill %1; wait\r")
        screen.resize(40, 90)
        screen.process.send_signal(28)  # SIGWINCH, which the kernel sends to a foreground group
        screen.read(0.2)
        screen.press("stty size\r")
        screen.expect("40 90")

    assert await asyncio.to_thread(at_it, stage.config, work) == (5, True)


async def test_nothing_can_be_typed_into_a_terminal_from_the_box(stage):
    def work(screen):
        for line in PUSH.splitlines():
            screen.press(f"echo '{line}' >> /tmp/p.py\r")
        screen.press("python3 /tmp/p.py\r")
        screen.expect("refused: TIOCSTI")

    assert await asyncio.to_thread(at_it, stage.config, work) == (5, True)


@pytest.mark.parametrize("asked", [r"\033[6n", r"\033[5n\033[6n"], ids=["another", "alike"])
async def test_what_a_far_terminal_answers_to_the_agent_is_not_typed_into_the_users_shell(
    stage, asked
):
    def answered():
        words = ("run", "--agent", "worker-1", "-c", str(stage.config), "--cwd", "none", "--")
        with terminal(*words, "/usr/bin/printf", asked, far=0.3) as screen:
            code = screen.end()
            assert "\x1b[6n" in screen.text
            termios.tcsetattr(screen.slave, termios.TCSANOW, raw(screen.slave))
            return code, screen.waiting()

    assert await asyncio.to_thread(answered) == (0, 0)


def raw(terminal):
    """Its modes, so that what waits counts before somebody presses Enter."""
    modes = termios.tcgetattr(terminal)
    modes[3] &= ~termios.ICANON
    return modes
