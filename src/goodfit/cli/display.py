"""What the terminal shows: a progress bar, or plain lines where there is no terminal."""

import sys
import time
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from goodfit.metrics import Metrics
from goodfit.report.records import RunRow
from goodfit.report.terminal import runs_text
from goodfit.run.job import Progress as Happened
from goodfit.run.load import Run


class Display:
    """Shows a training run. Use it as a context, give `show` and `say` to the run."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False)
        self.live = self.console.is_terminal
        self.bar: Progress | None = None
        self.began = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        if self.bar is not None:
            self.bar.stop()

    def say(self, line: str) -> None:
        """One line about what was decided."""
        self.console.print(line, markup=False, soft_wrap=True)

    def show(self, now: Happened) -> None:
        """Progress after some steps, or an evaluation."""
        if now.findings:
            self.say("\n".join(str(finding) for finding in now.findings))
        elif now.evaluation is not None:
            self.say(self._evaluated(now))
        elif self.live:
            self._moved(now)
        elif now.step == 1:
            self.say(f"step 1 of {now.steps}: loss {now.loss:.3f}")

    def _evaluated(self, now: Happened) -> str:
        assert now.evaluation is not None
        found, seconds = now.evaluation, time.monotonic() - self.began
        return (
            f"epoch {now.epoch:6.2f}  step {now.step}/{now.steps}  loss {now.loss:.3f}  "
            f"validation {found.accuracy:.2%} (loss {found.nll:.3f})  {seconds:.0f} s"
        )

    def _moved(self, now: Happened) -> None:
        if self.bar is None:
            text = TextColumn("loss {task.fields[loss]:.3f}  {task.fields[rate]:,.0f} images/s")
            self.bar = Progress(
                TextColumn("epoch {task.fields[epoch]:.1f}"),
                BarColumn(),
                text,
                TimeRemainingColumn(),
                console=self.console,
            )
            self.bar.add_task("", total=now.steps, loss=now.loss, rate=0.0, epoch=0.0)
            self.bar.start()
        self.bar.update(
            self.bar.task_ids[0],
            completed=now.step,
            loss=now.loss,
            rate=now.images_per_second,
            epoch=now.epoch,
        )

    def finished(self, run: Run) -> None:
        """The result, on standard output."""
        if self.bar is not None:
            self.bar.stop()
        if not run.finished:  # another process writes it
            return
        result = run.result
        metrics = Metrics.model_validate(result["metrics"])
        found = metrics.accuracy
        print(
            f"accuracy {found.value:.2%} (95% interval {found.low:.2%} to {found.high:.2%}) "
            f"on {metrics.images} {result['split']} images"
        )
        print(f"seconds of training {result['train_seconds']}")
        print(f"report {run.path / 'report.html'}")
        sys.stdout.flush()


def runs_table(runs: list[Run]) -> str:
    """A table of runs, best first."""
    return runs_text(_row(run) for run in runs)


def _row(run: Run) -> RunRow:
    recipe = run.recipe.model.name
    if not run.finished:
        return RunRow(name=str(run.path), state="interrupted", recipe=recipe)
    result = run.result
    return RunRow(
        name=str(run.path),
        state="finished",
        split=result["split"],
        images=result["metrics"]["images"],
        accuracy=result["metrics"]["accuracy"],
        seconds=result["train_seconds"],
        recipe=recipe,
    )
