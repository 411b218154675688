"""Whether the server lives and is ready, and what models it has."""

from fastapi import APIRouter

from stt_server import __version__
from stt_server.errors import ModelLoading
from stt_server.web.form import model_not_found
from stt_server.web.schemas import AliveBody, CountsBody, HealthBody, ModelBody, ModelsBody
from stt_server.web.services import Authenticated, Parts, Services

router = APIRouter()


@router.get("/health/live")
@router.head("/health/live", include_in_schema=False)
async def live() -> AliveBody:
    """The process answers."""
    return AliveBody(status="alive")


@router.get("/health/ready")
@router.head("/health/ready", include_in_schema=False)
async def ready(services: Parts) -> AliveBody:
    """The model is loaded, and has recognised a test clip."""
    _check_ready(services)
    return AliveBody(status="ready")


@router.get("/health")
@router.head("/health", include_in_schema=False)
async def health(services: Parts) -> HealthBody:
    """Ready, and the facts."""
    _check_ready(services)
    counts = await services.census.counts()
    return HealthBody(
        model=services.model.name,
        embedded=services.model.embedded,
        verified=services.model.verified,
        owned_by=services.model.owned_by,
        version=__version__,
        queue_length=services.queue.waiting,
        db_stats=CountsBody(
            total=counts.total, completed=counts.completed, failed=counts.failed, pending=counts.pending
        ),
    )


def _check_ready(services: Services) -> None:
    if not services.queue.ready:
        raise ModelLoading(retry_after=1)


@router.get("/v1/models")
async def models(services: Parts, _: Authenticated) -> ModelsBody:
    """Every id that `model` may be. All mean the installed one."""
    return ModelsBody(data=[_model(services, name) for name in services.model.ids])


@router.get("/v1/models/{model_id:path}")
async def model(model_id: str, services: Parts, _: Authenticated) -> ModelBody:
    """One of them."""
    if model_id not in services.model.ids:
        raise model_not_found(model_id, services.model.ids)
    return _model(services, model_id)


def _model(services: Services, name: str) -> ModelBody:
    return ModelBody(id=name, created=services.model.created, owned_by=services.model.owned_by)
