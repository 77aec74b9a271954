"""A real browser, without a window: Chromium by its own driver."""

import os
import shutil
import time
from contextlib import contextmanager

import pytest

WAIT = 60.0  # seconds for what a page draws; it takes a few


@contextmanager
def browser(width=1320, height=1000):
    """Yield a browser; without one, tests are skipped, and fail in CI, which installs it."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not (chromium and driver):
        told = "needs Chromium and its driver: Debian's packages chromium and chromium-driver"
        pytest.fail(told) if os.environ.get("CI") else pytest.skip(told)
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        f"--window-size={width},{height}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    opened = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield opened
    finally:
        opened.quit()


def until(met, seconds=WAIT):
    """Wait for something, and return it."""
    end = time.monotonic() + seconds
    while not (found := met()):
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)
    return found


def opened(page, path):
    """Open a report, and wait until every figure is drawn."""
    page.get(path.absolute().as_uri())
    until(lambda: page.execute_script("return document.body.dataset.state === 'drawn'"))
    return page


def errors(page):
    """The errors that the page's console has told of since it was last asked."""
    return [entry["message"] for entry in page.get_log("browser") if entry["level"] == "SEVERE"]
