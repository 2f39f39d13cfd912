"""The page of the game in a browser: what a player does there, and a camera that shows what it is told."""

import base64
import json
from typing import Any

import numpy as np
from camera import jpeg

# In place of the machine's camera: a canvas that the test draws on. What it shows is known to the trace.
CAMERA = """(() => {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width: 640, height: 480 });
  const context = canvas.getContext("2d");
  const test = globalThis.testCamera = { picture: null, expression: undefined, track: null };
  setInterval(() => {
    if (test.picture) context.drawImage(test.picture, 0, 0); else context.fillRect(0, 0, 640, 480);
  }, 1000 / RATE);
  navigator.mediaDevices.getUserMedia = async () => {
    const stream = canvas.captureStream(RATE);
    [test.track] = stream.getVideoTracks();
    return stream;
  };
  test.show = async (text, expression) => {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    test.picture = await createImageBitmap(new Blob([bytes], { type: "image/jpeg" }));
    test.expression = expression;
  };
  globalThis.ferLabIntended = () => test.expression;
})();"""
# The corner of a film says what it shows.
CORNER = """(() => {
  const context = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  globalThis.ferLabIntended = (video) => {
    context.drawImage(video, 8, 8, 8, 8, 0, 0, 1, 1);
    const [r, g, b] = context.getImageData(0, 0, 1, 1).data;
    return b > r && b > g ? "neutral" : g > r ? "happy" : "surprise";
  };
})();"""
SLOW_CAMERA = 15  # pictures a second: half the work of 30 for all that looks at them
VIOLATIONS = """(() => {
  globalThis.violations = [];
  document.addEventListener("securitypolicyviolation", (event) => violations.push(event.violatedDirective));
})();"""


class Page:
    """A page of the game that is open.

    Attributes
    ----------
    page : playwright.sync_api.Page
    said : list of str
        In the console, and errors.
    requests : list of str
        Addresses of all that was asked for.
    """

    def __init__(
        self, page: Any, url: str, directed: bool, ready: bool = True, rate: int = SLOW_CAMERA
    ) -> None:
        self.page, self.origin = page, url.partition("#")[0]
        self.said: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))
        page.add_init_script(VIOLATIONS)
        page.add_init_script(CAMERA.replace("RATE", str(rate)) if directed else CORNER)
        page.goto(url)
        if ready:
            page.wait_for_selector("html[data-ready]", state="attached", timeout=30_000)

    def check_quiet(self) -> None:
        """Make sure that nothing went wrong that the page did not say, and nothing was asked elsewhere."""
        assert self.said == []
        assert self.page.evaluate("violations") == []
        blob = "blob:" + "/".join(self.origin.split("/")[:3]) + "/"
        foreign = [url for url in self.requests if not url.startswith((self.origin, blob))]
        assert foreign == []

    def show(self, picture: np.ndarray | None, expression: str | None = None) -> None:
        """Turn the camera to a picture; None: to darkness."""
        if picture is None:
            self.page.evaluate("testCamera.picture = null")
            return
        text = base64.b64encode(jpeg(picture)).decode()
        self.page.evaluate("([text, shown]) => testCamera.show(text, shown)", [text, expression])

    def text(self, name: str) -> str:
        """Return what stands in an element."""
        return self.page.inner_text(f"#{name}")

    def wait(self, name: str, text: str, seconds: float = 15) -> None:
        """Wait until a text stands in an element."""
        from playwright.sync_api import expect

        expect(self.page.locator(f"#{name}")).to_contain_text(text, timeout=1000 * seconds)

    def board(self) -> str:
        """Return the marks of the nine cells, "." for a free one."""
        cells = self.page.locator(".cell").all()
        return "".join(cell.get_attribute("data-mark") or "." for cell in cells)

    def trace(self) -> dict[str, Any]:
        """Return the trace, saved as a player does it."""
        with self.page.expect_download() as caught:
            self.page.click("#save")
        return json.loads(caught.value.path().read_text())

    def events(self, *kinds: str) -> list[dict[str, Any]]:
        """Return the events of some kinds of the trace."""
        return [event for event in self.trace()["events"] if event["type"] in kinds]

    def module(self, name: str, code: str, given: Any = None) -> Any:
        """Return what JavaScript makes of a module of the page, `m`, and of `given`."""
        call = f"async ([url, given]) => {{ const m = await import(url); return ({code}); }}"
        return self.page.evaluate(call, [f"{self.origin}{name}", given])
