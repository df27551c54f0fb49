"""The live view shows a run from its events, costs next to nothing, and leaves the terminal as it was."""

import io
import signal
import subprocess
import sys
import time

import pytest
from rich.console import Console
from rich.live import Live

from interp_cli.dashboard import DashboardSink, PlainSink, Redrawer, live_view, pause
from interp_cli.dashboard_panel import Panel, clock_text, plain_line, rate_text
from interp_cli.run_view import Curve, RunView, Task
from interp_registry.events import HeatMapEvent, Message, NullSink, Progress, Scalar, State
from interp_registry.figures import HeatMap

MAP = HeatMap([[(i * j) % 7 / 7 for j in range(24)] for i in range(24)], title="layers")


def terminal(width=90, height=34):
    return Console(
        file=io.StringIO(), force_terminal=True, color_system="truecolor", width=width, height=height, no_color=False
    )


def view_of_a_run():
    view = RunView()
    view.take(State("running", info={"command": "align", "device": "cpu"}, time=100.0))
    for step in range(11):
        view.take(Progress("pairs", 10.0 * step, 400, "pairs", time=100.0 + step))
        view.take(Scalar("loss/train", 1.0 / (step + 1), step, time=100.0 + step))
    view.take(Scalar("system/memory", 1.25, 10, time=110.0))
    view.take(Message("model b is slow", "info", time=110.0))
    return view


def drawn(view, console=None, now=110.0):
    console = console or Console(width=90, height=30, color_system=None)
    with console.capture() as captured:
        console.print(Panel(view, now))
    return captured.get()


def test_the_dashboard_shows_command_progress_rate_eta_scalars_memory_and_messages():
    shown = drawn(view_of_a_run())
    head, task, curve, message = shown.splitlines()
    assert head == "align  running  cpu  1.2 GiB  0:10"
    assert task.startswith("pairs  ━━━")
    assert task.endswith("25 %  100/400 pairs  10 pairs/s  eta 0:30")
    assert curve.split() == ["loss/train", "0.09091", "█▄▃▂▁▁▁▁▁▁▁", "step", "10"]
    assert message == "model b is slow"


def test_a_heat_map_is_drawn_again_only_when_its_data_or_the_width_change():
    view, panel = view_of_a_run(), None
    view.take(HeatMapEvent("m", MAP))
    panel, console = Panel(view, 110.0), terminal()
    for _ in range(5):
        view.take(Progress("pairs", 110, 400))
        console.print(panel)
    assert panel.heat_maps_drawn == 1
    view.take(HeatMapEvent("m", HeatMap([[1.0, 2.0]])))
    console.print(panel)
    assert panel.heat_maps_drawn == 2
    console.width = 70
    console.print(panel)
    assert panel.heat_maps_drawn == 3


def test_a_heat_map_without_room_is_left_out_and_nothing_is_taller_than_the_terminal():
    view = view_of_a_run()
    view.take(HeatMapEvent("m", MAP))
    assert "layers" in drawn(view, terminal(height=34))
    small = drawn(view, terminal(height=10))
    assert "layers" not in small
    for k in range(50):
        view.take(Scalar(f"scalar {k}", 1.0))
    assert len(drawn(view, terminal(height=10)).splitlines()) <= 10


def test_redraws_take_under_one_percent_of_the_process():
    view, console = view_of_a_run(), terminal()
    redrawer = Redrawer(Live(Panel(view), console=console, auto_refresh=False), view)
    sink = DashboardSink(view, console)
    began_wall, began_cpu, step = time.monotonic(), time.process_time(), 0
    redrawer.start()
    while time.monotonic() - began_wall < 4.0:
        step += 1
        sink.progress("train", step, None, "steps")
        if step % 200 == 0:
            sink.heat_map("layers", MAP)
        sum(range(2000))
    cpu = time.process_time() - began_cpu
    used = redrawer.cpu_seconds
    redrawer.stop()
    assert redrawer.frames >= 3
    assert used < 0.01 * max(cpu, 1.0) + 0.012, f"{used:.4f} s of {cpu:.2f} s in {redrawer.frames} frames"


@pytest.mark.parametrize(
    ("cost", "busy", "seconds"),
    [
        (0.0, 1.0, 0.25),
        (0.001, 1.0, 0.25),
        (0.001, 0.4, 0.5),
        (0.001, 8.0, 0.25),
        (0.001, 0.0, 1.0),
        (0.01, 0.5, 2.0),
    ],
)
def test_the_pause_between_redraws_follows_what_they_cost_and_what_the_process_uses(cost, busy, seconds):
    assert pause(cost, busy) == pytest.approx(seconds)


