"""The site's Python blocks run as they stand, page by page, in order, in a fresh interpreter."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
PAGES = {
    path.relative_to(ROOT).as_posix(): BLOCK.findall(path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / "docs" / "site").rglob("*.md"))
}
WITH_CODE = [name for name, blocks in PAGES.items() if blocks]


def test_there_are_ten_tasks():
    assert "docs/site/how_do_i.md" in WITH_CODE
    text = (ROOT / "docs" / "site" / "how_do_i.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (\d+)\.", text, re.MULTILINE) == [str(n) for n in range(1, 11)]
    assert len(PAGES["docs/site/how_do_i.md"]) == 10


@pytest.mark.parametrize("name", WITH_CODE)
def test_blocks_run_in_order(name, tmp_path):
    script = tmp_path / "blocks.py"
    script.write_text("\n".join(PAGES[name]), encoding="utf-8")
    command = [sys.executable, "-W", "error", str(script)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip()
