#!/usr/bin/env python3
"""What became of the tests: which were left out and why, which did not run, and the line "N passed, N failed[, N skipped]".

test-summary.py BUILD SUITE...     after `meson test`; SUITE as `meson test` was given it, or -SUITE for --no-suite

A test that cannot run ends with status 77 and prints "skipped: " and the reason; one that leaves out a part prints that line
too (or cmocka's) and goes on. Every test of the suites must be in the log: one that is not, and one that was left out without a
reason, count as failed. The exit status is 1 if any did.
"""
import json
import pathlib
import re
import sys

REASON = re.compile(r"^skipped: (.*)$", re.MULTILINE)
PART = re.compile(r"^\[  SKIPPED \] (\w+)$", re.MULTILINE)


def wanted(test, suites):
    names = {suite.split(":")[-1] for suite in test["suite"]}
    without = {suite[1:] for suite in suites if suite.startswith("-")}
    only = {suite for suite in suites if not suite.startswith("-")}
    return not names & without and (not only or bool(names & only))


def main():
    build, suites = pathlib.Path(sys.argv[1]), sys.argv[2:]
    tests = json.loads((build / "meson-info" / "intro-tests.json").read_text())
    log = build / "meson-logs" / "testlog.json"
    results = {}
    for line in log.read_text().splitlines() if log.exists() else []:
        result = json.loads(line)
        results[result["name"].split(" / ")[-1]] = result
    passed = failed = skipped = 0
    for test in tests:
        if not wanted(test, suites):
            continue
        result = results.get(test["name"])
        if not result:
            print("not run: %s" % test["name"])
            failed += 1
            continue
        said = result.get("stdout", "") or ""
        reasons = REASON.findall(said) + PART.findall(said)
        if result["result"] == "SKIP":
            print("skipped: %s: %s" % (test["name"], "; ".join(reasons) or "FAILED, it gave no reason"))
            skipped += bool(reasons)
            failed += not reasons
        elif result["result"] in ("OK", "EXPECTEDFAIL"):
            for reason in dict.fromkeys(reasons):
                print("partly skipped: %s: %s" % (test["name"], reason))
            passed += 1
        else:
            failed += 1
    if passed == 0:
        print("no test ran")
        failed += 1
    print("%d passed, %d failed%s" % (passed, failed, ", %d skipped" % skipped if skipped else ""))
    return failed > 0


sys.exit(main())
