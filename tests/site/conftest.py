"""The built site, a server for it on this machine, and a browser, each started once."""

import functools
import http.server
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pianalysis.records import alone

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "build" / "site"
NAMES = ("chromium", "chromium-browser", "google-chrome")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="session")
def site():
    """build/site, built anew where its sources have changed since; one worker builds."""
    pytest.importorskip("sphinx", reason="the site's tools are not installed: make site")
    SITE.parent.mkdir(exist_ok=True)
    with alone(SITE.parent, wait=True):
        made = subprocess.run(
            [sys.executable, str(ROOT / "docs" / "make_site.py"), "--if-older"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=900,
        )
    assert made.returncode == 0, made.stdout[-2000:] + made.stderr[-6000:]
    return SITE


@pytest.fixture(scope="session")
def address(site):
    """Where the site is served."""
    handler = functools.partial(Quiet, directory=str(site))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="session")
def chromium():
    """A headless Chromium from the system; without it the browser's tests are skipped."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("Chromium is absent (Debian: apt-get install chromium)")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(chromium, watched):
    """A page that keeps what went wrong in ``page.faults``."""
    context = chromium.new_context(viewport={"width": 1200, "height": 900})
    yield watched(context.new_page())
    context.close()


@pytest.fixture(scope="session")
def watched():
    """A function that makes a page keep what goes wrong."""
    return watching


def watching(page):
    """Note console errors, exceptions, failed requests and requests that leave this machine."""
    faults = page.faults = []

    def asked(request):
        if not request.url.startswith(
            ("http://127.0.0.1", "http://localhost", "file:", "data:", "blob:")
        ):
            faults.append(f"asks {request.url}")

    def answered(response):
        if response.status >= 400:
            faults.append(f"{response.status} {response.url}")

    def failed(request):
        if request.failure != "net::ERR_ABORTED":  # left behind by the next page
            faults.append(f"failed: {request.url}")

    page.on("console", lambda said: said.type == "error" and faults.append(said.text))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", asked)
    page.on("response", answered)
    page.on("requestfailed", failed)
    return page
