"""Downloads against a host that behaves like the real ones, at their best and at their worst."""

import hashlib
import io
import os
import shutil
import signal
import ssl
import subprocess
import sys
import tarfile
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme

from stt_server.errors import DownloadFailed
from stt_server.speech.catalogue import Archive, Files, Model, ModelFile
from stt_server.speech.download import NOTICE, download
from stt_server.speech.models import CHECKSUMS, find_model, verify
from stt_server.speech.transfer import Patience
from tests.hub import Hub, open_hub

CONTENTS = {
    "encoder.int8.onnx": os.urandom(3_000_000),
    "decoder.int8.onnx": os.urandom(40_000),
    "joiner.int8.onnx": os.urandom(20_000),
    "tokens.txt": b"<unk> 0\n",
}
ENCODER = CONTENTS["encoder.int8.onnx"]
QUICK = Patience(tries=3, pause=0.01, timeout_secs=0.4)


@pytest.fixture
def hub() -> Iterator[Hub]:
    with open_hub() as hub:
        hub.files = {f"hub/{name}": content for name, content in CONTENTS.items()}
        yield hub


def table(hub: Hub, contents: Mapping[str, bytes] = CONTENTS, name: str = "small", **other: Any) -> dict[str, Model]:
    """A model table of one row, whose files the hub serves one by one."""
    files = tuple(ModelFile(n, len(c), hashlib.sha256(c).hexdigest()) for n, c in contents.items())
    model = Model(
        name=name,
        id="small-id",
        title="A small model",
        owned_by="somebody",
        licence="CC-BY-4.0",
        credit="Made by Somebody.",
        released=1,
        files=files,
        sources=(Files(f"{hub.base}/hub"),),
    )
    return {name: replace(model, **other)}


def get(models: dict[str, Model], folder: Path, **other: Any) -> Path:
    return download(next(iter(models)), folder, models=models, patience=QUICK, **other)


def contents_of(folder: Path) -> dict[str, bytes]:
    """What a server would see there."""
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name != NOTICE and p.name != ".part"}


def add_archive(hub: Hub, contents: Mapping[str, bytes] = CONTENTS) -> Archive:
    """An archive like the published ones: a folder, other files in it, a link out of it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:bz2") as archive:
        link = tarfile.TarInfo("some-model/tokens.txt")
        link.type, link.linkname, link.size = tarfile.SYMTYPE, "/etc/passwd", len(contents["tokens.txt"])
        archive.addfile(link)
        for name, content in {**contents, "test_wavs/0.wav": b"RIFF", "../../escaped": b"!"}.items():
            member = tarfile.TarInfo(f"some-model/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    hub.files["releases/model.tar.bz2"] = buffer.getvalue()
    return Archive(
        f"{hub.base}/releases/model.tar.bz2",
        len(buffer.getvalue()),
        hashlib.sha256(buffer.getvalue()).hexdigest(),
    )


# -- When all goes well ----------------------------------------------------------------------------


def test_a_model_is_fetched_through_redirects_and_verifies(hub: Hub, tmp_path: Path) -> None:
    """What is downloaded is a model that the server accepts and knows by name; nothing else is left behind."""
    models = table(hub)
    folder = tmp_path / "models" / "parakeet"

    assert get(models, folder) == folder

    assert contents_of(folder) == CONTENTS
    assert [path.name for path in folder.parent.iterdir()] == ["parakeet"]
    found = verify(find_model(folder, models=models), models=models)
    assert (found.name, found.verified) == ("small-id", True)


def test_licence_and_credit_lie_beside_the_model(hub: Hub, tmp_path: Path) -> None:
    """Whoever passes the folder on passes the credit on that the licence asks for."""
    assert "Made by Somebody." in (get(table(hub), tmp_path / "m") / NOTICE).read_text()


def test_progress_counts_every_file_up_to_its_size(hub: Hub, tmp_path: Path) -> None:
    """Each file's progress grows, never passes its size, and ends there."""
    seen: dict[str, list[int]] = {}
    totals: dict[str, int] = {}

    def note(file: str, done: int, total: int) -> None:
        seen.setdefault(file, []).append(done)
        totals[file] = total

    get(table(hub), tmp_path / "m", on_progress=note)

    assert totals == {name: len(content) for name, content in CONTENTS.items()}
    for name, counts in seen.items():
        assert counts == sorted(counts)
        assert counts[-1] == totals[name]


def test_a_model_that_is_there_is_not_fetched_again(hub: Hub, tmp_path: Path) -> None:
    """A second download asks nobody."""
    get(table(hub), tmp_path / "m")
    hub.asked.clear()

    get(table(hub), tmp_path / "m")

    assert hub.asked == []


