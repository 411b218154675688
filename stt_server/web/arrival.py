"""One submission on its way in: its fields, its place in the queue, its audio.

The order of checks is part of the contract: ids, a job that is known already, options, a place in the queue, audio.
"""

from contextlib import aclosing
from typing import Self
from uuid import uuid4

from starlette.requests import Request

from stt_server.errors import (
    BadRequest,
    BadUrl,
    SttError,
    TooLarge,
    UnsupportedOption,
    UpstreamFailed,
    UrlDenied,
    UrlFailed,
    UrlRefused,
)
from stt_server.jobs.queue import Slot
from stt_server.types import Job, JobStatus, Key
from stt_server.web.auth import Caller
from stt_server.web.form import Form, Wanted
from stt_server.web.intake import FileBytes, FileStart, Text, pieces
from stt_server.web.services import Services
from stt_server.web.upload import Upload
from stt_server.web.waiting import unless_gone

FETCH_FAILED = "Failed to fetch audio from URL"


class Arrival:
    """Leaving it gives back the place and removes the file, unless the queue has taken them over."""

    def __init__(self, services: Services, caller: Caller, request: Request) -> None:
        self.id = str(uuid4())
        self.key: Key | None = None
        """The caller's name for the recording; None when the caller waits in the call."""
        self.force = False
        """Transcribe again what is known already."""
        self._services = services
        self._caller = caller
        self._request = request
        self._form = Form(request.query_params.get("response_format"))
        self._known: Job | None = None
        self._slot: Slot | None = None
        self._wanted: Wanted | None = None
        self._upload: Upload | None = None
        self._spoilt: SttError | None = None
        """What is wrong with audio that may not be needed."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._slot:
            if self._slot.held:  # the queue has not taken it over
                self._services.limits.settle(self.id, 0)
            self._slot.release()
        if self._upload:
            await self._upload.remove()

    @property
    def slot(self) -> Slot:
        """Its place in the queue."""
        assert self._slot
        return self._slot

    @property
    def wanted(self) -> Wanted:
        """What its fields ask for."""
        assert self._wanted
        return self._wanted

    @property
    def container(self) -> str:
        """What kind of file its audio is."""
        assert self._upload
        return self._upload.container

    async def receive(self) -> Job | None:
        """Take the body in. Returns the job that answers it already, if there is one."""
        audio = False
        max_bytes = self._services.settings.max_upload_bytes
        async with aclosing(pieces(self._request, max_file_bytes=max_bytes)) as body:
            async for piece in body:
                match piece:
                    case Text():
                        self._form.add(piece.name, piece.value)
                    case FileStart():
                        if audio := piece.field == "file":
                            await self._begin(piece.name)
                    case FileBytes():
                        if audio:
                            await self._write(piece.data)
        return await self._conclude()

    async def _begin(self, filename: str) -> None:
        """The audio begins: refuse now what is refused anyway."""
        if self._upload:
            raise BadRequest("Send one file.", param="file")
        self.key = self._form.key(self._caller.tenant, complete=False)
        if not await self._find():
            self._check()
        self._upload = self._new_upload(filename)

    async def _find(self) -> Job | None:
        """The job that this one repeats."""
        self._known = await self._services.store.find(self.key, force=self._form.force) if self.key else None
        if self._known and self._known.status is JobStatus.COMPLETED and self._known.transcript is None:
            # Retention has erased its text: it answers nothing any more.
            self._known, self.force = None, True
        return self._known

    def _check(self) -> None:
        """Whether what is asked for can be done, and there is a place in the queue."""
        model = self._services.model
        self._wanted = self._form.wanted(model.name, model.ids)
        if self._wanted.stream and self.key:
            raise UnsupportedOption("A job cannot be streamed: leave out its ids, or `stream`.", param="stream")
        if self._slot is None:
            self._services.limits.check_audio(self._caller)
            self._services.queue.check(self._caller.tenant)

    def _enter(self) -> None:
        """Take a place: not before there is some audio, or clients that send none would keep all others out."""
        if self._slot is None:
            self._slot = self._services.queue.reserve(self._caller.tenant)

    def _new_upload(self, filename: str) -> Upload:
        max_bytes = self._services.settings.max_upload_bytes
        return Upload(self._services.spool, self.id, filename=filename, max_bytes=max_bytes)

    async def _write(self, data: bytes) -> None:
        assert self._upload
        if self._spoilt:
            return
        try:
            await self._upload.write(data)
            if self._upload.container and not self._known:
                self._enter()
        except SttError as error:
            if self._known is None:
                raise
            # Its job is known, and needs no audio unless a `force` follows.
            self._spoilt = error

    async def _conclude(self) -> Job | None:
        """All is read: what was not certain before is now."""
        self.key = self._form.key(self._caller.tenant, complete=True)
        self.force = self._form.force
        if known := await self._find():
            return known
        if self._spoilt:
            raise self._spoilt
        upload = None if self._upload is None or self._upload.absent else self._upload
        url = self._form.get("url")
        if upload is None and url is None:
            raise BadRequest("There is no audio: [body -> file] is missing. Send a `file`, or a `url`.")
        self._check()
        if upload:
            self._enter()
            await upload.finish()
        else:
            await self._fetch(url or "")
            self._enter()
        return None

    async def _fetch(self, url: str) -> None:
        self._upload = self._new_upload("")
        fetching = self._services.fetcher.fetch(url, self._services.queue.part(self.id))
        try:
            filename = await unless_gone(self._request.receive, fetching)
        except (BadUrl, UrlRefused, UrlDenied, UpstreamFailed, TooLarge) as error:
            if self.key is None:
                raise
            # Whoever submits a job must not be told to try again by a status.
            raise _blamed(error) from error
        await self._upload.adopt(filename)


def _blamed(error: SttError) -> UrlFailed:
    message = error.message if error.message.startswith(FETCH_FAILED) else f"{FETCH_FAILED}: {error.message}"
    return UrlFailed(message, param="url")
