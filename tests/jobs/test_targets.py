"""What a URL asks for, judged by its text."""

import base64
import traceback
from ipaddress import ip_address

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_server.errors import BadUrl, SttError, UrlRefused
from stt_server.jobs.targets import connectable, hint, parse, redirected

WAZO = "https://pbx.example/api/calld/1.0/users/me/voicemails/messages/1724107750-00000001/recording?token=s3cr3t"


@pytest.mark.parametrize(
    ("text", "host", "port", "header"),
    [
        (WAZO, "pbx.example", 443, "pbx.example"),
        ("HTTP://PBX.Example:8080/x", "pbx.example", 8080, "pbx.example:8080"),
        ("http://pbx.example:80", "pbx.example", 80, "pbx.example"),
        ("https://pbx.example:80", "pbx.example", 80, "pbx.example:80"),
        ("https://pbx.example.:8443/", "pbx.example", 8443, "pbx.example:8443"),
        ("http://[2001:DB8:0::1]:8080/x", "2001:db8::1", 8080, "[2001:db8::1]:8080"),
        ("http://münchen.example/ä", "xn--mnchen-3ya.example", 80, "xn--mnchen-3ya.example"),
    ],
)
def test_a_url_is_read(text: str, host: str, port: int, header: str) -> None:
    """Host, port and the name the server goes by are found."""
    target = parse(text)
    assert (target.host, target.port, target.host_header) == (host, port, header)


def test_path_and_query_arrive_as_they_were_sent() -> None:
    """Signatures cover the exact bytes of a URL; the name gives way to the address and nothing else changes."""
    path = "/a%2Fb/c%20d;v=1?x=%zz&y=a%2Bb+c&&sig=ab%3D%3D"
    sent = connectable(parse(f"https://u:p@pbx.example:8443{path}#fragment"), ip_address("2001:db8::1"))
    assert str(sent) == f"https://[2001:db8::1]:8443{path}"
    assert sent.raw_path == path.encode()


@pytest.mark.parametrize(
    "text",
    ["", "pbx", "//pbx/x", "ftp://pbx/x", "file:///etc/passwd", "gopher://pbx", "data:audio/wav;base64,AAAA", "http:", "http://",
     "http:///x", "http:/x", "http:x", "https://:443/x", "http://user@/x", "http://pbx:99999/", "http://pbx:0/",
     "http://pbx:x/", "http://p bx/", "http://pb%78/", "http://pbx\\@evil/", "http://pbx/\\x", "http://pbx/\n", "http://p\tbx/",
     "http://pbx/\x00", "http://pbx/\u2028", "http://[::1/", "http://[v1.x]/", "http://256.1.1.1/",
     "http://a..b/", "http://*/", "http://①②⑦.⓪.⓪.①/", "http://" + "a" * 64 + "/",
     " http://pbx/", "http://pbx/" + "a" * 70_000],
)  # fmt: skip
def test_what_is_no_web_address_is_refused(text: str) -> None:
    """Other schemes, missing hosts, control characters, backslashes and broken ports are told apart from nothing."""
    with pytest.raises(BadUrl, match=r"^Failed to fetch audio from URL: it is not a valid"):
        parse(text)


@pytest.mark.parametrize("text", ["http://[fe80::1%25eth0]/", "http://[fe80::1%eth0]:8080/"])
def test_interfaces_cannot_be_named(text: str) -> None:
    """An address with a zone is refused."""
    with pytest.raises(UrlRefused):
        parse(text)


def test_a_password_becomes_a_header() -> None:
    """`user:password@` is sent as basic authorization, and is in nothing that is shown."""
    target = parse("https://us%40er:s3cr3t%3A@pbx.example/x?token=s3cr3t")
    assert target.authorization == "Basic " + base64.b64encode(b"us@er:s3cr3t:").decode()
    assert "s3cr3t" not in str(target.url.copy_with(query=None))
    assert "s3cr3t" not in repr(target)
    assert parse("https://@pbx.example/").authorization is None


@pytest.mark.parametrize(
    ("location", "lands"),
    [
        ("/other?token=t", "https://pbx.example:8443/other?token=t"),
        ("other", "https://pbx.example:8443/a/other"),
        ("?x=1", "https://pbx.example:8443/a/b?x=1"),
        ("//cdn.example/x", "https://cdn.example/x"),
        ("https://pbx.example/x#y", "https://pbx.example/x"),
        ("HTTPS://PBX.example:8443/x", "https://pbx.example:8443/x"),
    ],
)
def test_a_redirect_is_followed(location: str, lands: str) -> None:
    """A location is read against the name, never against the address that was connected to."""
    assert str(redirected(parse("https://pbx.example:8443/a/b?token=s3cr3t"), location).url) == lands


