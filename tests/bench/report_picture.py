#!/usr/bin/env python3
"""Pictures of a report's page, for the documentation: report_picture.py REPORT.html CHART.png ... [--dark] [--width PX]

CHART is the id of a chart, such as itl_by_position, in any folder; page.png is the whole page. Needs chromium.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))

from browser import CHROMIUM, Browser  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path)
    parser.add_argument("picture", type=Path, nargs="+")
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--width", type=int, default=900)
    options = parser.parse_args()
    if not CHROMIUM:
        sys.exit("no browser: install the package chromium")
    browser = Browser()
    try:
        browser.open(options.report.resolve(), width=options.width, dark=options.dark)
        for picture in options.picture:
            browser.screenshot(picture, "html" if picture.stem == "page" else "#" + picture.stem)
    finally:
        browser.close()


if __name__ == "__main__":
    main()
