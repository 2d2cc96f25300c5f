"""scripts/common/usage.py measures a process with its children, and steps keep what they took."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from common import usage
from support.models import REPOSITORY

HUNGRY = "import sys, time; held = bytearray(b'x') * (200 << 20); print('ready', flush=True); time.sleep({})"


def test_a_childs_memory_and_time_count():
    measure = usage.Usage()
    child = subprocess.Popen([sys.executable, "-c", HUNGRY.format(3)], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "ready\n"
    begin = time.process_time()
    while time.process_time() < begin + 0.3:
        pass
    child.wait()
    taken = measure.end()
    assert 200 < taken["peak_memory_mib"] < 2000
    assert taken["seconds"] >= 3 and taken["processor_seconds"] >= 0.3


def test_a_step_keeps_what_it_took(tmp_path):
    (tmp_path / "part.py").write_text("from common import command\ncommand.run_part(lambda: print('working'))\n")
    script = 'source "$1"; steps_begin "$2/steps" "$2/part.py"; step one.en "$2/part.py" -- "$3" "$2/part.py"'
    words = [REPOSITORY / "scripts/common/steps.sh", tmp_path, sys.executable]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "scripts")}
    subprocess.run(["bash", "-euc", script, "bash", *map(str, words)], check=True, env=environment, timeout=60)
    taken = json.loads((tmp_path / "steps/one.en.usage").read_text())
    assert taken["peak_memory_mib"] > 0 and sorted(taken) == ["peak_memory_mib", "processor_seconds", "seconds"]


def test_a_part_that_fails_says_its_own_sentence_alone(tmp_path):
    (tmp_path / "part.py").write_text(
        "import sys\nfrom common import command\ncommand.run_part(lambda: sys.exit('no.'))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "scripts"), "STEP_USAGE": str(tmp_path / "usage")}
    command = [sys.executable, tmp_path / "part.py"]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, env=environment, timeout=60)
    assert (done.returncode, done.stderr) == (1, "no.\n") and not (tmp_path / "usage").exists()


def test_ctrl_c_is_not_for_the_observer():
    """Which would print a traceback while it starts."""
    measure = usage.Usage()
    try:
        assert os.getpgid(measure.observer.pid) != os.getpgid(0)
    finally:
        measure.end()


def test_the_observer_ends_with_the_process():
    code = f"import sys; sys.path.insert(0, {str(REPOSITORY / 'scripts')!r}); from common import usage; "
    code += "print(usage.Usage().observer.pid, flush=True); import os; os.kill(os.getpid(), 9)"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, timeout=60)
    observer = int(done.stdout)
    for _ in range(100):
        state = usage.read(Path(f"/proc/{observer}/stat"))
        if not state or state.split()[2] == "Z":
            return
        time.sleep(0.1)
    raise AssertionError("the observer goes on")
