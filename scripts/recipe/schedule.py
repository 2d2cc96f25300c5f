"""The runs of a sweep: several at a time, each on its GPU, all of which end with the sweep or when its time is up."""

import contextlib
import functools
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from common import command, failures, files
from recipe import supervise
from recipe.seeds import Run

CPU = "cpu"  # instead of the number of a GPU
SECONDS_BETWEEN_REPORTS = 60


class Sweep:
    """Runs of a recipe.

    Args:
        recipe: its name.
        runs: the folder of its runs.
        out: the folder of the table and of what the runs say.
        data: the folder that prepare.sh made, or None.
        train_args: further arguments of train.sh.
        gpus: numbers of GPUs, one for each run at a time, None for all of them, CPU for none.
    """

    def __init__(
        self,
        recipe: str,
        runs: Path,
        out: Path,
        data: Path | None,
        train_args: Sequence[str],
        gpus: Sequence[str | None],
    ) -> None:
        self.recipe, self.runs, self.out, self.train_args = recipe, runs, out, train_args
        self.data = ["--data", str(data)] if data else []
        self.gpus: queue.Queue[str | None] = queue.Queue()
        for gpu in gpus:
            self.gpus.put(gpu)
        self.processes: dict[subprocess.Popen, tuple[str, Path]] = {}  # with the run's name and the log
        self.lock = threading.Lock()
        self.stopped = False  # the trainings, since time is up
        self.ended = self.late = False  # everything, and whether since that took too long

    def folder(self, run: Run) -> Path:
        """The folder of a run."""
        return self.runs / f"{run.name}-seed{run.seed}"

    def perform(self, run: Run) -> str | None:
        """Train and score; the name of the script that failed, or None."""
        gpu = self.gpus.get()
        try:
            args = [run.model, "--seed", run.seed, "--save-dir", self.folder(run), *self.data]
            args += [*(["--cpu"] if gpu == CPU else []), *self.train_args]
            if run.options:
                args += [*([] if "--" in self.train_args else ["--"]), *run.options]
            if not self.call(run, gpu, "train", args):
                return "train.sh"
            args = [self.folder(run), "--out", self.folder(run) / "evaluation", *self.data]
            return None if self.call(run, gpu, "evaluate", args) else "evaluate.sh"
        finally:
            self.gpus.put(gpu)

    def call(self, run: Run, gpu: str | None, script: str, args: Sequence[object]) -> bool:
        """Whether a script of the recipe succeeded; what it says goes to a log."""
        name = f"{run.name} seed {run.seed}"
        program = ["bash", files.REPOSITORY / "examples" / self.recipe / f"{script}.sh", *args]
        log_path = self.out / f"{run.name}-seed{run.seed}.{script}.log"
        with contextlib.ExitStack() as stack:
            with self.lock:
                if self.ended:
                    return False
                try:
                    log = stack.enter_context(open(log_path, "w"))
                except OSError as error:
                    print(f"{name}: {log_path} cannot be written: {error.strerror}.", file=sys.stderr, flush=True)
                    return False
                options = {"env": environment(gpu), "stdout": log, "stderr": subprocess.STDOUT}
                process = stack.enter_context(command.child(program, **options))
                self.processes[process] = name, log_path
            place = "" if gpu is None else " on the CPU" if gpu == CPU else f" on GPU {gpu}"
            print(f"{name}: {script}.sh{place}, see {log_path}", flush=True)
            code = process.wait()
            del self.processes[process]
        in_time = self.stopped and script == "train" and code == supervise.STOPPED
        done = code == 0 or in_time
        if done:
            print(f"{name}: {script}.sh {'ended in time' if in_time else 'is done'}", flush=True)
        else:
            said = log_path.read_text(encoding="utf-8", errors="replace").splitlines()
            reason = "time was up" if self.late else failures.reason_of(said, code)
            print(f"{name}: {script}.sh FAILED: {reason}", flush=True)
        return done

    def end(self, *_: object, late: bool = False) -> None:
        """End every run, as the handler of a signal or since it is late."""
        with self.lock:  # of which the main thread, where handlers run, holds no part
            self.ended, self.late = True, self.late or (late and not self.ended)
            for process in list(self.processes):
                process.terminate()

    def stop_training(self) -> None:
        """Have every training end after its current update, to be scored."""
        print("sweep: time to score: the trainings end after the current update.", flush=True)
        with self.lock:
            self.stopped = True
            for process, (_, log) in list(self.processes.items()):
                if log.name.endswith(".train.log"):
                    process.terminate()

    def report(self) -> None:
        """Print the last line of each log that is being written."""
        for name, log in list(self.processes.values()):
            said = log.read_text(errors="replace").splitlines()
            print(f"{name}: {said[-1] if said else 'nothing yet'}", flush=True)


def environment(gpu: str | None) -> dict[str, str]:
    """The variables of a run, in this Python's environment, which sees the one GPU, all for None, none for CPU."""
    folders = {"VIRTUAL_ENV": sys.prefix, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    visible = {} if gpu is None else {"CUDA_VISIBLE_DEVICES": "" if gpu == CPU else gpu}
    return {**os.environ, **folders, **visible}


@contextlib.contextmanager
def reports(sweep: Sweep) -> Iterator[None]:
    """Report on the runs now and then."""
    over = threading.Event()

    def report() -> None:
        while not over.wait(SECONDS_BETWEEN_REPORTS):
            sweep.report()

    threading.Thread(target=report, daemon=True).start()
    try:
        yield
    finally:
        over.set()


@contextlib.contextmanager
def keep_time(sweep: Sweep, minutes: float | None, scoring_minutes: float | None) -> Iterator[None]:
    """End the trainings early enough to be scored, and everything after so many minutes; None is no limit."""
    timers = []
    if minutes:
        timers.append(threading.Timer(60 * (minutes - scoring_minutes), sweep.stop_training))
        timers.append(threading.Timer(60 * minutes, functools.partial(sweep.end, late=True)))
    for timer in timers:
        timer.daemon = True
        timer.start()
    try:
        yield
    finally:
        for timer in timers:
            timer.cancel()