@pytest.mark.parametrize(
    ("location", "kept"),
    [
        ("/x", True),
        ("https://pbx.example:443/x", True),
        ("https://pbx.example:8443/x", False),
        ("https://sub.pbx.example/x", False),
        ("https://evil.example/x", False),
    ],
)
def test_a_password_stays_with_its_origin(location: str, kept: bool) -> None:
    """Authorization is sent on to the same scheme, host and port only, and does not come back from a detour."""
    first = parse("https://user:s3cr3t@pbx.example/a")
    landed = redirected(first, location)
    assert (landed.authorization == first.authorization) is kept
    assert kept or redirected(landed, "https://pbx.example/a").authorization is None


@pytest.mark.parametrize(
    "location",
    ["http://pbx.example/x", "http://other.example/", "https://user:pw@pbx.example/", "https://user@other.example/",
     "file:///etc/passwd", "ftp://pbx.example/", "javascript:alert(1)", "https://pbx\\@evil/", "/\\evil",
     "/a\tb", "https://pbx.example:99999/", "https://[::1", "https://[fe80::1%25lo]/", "data:,x"],
)  # fmt: skip
def test_a_redirect_may_not_lead_astray(location: str) -> None:
    """Passwords chosen by the server, a way from https down to http, and all that is no web address: one refusal."""
    with pytest.raises(UrlRefused) as caught:
        redirected(parse("https://pbx.example/a"), location)
    assert caught.value.message == UrlRefused().message


def test_http_may_lead_to_https() -> None:
    """The way up is open."""
    assert redirected(parse("http://pbx.example/a"), "https://pbx.example/a").port == 443


@given(st.text(max_size=80), st.sampled_from(["", "http://", "https://pbx.example", "http://u:p@"]))
def test_any_text_is_read_or_refused(text: str, before: str) -> None:
    """No text leads to another error, in a URL or in a redirect."""
    for read in (parse, lambda value: redirected(parse("https://pbx.example/a?b"), value)):
        try:
            target = read(before + text)
        except (BadUrl, UrlRefused):
            continue
        assert isinstance(connectable(target, ip_address("1.1.1.1")), httpx.URL)
        assert connectable(target, ip_address("1.1.1.1")).host == "1.1.1.1"


@pytest.mark.parametrize(
    "text",
    [
        "https://u:s3cr3t@pb x/?token=s3cr3t",
        "http://pbx:s3cr3t/",
        "http://s3cr3t\n",
        "http://[s3cr3t]/?token=s3cr3t",
        "s3cr3t://",
    ],
)
def test_errors_do_not_quote_the_url(text: str) -> None:
    """Not in the message and not in the traceback."""
    with pytest.raises(SttError) as caught:
        parse(text)
    assert "s3cr3t" not in str(caught.value)
    assert "s3cr3t" not in "".join(traceback.format_exception_only(caught.value))
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("disposition", "path", "expected"),
    [
        ("", "/messages/1/recording", None),
        ("", "/x/msg0001.GSM?token=a.b", "audio.gsm"),
        ("attachment;filename=vm-msg-1.wav", "/recording", "audio.wav"),
        ('attachment; filename="a; b.ulaw"', "/x.wav", "audio.ulaw"),
        ("attachment; filename*=UTF-8''n%C3%A4me.g722", "/x.wav", "audio.g722"),
        ("filename=a.gsm", "/x", "audio.gsm"),
        ('attachment; filename="../../etc/passwd"', "/x.mp3", "audio.mp3"),
        ("attachment; filename=", "/a%2Fb.wav", "audio.wav"),
        ('attachment; filename="x.' + "a" * 99 + '"', "/x.", None),
        ("inline", "/x.w%00v", None),
    ],
)
def test_only_an_extension_is_taken_as_a_hint(disposition: str, path: str, expected: str | None) -> None:
    """The name a server gives wins over the path's; nothing but a short plain extension comes through."""
    assert hint(disposition, parse(f"http://pbx.example{path}")) == expected


@given(st.text(max_size=200))
def test_hints_are_tame(text: str) -> None:
    """Whatever a server writes, a hint is a short plain file name."""
    found = hint(text, parse("http://pbx.example/x"))
    assert found is None or (found.isascii() and found.isprintable() and len(found) < 15 and "/" not in found)
