"""The page that people bookmark: how the backups stand, at the address of the server of ``datasave serve``.

Prefect's own application does all the rest. Its single-page UI has its addresses at ``/dashboard``, ``/runs``
and so on; of its routes only ``/`` is taken, which would lead to the dashboard.

All is behind the password of the server. Pages come as the machine remembers it, as of now; the reports, the
runbook and the drills are files of the plan's state folder. Nothing can be changed here.
"""

from __future__ import annotations

import base64
import hmac
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.errors import DatasaveError
from tasks.notices.status_page import Link

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route
    from starlette.types import ASGIApp

    from tasks.context import PlanContext

    Page = Callable[[PlanContext, str], Response | None]

PLAN = "DATASAVE_SERVED_PLAN"
"""Environment variable: the plan file whose home page the server shows."""

REALM = 'Basic realm="Datasave", charset="UTF-8"'
UI = "/dashboard"
REPORTS = "/office/reports"
# As a report's own link has it, which leads from the folder of reports to the page beside it.
POSTURE = "/office/posture.html"
FORMS = "/deployments"


def create_app() -> ASGIApp:
    """Prefect's application with our pages before it; for uvicorn's ``--factory``."""
    from prefect.server.api.server import create_app as create_prefect

    app = create_prefect()
    app.router.routes[:0] = routes()
    return app


def routes() -> list[Route]:
    """Our pages: GET alone, each behind the password; and what Prefect's UI asks first of its server."""
    from starlette.routing import Route

    pages: dict[str, Page] = {
        "/": _home,
        "/office/metrics": _metrics,
        "/office/runbook": _runbook,
        POSTURE: _posture,
        REPORTS: _reports,
        f"{REPORTS}/{{name}}": _report,
    }
    ours = [Route(path, _answering(page), methods=["GET"]) for path, page in pages.items()]
    return [*ours, Route("/ui-settings", _ui_settings, methods=["GET"])]


def _ui_settings(_: Request) -> Response:
    """As Prefect answers, without its second UI: a banner on each page offers it, whatever is set.

    That one asks an analytics host (environment.py).
    """
    from prefect.server.schemas.ui import UISettings
    from prefect.settings import get_current_settings
    from starlette.responses import Response

    server = get_current_settings().server
    settings = UISettings(
        api_url=server.ui.api_url,
        csrf_enabled=False,
        auth="BASIC" if server.api.auth_string else None,
        flags=[],
        default_ui="v1",
        available_uis=["v1"],
        v1_base_url="/",
        v2_base_url=None,
    )
    return Response(settings.model_dump_json(), media_type="application/json")


def _answering(page: Page) -> Callable[[Request], Awaitable[Response]]:
    from starlette.concurrency import run_in_threadpool

    async def answer(request: Request) -> Response:
        return await run_in_threadpool(_answer, page, request)

    return answer


def _answer(page: Page, request: Request) -> Response:
    from starlette.responses import PlainTextResponse

    from tasks.context import PlanContext

    if not _may_enter(request):
        return PlainTextResponse(
            "The name and password of `datasave serve`, please.", 401, {"WWW-Authenticate": REALM}
        )
    try:
        found = page(PlanContext(Path(os.environ[PLAN])), request.path_params.get("name", ""))
    except DatasaveError as error:
        return _fault(error)
    if found is None:
        return PlainTextResponse("There is no such page.", 404)
    found.headers.update(
        {"Cache-Control": "no-store", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer"}
    )
    return found


def _may_enter(request: Request) -> bool:
    """Whether the request carries the server's name and password, as Prefect's own API asks for them."""
    demanded = os.environ.get("PREFECT_SERVER_API_AUTH_STRING", "")
    if not demanded:
        return True  # on loopback, where the user switched the password off
    expected = "Basic " + base64.b64encode(demanded.encode("utf-8")).decode("ascii")
    given = request.headers.get("Authorization", "")
    return hmac.compare_digest(given.encode("utf-8"), expected.encode("utf-8"))


def _fault(error: DatasaveError) -> Response:
    """A plan or a state that cannot be read is the office's verdict as well: it is told, in red."""
    from starlette.responses import HTMLResponse

    from tasks.notices.pages import page_html

    return HTMLResponse(page_html("fault.html", message=error.message, hint=error.hint or "", ui=UI), 500)


def _home(context: PlanContext, _: str) -> Response:
    from starlette.responses import HTMLResponse

    from tasks.health.status import status_of
    from tasks.notices.status_page import status_html

    return HTMLResponse(status_html(status_of(context), context.timezone, _links(context)))


def _links(context: PlanContext) -> list[Link]:
    """The pages there are, and Prefect's UI."""
    links = [Link(FORMS, "Start a backup, a drill or a restore"), Link(UI, "Watch runs (Prefect)")]
    if _runbook_page(context).is_file():
        links.append(Link("/office/runbook", "If the worst happens (runbook)"))
    if files := _files(context):
        links.append(Link(REPORTS, "Reports"))
        links += [
            Link(f"{REPORTS}/{name}", "Drills")
            for name in files
            if name == f"{context.plan.name}-drills.html"
        ]
    if _posture_page(context).is_file():
        links.append(Link(POSTURE, "Posture"))
    return [*links, Link("/office/metrics", "Figures for monitoring")]


def _runbook(context: PlanContext, _: str) -> Response | None:
    return _file(_runbook_page(context))


def _runbook_page(context: PlanContext) -> Path:
    from tasks.health.runbook import PAGE

    return context.state / PAGE


def _posture(context: PlanContext, _: str) -> Response | None:
    return _file(_posture_page(context))


def _posture_page(context: PlanContext) -> Path:
    from tasks.health.posture import PAGE

    return context.state / PAGE


def _files(context: PlanContext) -> dict[str, Path]:
    """The reports by name, newest first. What is asked for is looked up here, never made into a path."""
    found = sorted(context.reports.glob("*.html"), key=lambda path: path.stat().st_mtime, reverse=True)
    return {path.name: path for path in found}


def _reports(context: PlanContext, _: str) -> Response:
    from starlette.responses import HTMLResponse

    from tasks.notices.pages import page_html

    links = [Link(f"{REPORTS}/{name}", name.removesuffix(".html")) for name in _files(context)]
    return HTMLResponse(page_html("reports.html", office=context.plan.name, links=links))


def _report(context: PlanContext, name: str) -> Response | None:
    path = _files(context).get(name)
    return _file(path) if path else None


def _file(path: Path) -> Response | None:
    from starlette.responses import HTMLResponse

    return HTMLResponse(path.read_bytes()) if path.is_file() else None


def _metrics(context: PlanContext, _: str) -> Response:
    from starlette.responses import PlainTextResponse

    from tasks.health.status import status_of
    from tasks.notices.metrics import MEDIA_TYPE, metrics_text

    return PlainTextResponse(metrics_text(status_of(context)), media_type=MEDIA_TYPE)
