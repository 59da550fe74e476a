"""Drive the report in a headless Chromium, on a wide and on a narrow screen: `python -m experiments.report.browser [FOLDER]`.

The page tries itself where its address ends in ?check: it sorts by every column, filters, searches, enlarges every figure and
changes colours, and writes what it found into the document. With a folder pictures of the page are written there.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from html import unescape
from pathlib import Path

from rich.console import Console

from experiments import report

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
HOW = "there is no Chromium on PATH: `sudo apt-get install chromium` brings it (Debian, Ubuntu), or set CHROMIUM to its path."
SIZES = {"wide": (1280, 900), "narrow": (500, 900)}  # a headless window is not narrower than 500 pixels


def chromium() -> str | None:
    """The path of a Chromium: that of the variable CHROMIUM, or the first one on PATH."""
    return os.environ.get("CHROMIUM") or next((path for path in map(shutil.which, NAMES) if path), None)


def driven(browser: str, address: str, size: tuple[int, int], *flags: str) -> subprocess.CompletedProcess[str]:
    """Load a page in a window of this size; what it says on its console is on stderr."""
    with tempfile.TemporaryDirectory() as profile:
        command = [browser, "--headless", "--disable-gpu", "--no-sandbox", "--hide-scrollbars", "--enable-logging=stderr"]
        command += [f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}", "--virtual-time-budget=60000"]
        return subprocess.run([*command, *flags, address], capture_output=True, text=True, check=False, timeout=300)


def outcome(browser: str, address: str, size: tuple[int, int]) -> dict[str, object]:
    """What the page found when it tried itself, True or what is wrong; and what was said on the console."""
    run = driven(browser, f"{address}?check", size, "--dump-dom")
    written = re.search(r'<pre id="check"[^>]*>(.*?)</pre>', run.stdout, re.DOTALL)
    found = json.loads(unescape(written[1])) if written else {"check": f"nothing was written, status {run.returncode}"}
    said = [line for line in run.stderr.splitlines() if "CONSOLE" in line]
    return {**found, "console": said or True}


def main(folder: Path | None) -> int:
    """Make the page, drive it, and say what was found; 0 if all is well."""
    browser = chromium()
    if browser is None:
        print(HOW, file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as made:
        page = report.make(["--out", str(Path(made) / "report.html")], Console())
        failed = False
        for name, size in SIZES.items():
            found = outcome(browser, page.as_uri(), size)
            wrong = {what: answer for what, answer in found.items() if answer is not True}
            failed = failed or bool(wrong)
            print(f"{name}, {size[0]} x {size[1]}: {', '.join(found)}: {wrong or 'all passed'}")
            if folder:
                driven(browser, page.as_uri(), size, f"--screenshot={folder / name}.png")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve() if sys.argv[1:] else None))
