"""URLs given to a whole server: hosts that stall, trickle, loop and lie, and every way to the inside."""

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from stt_server.jobs.addresses import PORTS
from stt_server.jobs.fetch import AT_ONCE
from tests.faults.family import Memory
from tests.faults.hosts import AUDIO, BEHAVIOURS, Host, hosting
from tests.faults.server import FakeServer, Launcher
from tests.faults.wire import told
from tests.jobs.test_fetch import SPELLINGS
from tests.real.process import ROUTE
from tests.web.live import until

TIMEOUT_SECS = 2
PLACES = 20
TOKEN = "t0ken-4711"
MB = 1_000_000
BAD = [name for name in BEHAVIOURS if name not in ("honest", "redirect")]


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with hosting() as host:
        yield host


@pytest.fixture(scope="module")
def closed() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def server(
    launcher: Launcher, host: Host, closed: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FakeServer]:
    folder = tmp_path_factory.mktemp("fetching")
    with FakeServer(
        launcher,
        folder,
        own_forkserver=True,
        FETCH_ALLOW_HOSTS=f"127.0.0.1:{host.port},127.0.0.1:{closed}",
        FETCH_TIMEOUT_SECS=str(TIMEOUT_SECS),
        MAX_UPLOAD_BYTES=str(20 * MB),
        MAX_QUEUE_SIZE=str(PLACES),
    ) as server:
        server.ready()
        assert told(server.http.post(ROUTE, data={"url": host.url("honest")})) is None
        yield server
        assert server.quiet()
        assert server.http.get("/health").json()["db_stats"]["total"] == 0
        assert TOKEN not in server.log
        assert "Traceback" not in server.log


def ask(server: FakeServer, url: str, **ids: str) -> tuple[httpx.Response, float]:
    """Ask for a transcript of a URL; the answer and the seconds until it came."""
    began = time.monotonic()
    answer = server.http.post(ROUTE, data={"url": url, **ids}, timeout=60)
    return answer, time.monotonic() - began


def test_bad_hosts_cost_their_callers_a_known_time(server: FakeServer, host: Host) -> None:
    """Each ends within its deadline and five seconds more, all at once beside each other and others; whoever submits
    a job is told 400, nobody is told the URL, and nothing is kept."""
    with Memory(server.pid) as memory, ThreadPoolExecutor(16) as pool:
        urls = {name: host.url(f"{name}/m.wav?token={TOKEN}") for name in BAD}
        calls = {name: pool.submit(ask, server, url) for name, url in urls.items()}
        jobs = {name: pool.submit(ask, server, url, user_uuid="u", message_id=name) for name, url in urls.items()}
        for _ in range(10):
            assert server.http.get("/health/live").elapsed.total_seconds() < 1
            time.sleep(0.1)
        for name in BAD:
            answer, seconds = calls[name].result()
            assert told(answer), name
            assert answer.status_code in (400, 413, 502), name
            assert seconds < 2 * (TIMEOUT_SECS + 5), name  # twice as many as there are places wait for a place
            answer, _ = jobs[name].result()
            assert told(answer) in ("url_fetch_failed", "invalid_audio"), name
            assert answer.status_code == 400, name
            assert TOKEN not in calls[name].result()[0].text + answer.text
    assert memory.peak_mb < 150
    until(server.quiet)


def test_waiting_for_hosts_keeps_nobody_out(server: FakeServer, host: Host) -> None:
    """More fetches that stall than the queue has places take no place from recordings that are there."""
    count = 2 * PLACES
    with ThreadPoolExecutor(count) as pool:
        stalled = [pool.submit(ask, server, host.url(f"stall?{i}")) for i in range(count)]
        until(lambda: sum("/stall?" in visit for visit in host.visits) == AT_ONCE)
        time.sleep(0.3)
        assert told(server.http.post(ROUTE, files={"file": AUDIO})) is None
        assert {told(call.result()[0]) for call in stalled} <= {"url_timeout", "url_refused"}


# -- The inside ----------------------------------------------------------------------------------------


