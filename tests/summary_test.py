#!/usr/bin/env python3
"""Tests tests/summary: what it makes of an entry of ctest and of the report that the entry left."""
import importlib.machinery
import importlib.util
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

sys.dont_write_bytecode = True
loader = importlib.machinery.SourceFileLoader("summary", str(Path(__file__).with_name("summary")))
summary = importlib.util.module_from_spec(importlib.util.spec_from_loader("summary", loader))
loader.exec_module(summary)

RAN = '<testcase name="io.A" status="run"/>'
FAILED = '<testcase name="io.A" status="fail"><failure message=""/></testcase>'
PASSES = '<testcase name="X" status="run" result="completed" classname="A"/>'
FAILS = '<testcase name="Y/0" status="run" result="completed" classname="A"><failure message="\x1b"/></testcase>'
SKIPS = ('<testcase name="Z" status="run" result="skipped" classname="A"><skipped message="a.cpp:3&#x0A;no data"/>'
         '</testcase>')
DISABLED = '<testcase name="DISABLED_W" status="notrun" result="suppressed" classname="A"/>'


def not_run(why, said=""):
    return f'<testcase name="io.A" status="notrun"><skipped message="{why}"/><system-out>{said}</system-out></testcase>'


# Entry of ctest, test cases of its report, or None where it is of another kind, and what they come to.
CASES = [
    (RAN, PASSES + SKIPS + DISABLED,
     [("passed", "io.A.X"), ("skipped", "io.A.Z: no data"), ("skipped", "io.A.DISABLED_W: disabled")]),
    (FAILED, PASSES + FAILS.replace("\x1b", "x"), [("passed", "io.A.X"), ("failed", "io.A.Y/0")]),
    (FAILED, PASSES, [("passed", "io.A.X"), ("failed", "io.A: its tests passed, the program failed")]),
    (FAILED, "", [("failed", "io.A: no report of its tests")]),  # it found none of them
    (RAN, FAILS, [("failed", "io.A: no report of its tests")]),  # no XML
    (RAN, "missing", [("failed", "io.A: no report of its tests")]),
    (RAN, None, [("passed", "io.A")]),
    (FAILED, None, [("failed", "io.A")]),
    (not_run("SKIP_RETURN_CODE=77", "looking\nno network\n"), None, [("skipped", "io.A: no network")]),
    (not_run("Fixture dependency failed"), PASSES, [("failed", "io.A: Fixture dependency failed")]),
    (not_run("Unable to find executable"), None, [("failed", "io.A: Unable to find executable")]),
    ('<testcase name="io.A" status="disabled"/>', None, [("skipped", "io.A: disabled")]),
]

with tempfile.TemporaryDirectory() as folder:
    for number, (entry, tests, expected) in enumerate(CASES):
        report = None if tests is None else Path(folder) / f"{number}.xml"
        if tests not in (None, "missing"):
            report.write_text(f'<?xml version="1.0" encoding="UTF-8"?><testsuites>{tests}</testsuites>')
        found = summary.outcomes(ElementTree.fromstring(entry), report)
        assert found == expected, f"{entry} with {tests}: {found}, not {expected}"
print(f"{len(CASES)} cases")
