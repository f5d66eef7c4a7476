"""What the demo looks like, on a terminal and without one."""

import io

import pytest

from local.demo.progress import ProgressBars
from local.demo.show import Show, console_for, shortened


class Terminal(io.StringIO):
    """A terminal that keeps what was written to it."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    return Terminal()


def _play(show: Show) -> None:
    show.scene("A scene")
    show.say("A sentence [with brackets].")
    show.call("GET", "/api/v1/" + "x" * 150, 200)
    show.answer([("cause", "secret_wrong")])
    show.table(("Name", "Keys"), [("payments", 217), ("roots", 29)])
    with ProgressBars(show, ["Payments"]) as bars:
        bars.update("Payments", 25, None, 12.4, ended=False)
        bars.update("Payments", 217, 217, 93.0, ended=True)


def test_without_a_terminal_all_is_plain_lines() -> None:
    stream = io.StringIO()
    show = Show(console_for(stream))
    _play(show)
    text = stream.getvalue()
    assert not show.animated
    assert "\x1b" not in text
    assert "\r" not in text
    assert "A sentence [with brackets]." in text
    assert f"GET /api/v1/{'x' * 150} -> 200\n" in text
    assert "    payments    217\n    roots        29\n" in text
    assert "Payments         25 of ? keys, 12 keys/s\n" in text
    assert "Payments        217 of 217 keys, 93 keys/s, done\n" in text


def test_lines_of_progress_are_not_repeated() -> None:
    stream = io.StringIO()
    with ProgressBars(Show(console_for(stream)), ["Roots"]) as bars:
        for _ in range(3):
            bars.update("Roots", 0, None, 0.0, ended=False)
            bars.update("Roots", 10, 29, 8.0, ended=False)
        for _ in range(3):
            bars.update("Roots", 29, 29, 8.0, ended=True)
    assert len(stream.getvalue().splitlines()) == 2


def test_on_a_terminal_bars_move(terminal: Terminal) -> None:
    show = Show(console_for(terminal))
    _play(show)
    text = terminal.getvalue()
    assert show.animated
    assert "\x1b[1;36m 1  A scene" in text
    assert "217/217" in text


def test_no_color_is_honoured(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    _play(Show(console_for(terminal)))
    text = terminal.getvalue()
    assert "\x1b[1m 1  A scene" in text
    assert not [code for code in ("\x1b[3", "\x1b[1;3", "\x1b[9", "\x1b[4") if code in text]


def test_a_terminal_that_cannot_move_its_cursor_gets_lines(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    show = Show(console_for(terminal))
    _play(show)
    assert not show.animated
    assert "217 of 217 keys" in terminal.getvalue()


def test_ids_are_shortened_for_tables() -> None:
    assert shortened("grp_aebagbafaydqqcikbmgq2dyc") == "grp_aebagbaf…"