def inside(port: int) -> list[str]:
    """This machine's own addresses in every spelling, and other ways of saying them."""
    own = socket.gethostbyname(socket.gethostname())
    hosts = [name for name in SPELLINGS if not name.endswith("example")]
    hosts += ["0177.0.0.1", "①②⑦.⓪.⓪.①", "127。0。0。1", "127.0.0.1.", own, socket.gethostname(), "user:pw@127.0.0.1"]
    hosts += [
        "2130706433",
        "0x7f000001",
        "127.255.255.254",
        "[::ffff:0:127.0.0.1]",
        "example.com@127.0.0.1",
        "⑯⑨.254.169.254",
    ]
    urls = [f"http://{name}:{port}/latest/meta-data" for name in hosts]
    urls += [f"HTTP://127.0.0.1:{port}#@93.184.216.34/", f"http:127.0.0.1:{port}/", f"http:///127.0.0.1:{port}/"]
    urls += [f"//127.0.0.1:{port}/", f"http://93.184.216.34\\@127.0.0.1:{port}/", f"http://127.0.0.1:{port}\t/"]
    urls += [f"{scheme}://127.0.0.1:{port}/etc/passwd" for scheme in ("file", "ftp", "gopher", "dict", "unix", "ws")]
    return [*urls, "file:///etc/passwd", "data:audio/wav;base64,UklGRg==", "concat:/etc/passwd", "/etc/passwd", "-"]


@pytest.fixture(scope="module")
def canary() -> Iterator[Host]:
    """At every address of this machine, at a port that public hosts may use: only its address forbids it."""
    for port in sorted(PORTS, reverse=True):
        try:
            with hosting("::", port) as host:
                yield host
                return
        except OSError:
            continue
    pytest.skip("every port that could be asked for is taken")


@pytest.mark.parametrize("allowed", ["", "pbx.invalid"])
def test_nothing_leads_inside(launcher: Launcher, canary: Host, tmp_path: Path, allowed: str) -> None:
    """No spelling of an inner address brings a connection, whatever is allowed beside; open and closed ports get one
    and the same answer, and so do the server's own."""
    with FakeServer(launcher, tmp_path, FETCH_ALLOW_HOSTS=allowed, FETCH_TIMEOUT_SECS="5") as server:
        server.ready()
        texts = []
        for port in (canary.port, 443, server.http.base_url.port or 0):
            with ThreadPoolExecutor(8) as pool:
                answers = list(pool.map(lambda url: ask(server, url), inside(port)))
            for url, (answer, seconds) in zip(inside(port), answers, strict=True):
                assert (answer.status_code, seconds < 5) == (400, True), url
                assert told(answer) in ("url_refused", "invalid_url"), url
            texts.append([answer.json()["error"]["message"] for answer, _ in answers])
        assert texts[0] == texts[1] == texts[2]
        assert canary.visits == []
        assert "Traceback" not in server.log


def test_redirects_do_not_lead_inside(server: FakeServer, host: Host, canary: Host) -> None:
    """A host that is allowed cannot send the server to one that is not: not to another port of its own, not to this
    server, in no spelling."""
    own = server.http.base_url.port or 0
    urls = [*inside(canary.port), f"http://127.0.0.1:{own}/health/live"]
    with ThreadPoolExecutor(8) as pool:
        asked = [str(httpx.URL(host.url("redirect"), params={"to": url})) for url in urls]
        answers = list(pool.map(lambda url: ask(server, url), asked))
    for url, (answer, _) in zip(urls, answers, strict=True):
        assert answer.status_code in (400, 502), url
        assert told(answer) in ("url_refused", "url_denied", "url_failed"), url
    assert canary.visits == []


def test_no_answer_tells_what_is_there(server: FakeServer, canary: Host, closed: int) -> None:
    """A forbidden address, a host that is allowed and shut, a name that is none: the same answer to the letter."""
    addresses = (f"127.0.0.1:{canary.port}", f"127.0.0.1:{closed}", "nothing.invalid", "169.254.169.254", "[::1]:22")
    answers = [ask(server, f"http://{address}/x")[0] for address in addresses]
    assert {told(answer) for answer in answers} == {"url_refused"}
    assert len({answer.content for answer in answers}) == 1


def test_an_address_of_this_machine_may_be_allowed(server: FakeServer, host: Host) -> None:
    """What these tests could not do without: a listed host is reached, by redirect too, and nothing of it is kept."""
    for url in (host.url("honest"), str(httpx.URL(host.url("redirect"), params={"to": "/honest"}))):
        answer, _ = ask(server, url)
        assert told(answer) is None
        assert answer.json()["text"]
