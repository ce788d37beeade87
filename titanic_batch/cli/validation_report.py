"""The report formats of ``titanic validate``: text for people; JSON, JUnit and GitHub annotations for machines.

Values of fields appear only if the report was made with values. Lists of rows are truncated, and say so.
"""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from titanic_batch.errors import one_line
from titanic_batch.reading.sources import describe

if TYPE_CHECKING:
    from titanic_batch.checking.contract import Contract
    from titanic_batch.runs.report import RuleCount, RunReport


FORMAT = "titanic-batch validation"
FORMAT_VERSION = 1

_NOT_IN_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def text(report: RunReport, contract: Contract) -> str:
    """Return a line with the totals, then one for each rule: its column, the number of rows, and the first of them."""
    lines = [_headline(report)]
    lines += [f"{rule.rule} {rule.column or 'row'}: {_rows(rule)}, {_first(rule)}" for rule in report.rules]
    if report.passed_over:
        lines.append(describe(report.passed_over))
    lines += report.remarks()
    if report.failure:
        lines.append(f"failed: {report.failure}")
    return "".join(f"{one_line(line)}\n" for line in lines)


def table(report: RunReport) -> Any:
    """Return the same as a rich table."""
    from rich.table import Table
    from rich.text import Text

    # Text, because rich would interpret brackets and colons in a plain string as markup.
    remarks = report.remarks() + ([one_line(describe(report.passed_over))] if report.passed_over else [])
    state = Text("\n".join([*remarks, f"failed: {report.failure}" if report.failure else "passed"]))
    shown = Table(title=Text(_headline(report)), caption=state)
    for heading in ("rule", "column", "rows", "first rows"):
        shown.add_column(heading, justify="right" if heading == "rows" else "left", overflow="fold")
    for rule in report.rules:
        shown.add_row(*map(Text, (rule.rule, rule.column or "(row)", f"{rule.rows:,}", _first(rule))))
    return shown


def as_json(report: RunReport, contract: Contract) -> str:
    """Return a JSON object. Its keys don't change as long as ``version`` is the same."""
    rules = [
        {
            "rule": rule.rule,
            "column": rule.column,
            "rows": rule.rows,
            "first_rows": [
                {"source": row.source, "row": row.number} | ({} if row.value is None else {"value": row.value})
                for row in rule.first_rows
            ],
            "first_rows_are_all": len(rule.first_rows) == rule.rows,
        }
        for rule in report.rules
    ]
    content = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "passed": report.failure is None,
        "failure": report.failure,
        "sources": report.sources,
        "passed_over": [{"name": file.name, "reason": file.reason} for file in report.passed_over],
        "rows": report.rows,
        "accepted": report.accepted,
        "rejected": report.rejected,
        "rules": rules,
        "rejects": report.rejects,
        "unreadable_columns": report.unreadable_columns,
        "schema": {"version": contract.version, "digest": contract.digest},
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def junit(report: RunReport, contract: Contract) -> str:
    """Return JUnit XML with a test case for each rule. Broken rules fail only if too many rows are rejected.

    If files were passed over, one more case is skipped, and names them.
    """
    broken = {(rule.rule, rule.column): rule for rule in report.rules}
    cases = list(dict.fromkeys([*contract.rules(), *broken]))
    failures = sum(case in broken for case in cases) if _too_many_rejects(report) else int(report.too_few)
    suite = ET.Element(
        "testsuite",
        name="titanic validate",
        tests=str(len(cases) + 1 + bool(report.passed_over)),
        failures=str(failures),
        errors="0",
        skipped=str(int(bool(report.passed_over))),
    )
    for rule, column in cases:
        case = ET.SubElement(suite, "testcase", classname=f"row.{column}" if column else "row", name=rule)
        if (rule, column) in broken:
            count = broken[rule, column]
            message = _xml(f"{_rows(count)}, {_first(count)}")
            if _too_many_rejects(report):
                ET.SubElement(case, "failure", message=message, type=rule)
            else:
                ET.SubElement(case, "system-out").text = f"within the limit: {message}"
    case = ET.SubElement(suite, "testcase", classname="file", name="min_rows")
    if report.too_few:
        ET.SubElement(case, "failure", message=str(report.failure), type="min_rows")
    if report.passed_over:
        case = ET.SubElement(suite, "testcase", classname="file", name="passed_over")
        ET.SubElement(case, "skipped", message=_xml(describe(report.passed_over)))
    if report.remarks():
        ET.SubElement(suite, "system-out").text = _xml("\n".join(report.remarks()))
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def github(report: RunReport, contract: Contract) -> str:
    """Return workflow commands: an annotation for each of the first rows that break a rule.

    The line is the row number plus one for the header. It is too low after a row that spans several lines.
    """
    level = "error" if _too_many_rejects(report) else "warning"
    lines = []
    for rule in report.rules:
        for place, row in enumerate(rule.first_rows, 1):
            properties = {
                "file": row.source,
                "line": str(row.number + 1),
                "title": f"{rule.rule} {rule.column or 'row'}",
            }
            named = ",".join(f"{key}={_escaped(value, ':,')}" for key, value in properties.items())
            value = "" if row.value is None else f" {row.value!r}"
            which = f"row {row.number} breaks {rule.rule}{value} ({place} of {rule.rows})"
            lines.append(f"::{level} {named}::{_escaped(which)}")
    if report.passed_over:
        lines.append(f"::warning title=titanic validate::{_escaped(one_line(describe(report.passed_over)))}")
    lines += [f"::warning title=titanic validate::{_escaped(remark)}" for remark in report.remarks()]
    if report.failure:
        lines.append(f"::error title=titanic validate::{_escaped(report.failure)}")
    return "".join(f"{line}\n" for line in lines)