def test_a_progress_report_costs_microseconds():
    view = RunView()
    sink = DashboardSink(view, terminal())
    before = time.process_time()
    for step in range(20_000):
        sink.progress("train", step, 20_000, "steps")
    assert (time.process_time() - before) / 20_000 < 20e-6


def test_without_a_terminal_there_is_a_plain_line_now_and_then_and_messages_at_once():
    console = Console(file=io.StringIO(), width=60)
    sink = PlainSink(console, seconds=0.0)
    sink.progress("train", 100, 1000, "steps")
    sink.scalar("loss", 0.031, 100)
    sink.progress("train", 100, 1000, "steps")
    sink.message("disk is [bold]slow[/]", "warning")
    sink.message("details", "debug")
    assert console.file.getvalue().splitlines() == [
        "train 100/1000 steps",
        "train 100/1000 steps  loss 0.031",
        "disk is [bold]slow[/]",
    ]
    quiet = PlainSink(console, seconds=3600.0)
    for step in range(100):
        quiet.progress("train", step, 100)
    assert len(console.file.getvalue().splitlines()) == 3


def test_a_plain_line_has_progress_numbers_rate_and_eta():
    assert plain_line(view_of_a_run()) == "pairs 100/400 pairs  loss/train 0.09091  10 pairs/s  eta 0:30"


def test_the_view_is_chosen_by_the_terminal_and_by_the_option(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    pipe, tty = Console(file=io.StringIO()), terminal()
    kinds = {}
    for name, progress, console in (
        ("pipe", "auto", pipe),
        ("tty", "auto", tty),
        ("forced", "plain", tty),
        ("none", "none", tty),
    ):
        with live_view(progress, console=console) as sink:
            kinds[name] = type(sink)
    assert kinds == {"pipe": PlainSink, "tty": DashboardSink, "forced": PlainSink, "none": NullSink}


def test_the_cursor_comes_back_when_the_work_raises():
    console = terminal()

    def work():
        with live_view("rich", console=console) as sink:
            sink.progress("train", 1, 2)
            sink.message("\x1b[31mwarned", "warning")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    written = console.file.getvalue()
    assert written.count("\x1b[?25l") == written.count("\x1b[?25h") == 1
    assert "\\x1b[31mwarned" in written


def test_an_interrupted_process_restores_the_terminal():
    program = (
        "import sys, time\n"
        "from rich.console import Console\n"
        "from interp_cli.dashboard import live_view\n"
        "with live_view('rich', console=Console(file=sys.stderr, force_terminal=True)) as sink:\n"
        "    sink.progress('train', 1, 2); print('ready', flush=True); time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert errors.count(b"\x1b[?25l") == errors.count(b"\x1b[?25h") == 1


def test_a_child_run_inside_a_run_does_not_end_it():
    view = RunView()
    view.take(State("running", info={"command": "demo"}))
    view.take(State("running", info={"command": "extract"}))
    assert view.command == "extract"
    view.take(State("done"))
    assert (view.command, view.state, view.is_over) == ("demo", "running", False)
    view.take(State("failed", "no disk"))
    assert (view.state, view.is_over, view.detail) == ("failed", True, "no disk")


def test_rates_follow_the_last_seconds_and_begin_again_with_a_new_round():
    task = Task("epoch")
    for second in range(60):
        task.move(second * (1 if second < 30 else 3), 1000, "steps", float(second))
    assert task.rate == pytest.approx(3.0)
    task.move(1, 1000, "steps", 61.0)
    assert task.rate is None
    assert rate_text(task) == ""
    slow = Task("models")
    slow.move(0, 10, "models", 0.0)
    slow.move(1, 10, "models", 20.0)
    assert rate_text(slow) == "3 models/min"
    assert slow.eta == pytest.approx(180.0)


def test_long_curves_stay_short_and_keep_their_shape():
    curve = Curve("loss")
    for step in range(100_000):
        curve.add(float(step), step)
    assert 256 <= len(curve.points) <= 512
    assert curve.points == sorted(curve.points)
    assert (curve.last, curve.step) == (99_999.0, 99_999)


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (65.4, "1:05"), (3725, "1:02:05"), (-3, "0:00")])
def test_clocks_read_as_people_write_them(seconds, text):
    assert clock_text(seconds) == text
