"""What a confined process can no longer do. Each test binds a real process."""

import ctypes.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.speech import craft

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the limits are Linux's")

NOBODY = 65_534
START = """
import os, resource, signal, socket, sys, time
from pathlib import Path
from stt_server.speech.confine import confine, withdraw
def bind(*may_read, cpu_seconds=20, memory_bytes=300 << 20, file_bytes=1 << 20):
    limits = dict(cpu_seconds=cpu_seconds, memory_bytes=memory_bytes, file_bytes=file_bytes)
    withdraw()
    return confine(**limits, may_read=map(Path, may_read))
"""
DECODE = """
from stt_server.errors import SttError
from stt_server.speech.audio import decode
bind(sys.argv[1])
before, began, seconds = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time(), 0.0
try:
    for block in decode(Path(sys.argv[1]), sys.argv[2], max_duration=float(sys.argv[3])):
        seconds += len(block) / 16_000
    outcome = "done"
except SttError as error:
    outcome = type(error).__name__
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(outcome, round(seconds), grown // 1024, round(time.process_time() - began, 1))
"""


def child(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a script in a process of its own."""
    command = [sys.executable, "-c", START + script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def said(script: str, *arguments: object) -> str:
    """What a script prints, when all goes well."""
    done = child(script, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_memory() -> None:
    """Past its memory the child sees MemoryError; nobody else notices."""
    script = """
bind(memory_bytes=64 << 20)
held = bytearray(32 << 20)
try:
    bytearray(64 << 20)
except MemoryError:
    print("no more")
"""
    assert said(script) == "no more"


def test_cpu() -> None:
    """A child that computes for ever is killed by the kernel."""
    assert child("bind(cpu_seconds=0.5)\nwhile True: pass").returncode == -signal.SIGXCPU


def test_file_size(tmp_path: Path) -> None:
    """No file grows past the limit."""
    script = """
file = open(sys.argv[1], "wb", buffering=0)
bind(file_bytes=1000)
file.write(bytes(1000))
try:
    file.write(b"1")
except OSError as error:
    print(error.strerror)
"""
    assert said(script, tmp_path / "out") == "File too large"
    assert (tmp_path / "out").stat().st_size == 1000


def test_open_files() -> None:
    """A child cannot open files without end, nor dump its core."""
    script = """
bind()
held = []
try:
    while len(held) < 1000:
        held.append(open(os.devnull))
except OSError as error:
    print(len(held) < 64, error.strerror, resource.getrlimit(resource.RLIMIT_CORE))
"""
    assert said(script) == "True Too many open files (0, 0)"


@pytest.mark.parametrize("user", [os.geteuid(), NOBODY])
def test_network(user: int) -> None:
    """Nothing can be reached from inside, not even this machine, wherever the kernel lets a user leave."""
    script = """
user = int(sys.argv[2])
if os.geteuid() != user:
    os.setgid(user), os.setuid(user)
bind()
try:
    socket.socket().connect(("127.0.0.1", int(sys.argv[1])))
    print("connected")
except OSError as error:
    print("unreachable")
"""
    if os.geteuid() not in (0, user):
        pytest.skip("only root can become somebody else")
    if not _may_leave(user):
        pytest.skip("this kernel grants no new network namespace")
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert said(script, server.getsockname()[1], user) == "unreachable"


def _may_leave(user: int) -> bool:
    """Ask another program than ours."""
    tool = shutil.which("unshare")
    return bool(tool) and subprocess.run([str(tool), "--user", "--net", "true"], user=user).returncode == 0


ATTEMPTS = """
import ctypes, subprocess
def attempt(what):
    try:
        return what() and "done"
    except (OSError, subprocess.SubprocessError) as error:
        return type(error).__name__
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    if libc.syscall(*arguments) < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return True
"""


def test_files(tmp_path: Path) -> None:
    """What is named can be read, what is open written, and code imported late; nothing else, wherever it lies."""
    audio, pcm, other = tmp_path / "audio", tmp_path / "pcm", tmp_path / "database"
    audio.write_text("audio")
    other.write_text("secret")
    script = """
audio, pcm, other, server = sys.argv[1:]
out = open(pcm, "wb", buffering=0)
print(bind(audio).files, Path(audio).read_text(), out.write(b"samples"))
import colorsys, wave
for what in (
    lambda: open(other), lambda: open(pcm), lambda: open(audio, "a"), lambda: open(other + "-new", "w"),
    lambda: os.listdir(Path(audio).parent), lambda: os.unlink(other), lambda: os.rename(audio, pcm),
    lambda: os.link(other, audio + "-link"), lambda: open("/etc/passwd"), lambda: open(f"/proc/{server}/environ"),
    lambda: open(f"/proc/{server}/mem", "r+b"), lambda: open("/proc/self/environ"), lambda: os.mkdir(other + "-new"),
):
    print(attempt(what), end=" ")
"""
    told = said(ATTEMPTS + script, audio, pcm, other, os.getpid()).splitlines()
    if told[0].startswith("False"):
        pytest.skip("this kernel has no Landlock")
    assert told[0] == "True audio 7"
    assert set(told[1].split()) == {"PermissionError"}
    assert other.read_text() == "secret"


def test_calls(tmp_path: Path) -> None:
    """No socket of any kind, no program, no process, no hand on another one; threads it may have."""
    script = """
import threading
server = int(sys.argv[1])
bound = bind()
for what in (
    lambda: socket.socket(socket.AF_UNIX), lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
    lambda: socket.socketpair(), lambda: os.fork(), lambda: os.execv("/bin/true", ["true"]),
    lambda: subprocess.run(["/bin/true"]), lambda: os.kill(server, 0), lambda: os.kill(server, signal.SIGKILL),
    lambda: os.pidfd_open(server), lambda: resource.prlimit(server, resource.RLIMIT_NOFILE, (0, 0)),
    lambda: os.setpriority(os.PRIO_PROCESS, server, 19), lambda: os.sched_setaffinity(server, {0}),
    lambda: call(272, 0x10000000),
):
    print(attempt(what), end=" ")
print()
thread = threading.Thread(target=lambda: print(bound.calls, os.nice(1) > 0, resource.getrlimit(resource.RLIMIT_CORE)))
thread.start()
thread.join()
"""
    refused, granted = said(ATTEMPTS + script, os.getpid()).splitlines()
    if granted.startswith("False"):
        pytest.skip("this processor or kernel has no filter of ours")
    assert set(refused.split()) == {"PermissionError"}
    assert granted == "True True (0, 0)"


def test_an_old_kernel(tmp_path: Path) -> None:
    """Without Landlock and without filters, decoding goes on, and it is told what is missing."""
    library = ctypes.util.find_library("seccomp")
    if not library:
        pytest.skip("nothing to make this kernel look old with")
    path = tmp_path / "audio"
    path.write_bytes(craft.ffmpeg("mp3", "libmp3lame", 16_000))
    older = f"""
import ctypes
class Equal(ctypes.Structure):
    _fields_ = [("argument", ctypes.c_uint), ("how", ctypes.c_int), ("value", ctypes.c_uint64), ("_", ctypes.c_uint64)]
seccomp = ctypes.CDLL("{library}")
seccomp.seccomp_init.restype = ctypes.c_void_p
rules = ctypes.c_void_p(seccomp.seccomp_init(0x7FFF0000))
seccomp.seccomp_rule_add_array(rules, 0x00050026, 444, 0, None)
prctl, unshare = map(seccomp.seccomp_syscall_resolve_name, (b"prctl", b"unshare"))
seccomp.seccomp_rule_add_array(rules, 0x00050016, prctl, 1, ctypes.byref(Equal(0, 4, 22, 0)))
seccomp.seccomp_rule_add_array(rules, 0x00050001, unshare, 0, None)
assert seccomp.seccomp_load(rules) == 0
"""
    assert said(older + "print(withdraw(), bind())") == "False Confinement(files=False, calls=False)"
    assert said(older + DECODE, path, "mp3", 3600).split()[:2] == ["done", "2"]


def test_privileges() -> None:
    """Nothing can be gained by running another program, and of root's powers one is left."""
    status = said("bind('/proc')\nprint(open('/proc/self/status').read())")
    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert facts["NoNewPrivs"] == "1"
    assert int(facts["CapEff"], 16) in (0, 2)
    assert int(facts["CapPrm"], 16) in (0, 2)
    assert int(said("bind()\nprint(os.nice(0))")) == min(os.nice(0) + 5, 19)


def test_dies_with_its_parent() -> None:
    """When the server is killed, nothing goes on decoding."""
    script = """
import time
if os.fork() == 0:
    bind()
    print(os.getpid(), flush=True)
time.sleep(60)
"""
    parent = subprocess.Popen([sys.executable, "-c", START + script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    orphan = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and _runs(orphan):
        time.sleep(0.01)
    assert not _runs(orphan)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_decodes_in_confinement(tmp_path: Path) -> None:
    """Inside all limits, audio decodes: FFmpeg, libsndfile, a file opened by its name."""
    path = tmp_path / "audio"
    for data, container in (
        (craft.ffmpeg("mp3", "libmp3lame", 16_000), "mp3"),
        (craft.sndfile(craft.tone(2, 8_000), 8_000, "WAV", "PCM_16", "BIG"), "rifx"),
    ):
        path.write_bytes(data)
        assert said(DECODE, path, container, 3600).split()[:2] == ["done", "2"]


def test_silence_bomb(tmp_path: Path) -> None:
    """Ten hours of silence in 130 kB of FLAC cost neither memory nor more time than the limit allows."""
    path = tmp_path / "bomb.flac"
    path.write_bytes(craft.silent_flac(36_000))
    assert path.stat().st_size < 135_000
    outcome, seconds, grown_mib, cpu_seconds = said(DECODE, path, "flac", 14_400).split()
    assert (outcome, round(int(seconds), -1)) == ("AudioTooLong", 14_400)
    assert int(grown_mib) < 20
    assert float(cpu_seconds) < 10  # 0.5 s here


@pytest.mark.parametrize(
    ("rate", "channels", "data"),
    [
        (655_350, 8, craft.silent_flac(36, 655_350, 8)),
        (1, 1, craft.wav(bytes(32_000), rate=1)),
        (48_000, 8, craft.silent_flac(3_600, 48_000, 8)),
    ],
)
def test_wide_bombs(tmp_path: Path, rate: int, channels: int, data: bytes) -> None:
    """Neither a rate nor channels nor both together blow a small file up."""
    path = tmp_path / "bomb"
    path.write_bytes(data)
    outcome, _, grown_mib, cpu_seconds = said(DECODE, path, "wav" if rate == 1 else "flac", 600).split()
    assert outcome == ("AudioTooLong" if rate == 48_000 else "BadAudio")
    assert int(grown_mib) < 60
    assert float(cpu_seconds) < 10


def test_allocation_bomb(tmp_path: Path) -> None:
    """A chunk that claims 4 GB, for which FFmpeg would take as much memory, ends as bad audio."""
    path = tmp_path / "bomb.wav"
    info = craft.chunk(b"LIST", b"INFO" + craft.chunk(b"ISFT", b"x" * 8, 0x7FFFFFF0), 0xFFFFFF00)
    path.write_bytes(craft.wav(bytes(32_000), before=info))
    outcome, _, grown_mib, _ = said(DECODE, path, "wav", 600).split()
    assert outcome in ("BadAudio", "done")
    assert int(grown_mib) < 310
