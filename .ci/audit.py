"""Asks the OSV database for known vulnerabilities of every version in constraints.txt, in one request.

    python .ci/audit.py

Exits with 1 if there are any but those in `IGNORED`. Without a network it says that the audit is skipped, and exits
with 0. `OSV_URL` names a copy of the service.
"""

import os
import re
import sys
from pathlib import Path

import httpx

CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"

IGNORED: dict[str, str] = {}
"""Vulnerabilities that do not concern this project, by id, with the reason."""

_SECONDS = 15.0


def main() -> int:
    """Print what is known of each version, and return the exit code."""
    url = os.environ.get("OSV_URL", "https://api.osv.dev")
    pins = re.findall(r"^([\w.-]+)==([^\s+]+)", CONSTRAINTS.read_text(), re.MULTILINE)
    queries = [{"package": {"name": name, "ecosystem": "PyPI"}, "version": version} for name, version in pins]
    try:
        response = httpx.post(f"{url}/v1/querybatch", json={"queries": queries}, timeout=_SECONDS)
        response.raise_for_status()
        results = response.json()["results"]
    except (httpx.HTTPError, ValueError, KeyError) as error:
        print(f"dependency audit skipped: {url} cannot be reached or gives no answer ({type(error).__name__})")
        return 0
    found = [
        f"{name}=={version}: {', '.join(ids)}"
        for (name, version), result in zip(pins, results, strict=True)
        if (ids := [vulnerability["id"] for vulnerability in result.get("vulns", [])]) and not IGNORED.keys() >= {*ids}
    ]
    for line in found:
        print(f"{line}  (https://osv.dev/ has the details)")
    print(f"dependency audit: {len(pins)} versions, {len(found)} with known vulnerabilities")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
