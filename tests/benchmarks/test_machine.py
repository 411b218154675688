"""Whose processor time it was."""

import os
import subprocess
import sys

from benchmarks import machine
from benchmarks.machine import Machine, Meter, descendants

BURN = "import time\nwhile time.process_time() < 0.3: pass"


def test_what_our_children_use_is_ours() -> None:
    """Also after they have ended, and of theirs."""
    before = machine._own_secs()
    nested = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BURN!r}], check=True)"
    subprocess.run([sys.executable, "-c", nested], check=True)
    assert machine._own_secs() - before >= 0.3 - 2 / os.sysconf("SC_CLK_TCK")  # both clocks tick


def test_a_running_childs_child_is_a_descendant() -> None:
    """The recogniser of a server that we start is ours."""
    start = "subprocess.Popen([sys.executable, '-c', 'input()'], stdin=0).pid"
    code = f"import subprocess, sys; print({start}, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout
        grandchild = int(child.stdout.readline())
        found = descendants(os.getpid())
        child.communicate("\n\n")
    assert {child.pid, grandchild} <= set(found)
    assert os.getppid() not in found


def test_others_have_a_part_of_the_time() -> None:
    """Between none and all of it."""
    assert 0.0 <= Meter().foreign() <= 1.0


def test_the_machine_is_described() -> None:
    """One line, with what makes 8-bit models quick."""
    here = Machine.here()
    assert here.cores >= 1
    assert str(here).startswith(here.processor)
