"""Runs the checks. Arguments select the checks whose sentences contain one of them."""

import sys
import time

import common
import chart
import manifests
import pods
import ram
import rules
import unit
import image  # noqa: F401 - the slowest is last

# The modules above declare the checks; named here so that none seems unused.
MODULES = (chart, pods, rules, manifests, ram, unit, image)


def main():
    wanted = [argument for argument in sys.argv[1:] if argument != "--write"]
    if "--write" in sys.argv[1:]:
        manifests.write()
    passed = failed = 0
    for sentence, function in common.CHECKS:
        if wanted and not any(word in sentence for word in wanted):
            continue
        began = time.monotonic()
        try:
            output = function() or ""
            word, passed = "ok  ", passed + 1
        except common.NeedsRoot:
            print(f"not checked: {sentence} (needs root)", flush=True)
            continue
        except Exception as wrong:  # noqa: BLE001 - after any failure, the others still run
            output, word, failed = f"{type(wrong).__name__}: {wrong}", "FAIL", failed + 1
        detail = f" ({output})" if output and word == "ok  " else ""
        print(f"{word} {sentence}{detail} {time.monotonic() - began:.1f}s", flush=True)
        if word == "FAIL":
            print("     " + output.replace("\n", "\n     "), flush=True)
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed or not passed else 0)


main()
