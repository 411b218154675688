"""The parts of a running server, built once and handed to every request."""

from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request

from stt_server.jobs.fetch import Fetcher
from stt_server.jobs.queue import Queue
from stt_server.jobs.spool import Spool
from stt_server.jobs.stores import Store
from stt_server.settings import Settings
from stt_server.speech.models import Installed
from stt_server.web.auth import Caller, Keys
from stt_server.web.census import Census
from stt_server.web.limits import Limits


@dataclass(frozen=True, slots=True)
class Services:
    """Everything a route may need."""

    settings: Settings
    model: Installed
    store: Store
    spool: Spool
    queue: Queue
    fetcher: Fetcher
    keys: Keys
    limits: Limits
    census: Census


async def _services(request: Request) -> Services:
    return cast("Services", request.app.state.services)


Parts = Annotated[Services, Depends(_services)]
"""A route's parameter of this type gets the server's parts."""


async def _caller(request: Request, services: Parts) -> Caller:
    caller = services.keys.identify(request.headers.get("authorization"), in_query="api_key" in request.query_params)
    request.state.tenant = caller.tenant
    request.state.headers = services.limits.headers(caller)
    services.limits.count(caller)
    return caller


Authenticated = Annotated[Caller, Depends(_caller)]
"""A route with a parameter of this type asks for a key and counts against its limits."""
