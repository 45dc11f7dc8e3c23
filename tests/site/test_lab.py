"""JupyterLab in a browser: the notebook of the explorer opens, runs, and its picture answers."""

import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "notebooks" / "07_schemes.ipynb"
PATIENCE_MS = 120_000


def explorer_alone():
    """The notebook's first cell and its explorer, of a small model, without their outputs."""
    kept = nbformat.read(NOTEBOOK, as_version=4)
    code = [cell for cell in kept.cells if cell.cell_type == "code"]
    chosen = [code[0], *(cell for cell in code[1:] if "scheme_explorer(" in cell.source)]
    assert len(chosen) == 2
    for cell in chosen:
        cell.outputs, cell.execution_count = [], None
    model = nbformat.v4.new_code_cell("spec = pia.RopeSpec(32, 10_000.0, 256)")
    kept.cells = [chosen[0], model, chosen[1]]
    kept.metadata.pop("widgets", None)
    return kept


@pytest.fixture
def lab(tmp_path, chromium):
    """A JupyterLab server of this interpreter on a folder of its own."""
    pytest.importorskip("jupyterlab", reason="JupyterLab is not installed")
    nbformat.write(explorer_alone(), tmp_path / "explorer.ipynb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(16)
    home = tmp_path / "home"
    home.mkdir()
    own = {name: str(home / name) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR")}
    environment = {**os.environ, **own, "PYTHONPATH": str(ROOT), "JUPYTER_RUNTIME_DIR": str(home)}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    command += [f"--port={port}", "--ip=127.0.0.1", f"--IdentityProvider.token={token}"]
    command += [f"--ServerApp.root_dir={tmp_path}", "--LabApp.news_url=None"]
    command += ["--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    with (tmp_path / "lab.log").open("w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=tmp_path)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{address}/api?token={token}", tmp_path / "lab.log", server)
        yield f"{address}/lab/tree/explorer.ipynb?token={token}"
    finally:
        server.terminate()
        server.wait(30)


def wait_for(address, log, server):
    for _ in range(240):
        assert server.poll() is None, log.read_text()[-2000:]
        try:
            with urllib.request.urlopen(address, timeout=5) as answer:
                assert json.load(answer)["version"]
                return
        except OSError:
            time.sleep(0.5)
    raise AssertionError(log.read_text()[-2000:])


def test_the_explorer_answers_in_jupyterlab(lab, page):
    from playwright.sync_api import TimeoutError as TooLong

    page.set_viewport_size({"width": 1400, "height": 1000})
    page.goto(lab, timeout=PATIENCE_MS)
    page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=PATIENCE_MS)
    page.wait_for_selector(
        '.jp-Notebook-ExecutionIndicator[data-status="idle"]', timeout=PATIENCE_MS
    )
    page.locator(".jp-Notebook .jp-CodeCell").first.click()
    page.click("text=Run >> nth=0")
    page.click("text=Run All Cells >> nth=0")
    picture = page.locator(".jp-OutputArea img.widget-image, .jp-OutputArea .widget-image img")
    wrong = page.locator(
        '.jp-OutputArea-output[data-mime-type*="error"], [data-mime-type*="stderr"]'
    )
    try:
        picture.or_(wrong).first.wait_for(timeout=PATIENCE_MS)
    except TooLong:  # on a busy machine the menu may open before the kernel is there
        page.click("text=Run >> nth=0")
        page.click("text=Run All Cells >> nth=0")
        picture.or_(wrong).first.wait_for(timeout=PATIENCE_MS)
    assert wrong.all_inner_texts() == []
    before = picture.first.get_attribute("src")
    told = page.locator(".widget-html-content, .jupyter-widgets .widget-html").last.inner_text()
    slider = page.locator(".widget-slider .noUi-handle").first
    slider.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "before => [...document.querySelectorAll('img.widget-image, .widget-image img')]"
        ".some(one => one.src !== before)",
        arg=before,
        timeout=PATIENCE_MS,
    )
    assert "certified in" in told
    assert [fault for fault in page.faults if "asks" in fault or "failed" in fault] == []
