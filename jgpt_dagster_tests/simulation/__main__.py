"""`python -m jgpt_dagster_tests.simulation SEEDS` runs years by their seeds and prints what happened in bad ones."""

import sys
import time

from jgpt_dagster_tests.simulation.state_machine import run_year


def main(seeds: int) -> int:
    """Run the seeds from 0; return the exit status."""
    failed = list[int]()
    longest = 0.0
    for number in range(seeds):
        begun = time.process_time()
        try:
            run_year(number)
        except Exception as error:
            failed.append(number)
            print(f"seed {number}: {error}", *getattr(error, "__notes__", ()), sep="\n", flush=True)
        longest = max(longest, time.process_time() - begun)
        print(f"\r{number + 1} of {seeds} years, {len(failed)} failed, longest {longest:.1f} s ", end="", flush=True)
    print(f"\nfailed: {' '.join(map(str, failed)) or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 200))
