"""Pictures of every page of a running service, as its README shows them.

    python infra/screenshots/take.py SIGN_IN_LINK RUN OTHER_RUN ABLATION [FOLDER]

SIGN_IN_LINK is what `tamis serve` or `tamis token link` printed; the runs and the ablation are some that the service has.
"""

# ruff: noqa: INP001, T201 - it is run by hand

import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

WIDTH, HEIGHT, QUALITY = 1280, 860, 72


def pages(run: str, other: str, ablation: str) -> dict[str, str]:
    """The address of each picture."""
    rejected = f"/runs/{run}/documents?fate=rejected"
    return {
        "runs": "/runs",
        "run": f"/runs/{run}",
        "documents": rejected,
        "document": rejected,  # the first of them is opened
        "thresholds": f"/runs/{run}/thresholds",
        "clusters": f"/runs/{run}/clusters",
        "labels": "/labels",
        "new": f"/new?from={run}",
        "report": f"/runs/{run}/report",
        "ablation": f"/ablations/{ablation}",
        "compare": f"/compare?a={run}&b={other}",
        "artifacts": "/artifacts",
    }


def take(page: Page, name: str, folder: Path) -> None:
    """Keep what the window shows."""
    page.wait_for_load_state("networkidle")
    page.screenshot(path=folder / f"{name}.jpg", type="jpeg", quality=QUALITY)
    print(name, page.title())


def main(link: str, run: str, other: str, ablation: str, folder: str = str(Path(__file__).parent)) -> None:
    """Take them all; the run's page on a phone and in the dark, too."""
    base = link.partition("/sign-in")[0]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT})
        page = context.new_page()
        page.goto(link)
        for name, address in pages(run, other, ablation).items():
            page.goto(base + address)
            if name == "ablation":
                page.locator(".explore summary").click()
                page.locator("[data-drawn]").wait_for()
            if name == "document":
                page.locator("tr[data-row] a").first.click()
            take(page, name, Path(folder))
        kept = context.storage_state()
        phone = browser.new_context(
            viewport={"width": 390, "height": 844}, color_scheme="dark", storage_state=kept, device_scale_factor=2
        )
        page = phone.new_page()
        page.goto(f"{base}/runs/{run}")
        take(page, "phone-dark", Path(folder))
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
