"""The paths beside `/` that belong to the page, as the web server takes them."""

from collections.abc import Mapping

from aiohttp import web

from exporter.page.handlers import Landing
from exporter.web.server import Page, Route


def routes(landing: Landing, reference: Page) -> Mapping[str, Route]:
    """Give the handlers of `/api/failures` and `/reference`."""

    async def failures(_request: web.BaseRequest) -> web.Response:
        return web.Response(text=landing.failures(), content_type="application/json")

    async def referred(_request: web.BaseRequest) -> web.Response:
        policy = {"Content-Security-Policy": reference.policy}
        return web.Response(text=reference.html, content_type="text/html", headers=policy)

    return {"/api/failures": failures, "/reference": referred}
