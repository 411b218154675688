"""Everything that can go wrong, as a tree. A class docstring is its default message.

The families answer one question: would sending it again help? Only `web.app` knows their HTTP numbers.
"""

from typing import ClassVar


class SttError(Exception):
    """Something went wrong."""

    code: ClassVar[str] = "error"
    """Unique and stable: callers may depend on it."""

    def __init__(self, message: str | None = None, *, param: str | None = None) -> None:
        self.message = message or (type(self).__doc__ or "").strip()
        self.param = param
        super().__init__(self.message)


# -- No: the request itself is wrong ---------------------------------------------------------------


class BadRequest(SttError):
    """The request is not valid."""

    code = "bad_request"


class BadAudio(BadRequest):
    """The audio could not be decoded. It may be damaged, or in a format that is not supported."""

    code = "invalid_audio"


class AudioTooLong(BadRequest):
    """The audio is longer than this server accepts."""

    code = "audio_too_long"


class AudioTooShort(BadRequest):
    """The audio is shorter than 0.1 seconds."""

    code = "audio_too_short"


class AudioLost(BadRequest):
    """The audio of this job is gone. Submit it again."""

    code = "audio_lost"


class FailedBefore(BadRequest):
    """The transcription failed on the server that this one replaced. Submit it again."""

    code = "legacy"


class JobFailed(BadRequest):
    """The job failed."""

    code = "job_failed"

    def __init__(self, message: str | None = None, *, param: str | None = None, reason: str = code) -> None:
        super().__init__(message, param=param)
        self.reason = reason
        """Code of what went wrong then."""


class UnsupportedOption(BadRequest):
    """This option is not supported here."""

    code = "unsupported_value"


class InvalidLanguage(BadRequest):
    """Invalid language. Send an ISO 639 code (`fr`, `fra`, `fr-FR`) or an English name (`french`)."""

    code = "invalid_language_format"


class BadUrl(BadRequest):
    """The url is not a valid http or https address."""

    code = "invalid_url"


class UrlRefused(BadRequest):
    """Failed to fetch audio from URL: the address is not allowed or does not answer."""

    code = "url_refused"


class UrlDenied(BadRequest):
    """Failed to fetch audio from URL: its server does not hand it out."""

    code = "url_denied"


class UrlFailed(BadRequest):
    """Failed to fetch audio from URL."""

    code = "url_fetch_failed"


class BadHttp(BadRequest):
    """This is not a valid HTTP request."""

    code = "invalid_http"


class TooSlow(SttError):
    """The request did not arrive in time."""

    code = "request_timeout"


class Unauthorized(SttError):
    """Incorrect API key provided. Send it as `Authorization: Bearer <key>`."""

    code = "invalid_api_key"


class NotFound(SttError):
    """There is nothing here."""

    code = "not_found"


class JobNotFound(NotFound):
    """There is no such job."""

    code = "job_not_found"


class TextExpired(NotFound):
    """The text of this job has been erased: nobody had read it for a long time. Submit the audio again."""

    code = "text_expired"


class ModelNotFound(NotFound):
    """There is no such model."""

    code = "model_not_found"


class MethodNotAllowed(SttError):
    """This address does not answer that method."""

    code = "method_not_allowed"


class TooLarge(SttError):
    """The upload is larger than this server accepts."""

    code = "upload_too_large"


# -- Later: the server is busy or not ready --------------------------------------------------------


class Temporary(SttError):
    """Try again later."""

    code = "try_again"

    def __init__(self, message: str | None = None, *, param: str | None = None, retry_after: float = 1.0) -> None:
        super().__init__(message, param=param)
        self.retry_after = retry_after
        """Seconds until it is worth asking again."""


class Busy(Temporary):
    """Too many requests."""

    code = "busy"


class QueueFull(Busy):
    """The queue is full. Try again in a moment."""

    code = "queue_full"


class RateLimited(Busy):
    """Rate limit reached for this key."""

    code = "rate_limit_exceeded"


class Unavailable(Temporary):
    """The server cannot take this request now."""

    code = "unavailable"


class ModelLoading(Unavailable):
    """The model is still loading."""

    code = "model_loading"


class ShuttingDown(Unavailable):
    """The server is shutting down."""

    code = "shutting_down"


class StorageFull(Unavailable):
    """The server's disk is full. Nothing was kept; try again later."""

    code = "storage_full"


class StorageBusy(Unavailable):
    """The server's database does not answer. Nothing was kept; try again in a moment."""

    code = "storage_busy"


# -- Not ours, or our fault ------------------------------------------------------------------------


class UpstreamFailed(SttError):
    """Failed to fetch audio from URL."""

    code = "url_failed"


class UrlTimeout(UpstreamFailed):
    """Failed to fetch audio from URL: it took too long."""

    code = "url_timeout"


class UrlServerError(UpstreamFailed):
    """Failed to fetch audio from URL: its server failed."""

    code = "url_server_error"


class Internal(SttError):
    """The server failed on this request. Its log says why, under the request id."""

    code = "internal_error"


class EngineFailed(Internal):
    """The recogniser failed on this audio."""

    code = "engine_failed"


class WorkerCrashed(Internal):
    """The recogniser crashed on this audio three times. It will not be tried again."""

    code = "worker_crashed"


# -- At start: refuse to run -----------------------------------------------------------------------


class StartupError(SttError):
    """The server cannot start."""

    code = "startup_failed"


class ModelBroken(StartupError):
    """The model's files are missing or damaged."""

    code = "model_broken"


class StoreBroken(StartupError):
    """The database cannot be used."""

    code = "store_broken"


class DownloadFailed(StartupError):
    """The download failed."""

    code = "download_failed"
