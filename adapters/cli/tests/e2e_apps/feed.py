"""A feed of numbers that go up by one with every POST to /next; a listener starts at the number it says it had last."""

import asyncio
import sys

from sse_starlette.sse import EventSourceResponse
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

PAGE = """<!doctype html><title>feed</title><script>
const heard = [], feed = new EventSource('/feed?end=3');
feed.onmessage = event => heard.push(event.lastEventId + '=' + event.data);
</script>"""

listeners: set[asyncio.Queue] = set()


async def feed(request):
    """Says a number at once. With ?end=N it closes after N of them without being told to go on."""
    last = int(request.headers.get("last-event-id", "0"))
    end = int(request.query_params.get("end", "0"))
    print("listening after", last, file=sys.stderr, flush=True)
    told = asyncio.Queue()
    listeners.add(told)

    async def numbers():
        try:
            number = last + 1
            while True:
                yield {"id": str(number), "data": f"number {number}", "retry": 100}
                if end and number - last == end:
                    return
                if not end:
                    await told.get()
                number += 1
        finally:
            listeners.discard(told)
            print("gone after", number, file=sys.stderr, flush=True)

    return EventSourceResponse(numbers())


async def step(_):
    for told in listeners:
        told.put_nowait(None)
    return Response(status_code=204)


async def page(_):
    return HTMLResponse(PAGE)


app = Starlette(
    routes=[Route("/", page), Route("/feed", feed), Route("/next", step, methods=["POST"])],
)