def github_summary(report: RunReport) -> str:
    """Return the report as Markdown, for the summary of a job."""
    state = f"failed: {report.failure}" if report.failure else "passed"
    lines = ["### titanic validate", "", f"{_headline(report)} ({state})", ""]
    if report.rules:
        lines += ["| rule | column | rows | first rows |", "| --- | --- | ---: | --- |"]
        cells = [(rule.rule, rule.column or "(row)", str(rule.rows), _first(rule)) for rule in report.rules]
        lines += [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in cells]
    if report.passed_over:
        lines += [*([""] if report.rules else []), one_line(describe(report.passed_over))]
    lines += [f"\n{one_line(remark)}" for remark in report.remarks()]
    return "\n".join(lines) + "\n"


FORMATS: dict[str, Callable[[RunReport, Contract], str]] = {
    "text": text,
    "json": as_json,
    "junit": junit,
    "github": github,
}


def _xml(text: str) -> str:
    return _NOT_IN_XML.sub(lambda match: ascii(match.group())[1:-1], text)


def _too_many_rejects(report: RunReport) -> bool:
    return report.failure is not None and not report.too_few


def _headline(report: RunReport) -> str:
    sources = ", ".join(report.sources[:3]) + (f" and {len(report.sources) - 3} more" * (len(report.sources) > 3))
    return f"{sources}: {report.rows} rows, {report.rejected} rejected"


def _rows(rule: RuleCount) -> str:
    return f"{rule.rows} row{'s' * (rule.rows != 1)}"


def _first(rule: RuleCount) -> str:
    shown = [f"{row.source}:{row.number}" + ("" if row.value is None else f" {row.value!r}") for row in rule.first_rows]
    cut = f"first {len(shown)} of {rule.rows}: " if len(shown) < rule.rows else ""
    return cut + ", ".join(shown)


def _escaped(value: str, also: str = "") -> str:
    for character in "%\r\n" + also:
        value = value.replace(character, f"%{ord(character):02X}")
    return value
