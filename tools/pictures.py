"""Takes the README's pictures of a finished run in a real browser: `python tools/pictures.py runs/tour`."""

import io
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console

import jaxloop
from jaxloop.cli.watching import rendered
from jaxloop.readers import board
from jaxloop.storage.store import Store

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
sys.path.insert(0, str(ROOT / "tests"))
from helpers.browser import browser, opened, until  # noqa: E402 (the tests' folder is no package)

WIDTH, HEIGHT = 1320, 1560


def report(run: Path) -> None:
    """The first figures of a run's page."""
    page = jaxloop.report(run, out=DOCS / "report.html")
    with browser(WIDTH, HEIGHT) as driver:
        opened(driver, page)
        driver.execute_script("document.documentElement.style.overflow = 'hidden'")
        driver.save_screenshot(str(DOCS / "report.png"))
    page.unlink()


def tensorboard(run: Path) -> None:
    """The HPARAMS tab of `jaxloop tb`."""
    port = board.port(0)
    with board.logdir([run], every=True) as shown, browser(1200, 620) as driver:
        server = subprocess.Popen(board.command(shown.path, port))
        try:
            until(lambda: _serves(driver, f"http://localhost:{port}/#hparams"))
            time.sleep(15)  # while it reads 256 members
            driver.get("about:blank")
            driver.get(f"http://localhost:{port}/#hparams")
            time.sleep(10)
            driver.save_screenshot(str(DOCS / "tensorboard.png"))
        finally:
            server.terminate()
            server.wait()


def _serves(driver: Any, address: str) -> bool:
    from selenium.common.exceptions import WebDriverException

    try:
        driver.get(address)
    except WebDriverException:
        return False
    return True


def terminal(run: Path) -> None:
    """What `jaxloop watch` shows."""
    with Store(run) as store:
        screen = Console(record=True, width=92, file=io.StringIO(), force_terminal=True)
        screen.print(rendered(store, screen.width))
        screen.save_svg(str(DOCS / "terminal.svg"), title=f"jaxloop watch {run.name}")


if __name__ == "__main__":
    for picture in (report, tensorboard, terminal):
        picture(Path(sys.argv[1]))