def test_a_mirror_is_asked_instead_of_the_sources(hub: Hub, tmp_path: Path) -> None:
    """MODEL_MIRROR serves `<mirror>/<model name>/<file>`, and nobody else is asked."""
    hub.files = {f"mirror/small/{name}": content for name, content in CONTENTS.items()}
    models = table(hub, sources=(Files("http://127.0.0.1:9/nobody"),))

    folder = get(models, tmp_path / "m", mirror=f"{hub.base}/mirror/")

    assert contents_of(folder) == CONTENTS


def test_proxies_of_the_environment_are_used(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTP_PROXY decides who is asked, as for every other program."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)

    with pytest.raises(DownloadFailed, match="refused"):
        get(table(hub), tmp_path / "m")
    assert hub.asked == []


# -- Broken connections ----------------------------------------------------------------------------


def test_a_broken_transfer_is_continued_where_it_broke(hub: Hub, tmp_path: Path) -> None:
    """After a break only the rest is asked for, provided it is of the same file."""
    hub.cuts = [1_000_000, 1_500_000]

    folder = get(table(hub), tmp_path / "m")

    assert contents_of(folder) == CONTENTS
    assert hub.sent == sum(map(len, CONTENTS.values()))
    (_, first, _), (_, second, tag), (_, third, _) = hub.asked[:3]
    assert (first, second, third) == (None, "bytes=1000000-", "bytes=2500000-")
    assert tag == f'"{hashlib.md5(ENCODER).hexdigest()}"'


@pytest.mark.parametrize("without", ["ranges", "tags", "lengths"])
def test_hosts_that_lack_something_still_serve(hub: Hub, tmp_path: Path, without: str) -> None:
    """A host that knows no ranges, no ETags or no lengths costs time, not the download."""
    setattr(hub, without, False)
    hub.cuts = [1_000_000]

    assert contents_of(get(table(hub), tmp_path / "m")) == CONTENTS


def test_a_silent_host_is_given_up_on_and_asked_again(hub: Hub, tmp_path: Path) -> None:
    """A connection that says nothing is closed after the timeout, and the file continued."""
    hub.stalls = [2_000_000]

    assert contents_of(get(table(hub), tmp_path / "m")) == CONTENTS
    assert hub.asked[1][1] == "bytes=2000000-"


def test_a_busy_host_is_asked_again(hub: Hub, tmp_path: Path) -> None:
    """503 and 429 are worth another try."""
    hub.statuses = [503, 429]

    assert contents_of(get(table(hub), tmp_path / "m")) == CONTENTS


def test_tries_end_but_start_anew_with_every_gain(hub: Hub, tmp_path: Path) -> None:
    """Three breaks in a row without gain end it; breaks that each bring a MiB do not."""
    hub.cuts = [10, 10, 10]
    with pytest.raises(DownloadFailed, match=r"127\.0\.0\.1: .*encoder\.int8\.onnx.*the same command continues"):
        get(table(hub), tmp_path / "m")

    hub.cuts = [10, 1_100_000, 10, 1_100_000, 10]
    assert contents_of(get(table(hub), tmp_path / "m")) == CONTENTS


def test_what_arrived_before_a_failure_is_not_fetched_again(hub: Hub, tmp_path: Path) -> None:
    """A later call continues, also after the process has ended in between."""
    hub.cuts = [2_000_000, 0, 0, 0]
    with pytest.raises(DownloadFailed):
        get(table(hub), tmp_path / "m")
    assert not (tmp_path / "m").exists()
    hub.sent = 0
    hub.cuts = []

    assert contents_of(get(table(hub), tmp_path / "m")) == CONTENTS
    assert hub.sent == sum(map(len, CONTENTS.values())) - 2_000_000


def test_a_file_that_changed_meanwhile_is_fetched_from_its_beginning(hub: Hub, tmp_path: Path) -> None:
    """The beginning of another file is never the beginning of this one: If-Range says so, the checksum otherwise."""
    for hub.tags in (True, False):
        folder = tmp_path / f"tags-{hub.tags}"
        hub.files["hub/encoder.int8.onnx"] = bytes(len(ENCODER))
        hub.cuts = [1_000_000, 0, 0, 0]
        with pytest.raises(DownloadFailed):
            get(table(hub), folder)
        hub.files["hub/encoder.int8.onnx"] = ENCODER
        hub.cuts = []

        assert contents_of(get(table(hub), folder)) == CONTENTS


def test_an_untrusted_certificate_is_named_and_can_be_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a proxy that opens connections, SSL_CERT_FILE helps; without it no byte is believed."""
    authority = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    with open_hub(tls) as hub:
        hub.files = {f"hub/{name}": content for name, content in CONTENTS.items()}

        with pytest.raises(DownloadFailed, match=r"certificate is not trusted \(SSL_CERT_FILE"):
            get(table(hub), tmp_path / "m")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
        assert contents_of(get(table(hub), tmp_path / "m")) == CONTENTS


@pytest.mark.parametrize(("name", "value"), [("SSL_CERT_FILE", "/nowhere.pem"), ("HTTPS_PROXY", "spam://x")])
def test_a_wrong_variable_is_named(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """What the environment says about the network and cannot be used is said in one line."""
    monkeypatch.setenv(name, value)

    with pytest.raises(DownloadFailed, match=name):
        get(table(hub), tmp_path / "m")


# -- Wrong answers ---------------------------------------------------------------------------------


def test_wrong_bytes_are_thrown_away(hub: Hub, tmp_path: Path) -> None:
    """A file of the right size and the wrong content never becomes a model, nor the beginning of one."""
    hub.files["hub/joiner.int8.onnx"] = bytes(20_000)

    with pytest.raises(DownloadFailed, match=r"another joiner\.int8\.onnx: the checksum differs"):
        get(table(hub), tmp_path / "m")

    assert not (tmp_path / "m").exists()
    assert not (tmp_path / "m.part" / "small" / "joiner.int8.onnx").exists()


@pytest.mark.parametrize("ranges", [True, False])
def test_a_file_of_another_size_is_refused_before_it_is_fetched(hub: Hub, tmp_path: Path, ranges: bool) -> None:
    """A login page in place of 650 MB costs nothing, and what had arrived before survives it."""
    hub.cuts = [1_000_000, 0, 0, 0]
    with pytest.raises(DownloadFailed):
        get(table(hub), tmp_path / "m")
    hub.files["hub/encoder.int8.onnx"] = b"<html>Please log in.</html>"
    hub.cuts, hub.tags, hub.ranges = [], False, ranges

    with pytest.raises(DownloadFailed, match=r"another encoder\.int8\.onnx: 27 bytes instead of 3,000,000"):
        get(table(hub), tmp_path / "m")
    assert (tmp_path / "m.part" / "small" / "encoder.int8.onnx").read_bytes() == ENCODER[:1_000_000]


def test_more_bytes_than_promised_are_not_waited_for(hub: Hub, tmp_path: Path) -> None:
    """An endless answer without a length is left as soon as it is too long."""
    hub.files = {"hub/tokens.txt": bytes(1_000_000)}
    hub.lengths = False
    hub.stalls = [100_000]

    with pytest.raises(DownloadFailed, match=r"another tokens\.txt: more bytes than 8"):
        get(table(hub, {"tokens.txt": CONTENTS["tokens.txt"]}), tmp_path / "m")
    assert not (tmp_path / "m.part" / "small" / "tokens.txt").exists()
    assert len(hub.asked) == 1


def test_the_archive_is_the_second_source(hub: Hub, tmp_path: Path) -> None:
    """Files that the first source lacks are unpacked from the archive; nothing else of it is, and it does not stay."""
    del hub.files["hub/decoder.int8.onnx"]
    hub.files["hub/joiner.int8.onnx"] = bytes(20_000)
    models = table(hub, sources=(Files(f"{hub.base}/hub"), add_archive(hub)))

    folder = get(models, tmp_path / "deep" / "m")

    assert contents_of(folder) == CONTENTS
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == sorted(
        ["deep", "deep/m", *(f"deep/m/{name}" for name in (*CONTENTS, NOTICE))]
    )
    assert [path for path, _, _ in hub.asked].count("hub/encoder.int8.onnx") == 1


def test_an_archive_with_wrong_files_is_no_source(hub: Hub, tmp_path: Path) -> None:
    """The archive's own checksum is not taken as word for the files in it."""
    hub.files = {}
    archive = add_archive(hub, {**CONTENTS, "tokens.txt": b"<unk> 1\n"})

    with pytest.raises(DownloadFailed, match=r"model\.tar\.bz2 holds no good tokens\.txt"):
        get(table(hub, sources=(archive,)), tmp_path / "m")


def test_every_source_that_failed_is_named_with_its_reason(hub: Hub, tmp_path: Path) -> None:
    """The message says which host did what, and what can be set; it shows no address and no password."""
    hub.files = {}
    sources = (Files("http://user:hunter2@127.0.0.1:9/secret"), Files(f"{hub.base}/hub"))

    with pytest.raises(DownloadFailed) as failed:
        get(table(hub, sources=sources), tmp_path / "m")

    message = failed.value.message
    for part in (
        "refused",
        "127.0.0.1 answered 404 Not Found",
        "HTTPS_PROXY",
        "MODEL_MIRROR",
        "small/encoder.int8.onnx",
    ):
        assert part in message
    assert "hunter2" not in message
    assert "http://" not in message


@pytest.mark.parametrize("mirror", ["ftp://host/x", "not an address", "http://", "http://[::1", "//host"])
def test_a_mirror_that_is_no_address_is_named(hub: Hub, tmp_path: Path, mirror: str) -> None:
    """A mistyped MODEL_MIRROR is said to be one."""
    with pytest.raises(DownloadFailed, match="MODEL_MIRROR"):
        get(table(hub), tmp_path / "m", mirror=mirror)


def test_an_unknown_model_is_answered_with_those_there_are(tmp_path: Path) -> None:
    """A mistyped name is answered with the right ones."""
    with pytest.raises(DownloadFailed, match=r"'parakeet-v9'.*parakeet-tdt-0\.6b-v3, parakeet-tdt-0\.6b-v2"):
        download("parakeet-v9", tmp_path)


# -- The disk --------------------------------------------------------------------------------------


def test_a_disk_that_is_too_small_is_noticed_first(hub: Hub, tmp_path: Path) -> None:
    """Nothing is fetched that cannot be stored; the message says how much is needed and where."""
    models = table(hub, files=(ModelFile("encoder.int8.onnx", 10**15, "0" * 64),))

    with pytest.raises(
        DownloadFailed, match=rf"Not enough space in {tmp_path}: 953,674,3\d\d MiB are needed, .* free\.$"
    ):
        get(models, tmp_path / "m")
    assert hub.asked == []


def test_a_folder_that_cannot_be_written_is_named(hub: Hub, tmp_path: Path) -> None:
    """A disk error says which file, and is no reason to ask another source."""
    (tmp_path / "file").write_text("")

    with pytest.raises(DownloadFailed, match=rf"cannot be stored: {tmp_path}/file/m\.part: Not a directory"):
        get(table(hub), tmp_path / "file" / "m")


def test_a_folder_that_exists_is_filled_in_place(hub: Hub, tmp_path: Path) -> None:
    """An empty volume cannot be renamed over: its parent is not touched."""
    volume = tmp_path / "volume"
    volume.mkdir()
    inode = volume.stat().st_ino

    get(table(hub), volume)

    assert (volume.stat().st_ino, contents_of(volume)) == (inode, CONTENTS)
    assert [path.name for path in tmp_path.iterdir()] == ["volume"]


def test_an_unfinished_download_into_a_volume_leaves_it_empty_to_the_server(hub: Hub, tmp_path: Path) -> None:
    """Until all is there the server does not take the beginnings for a broken model."""
    hub.cuts = [2_000_000, 0, 0, 0]
    (tmp_path / "volume").mkdir()
    with pytest.raises(DownloadFailed):
        get(table(hub), tmp_path / "volume")
    embedded = get(table(hub), tmp_path / "embedded")

    assert find_model(tmp_path / "volume", embedded=embedded).embedded


def test_other_files_are_not_overwritten_unasked(hub: Hub, tmp_path: Path) -> None:
    """Another model, or a damaged one, stays as it is unless `replace` says otherwise."""
    get(table(hub), tmp_path / "m")
    (tmp_path / "m" / "tokens.txt").write_text("damaged")
    before = contents_of(tmp_path / "m")

    with pytest.raises(DownloadFailed, match=r"holds other files: tokens\.txt.*--replace"):
        get(table(hub), tmp_path / "m")
    assert contents_of(tmp_path / "m") == before


def test_a_damaged_file_is_replaced_alone(hub: Hub, tmp_path: Path) -> None:
    """Repairing fetches what is damaged and nothing else, whatever list of checksums blessed it."""
    get(table(hub), tmp_path / "m")
    (tmp_path / "m" / "tokens.txt").write_text("damaged")
    (tmp_path / "m" / CHECKSUMS).write_text("of the damaged one")
    hub.asked.clear()

    get(table(hub), tmp_path / "m", replace=True)

    assert contents_of(tmp_path / "m") == CONTENTS
    assert [path for path, _, _ in hub.asked] == ["hub/tokens.txt"]


def test_a_model_takes_anothers_place_but_not_other_files(hub: Hub, tmp_path: Path) -> None:
    """After `replace` no file of the old model can be mistaken for the new one's; foreign files stay."""
    get(table(hub), tmp_path / "m")
    (tmp_path / "m" / "my notes.txt").write_text("mine")
    other = {"encoder-model.int8.onnx": b"e", "decoder_joint-model.int8.onnx": b"d", "vocab.txt": b"v"}
    hub.files.update({f"hub/{name}": content for name, content in other.items()})

    get(table(hub, other, "other"), tmp_path / "m", replace=True)

    assert contents_of(tmp_path / "m") == {**other, "my notes.txt": b"mine"}


def test_a_failed_replacement_leaves_the_old_model_as_it_was(hub: Hub, tmp_path: Path) -> None:
    """The old model goes only when the new one is whole."""
    get(table(hub), tmp_path / "m")
    other = {**CONTENTS, "encoder.int8.onnx": b"never served"}

    with pytest.raises(DownloadFailed):
        get(table(hub, other, "other"), tmp_path / "m", replace=True)

    assert contents_of(tmp_path / "m").items() >= CONTENTS.items()


# -- Processes -------------------------------------------------------------------------------------

SCRIPT = textwrap.dedent("""
    import sys
    from pathlib import Path
    sys.path.insert(0, sys.argv[3])
    from tests.hub import Hub
    from tests.speech.test_download import get, table, ModelFile
    from stt_server.errors import DownloadFailed
    files = tuple(ModelFile(*line.split(":")) for line in sys.argv[4:])
    files = tuple(ModelFile(f.name, int(f.size), f.sha256) for f in files)
    try:
        get(table(Hub(sys.argv[1]), files=files), Path(sys.argv[2]))
    except DownloadFailed as failed:
        print(failed.message)
        sys.exit(1)
""")


def command(hub: Hub, folder: Path) -> list[str]:
    """A download as a program of its own."""
    files = (f"{f.name}:{f.size}:{f.sha256}" for f in table(hub)["small"].files)
    return [sys.executable, "-c", SCRIPT, hub.base, str(folder), str(Path(__file__).parents[2]), *files]


def start(hub: Hub, folder: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(command(hub, folder), stdout=subprocess.PIPE, text=True)


def wait_until_asked(hub: Hub, process: "subprocess.Popen[str]") -> None:
    while not hub.sent:
        assert process.poll() is None, process.stdout and process.stdout.read()
        hub.released.wait(0.01)


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_download_is_continued(hub: Hub, tmp_path: Path, by: signal.Signals) -> None:
    """Whatever ends the process: the next one continues, and no lock stays behind."""
    hub.stalls = [2_000_000]
    process = start(hub, tmp_path / "m")
    wait_until_asked(hub, process)
    part = tmp_path / "m.part" / "small" / "encoder.int8.onnx"
    while not (part.exists() and part.stat().st_size):
        hub.released.wait(0.01)
    process.send_signal(by)
    process.communicate()
    assert process.returncode != 0
    arrived = part.stat().st_size

    assert contents_of(get(table(hub), tmp_path / "m")) == CONTENTS
    assert hub.asked[-4][1] == f"bytes={arrived}-"


def test_two_downloads_into_one_folder_do_not_mix(hub: Hub, tmp_path: Path) -> None:
    """The second one is refused while the first one runs, and finds the model afterwards."""
    hub.stalls = [2_000_000]
    process = start(hub, tmp_path / "m")
    wait_until_asked(hub, process)

    with pytest.raises(DownloadFailed, match=r"Another download into .* is running"):
        get(table(hub), tmp_path / "m")
    assert process.communicate()[0] == ""
    assert process.returncode == 0

    hub.asked.clear()
    assert contents_of(get(table(hub), tmp_path / "m")) == CONTENTS
    assert hub.asked == []


@pytest.mark.skipif(not shutil.which("unshare"), reason="no unshare")
def test_a_mounted_volume_is_filled(hub: Hub, tmp_path: Path) -> None:
    """A folder that is another file system than its parent takes a model like any other."""
    volume = tmp_path / "m"
    volume.mkdir()
    mounted = 'mount -t tmpfs none "$0" || exit 77; "$@" && ls "$0"'
    ended = subprocess.run(
        ["unshare", "-rm", "sh", "-c", mounted, str(volume), *command(hub, volume)], capture_output=True, text=True
    )
    if ended.returncode == 77 or ended.stderr.startswith("unshare"):
        pytest.skip("no right to mount")
    assert set(ended.stdout.split()) == {*CONTENTS, NOTICE}
