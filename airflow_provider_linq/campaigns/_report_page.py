"""The delivery report as a page of HTML that can be mailed: counts with bars, and nobody's handle.

Mail programs show no scripts, few style sheets and few vector graphics. They do show tables and colours in `style`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from html import escape
from typing import Final

from airflow_provider_linq.campaigns._model import CampaignResult
from linq_client.errors import ErrorCode

__all__ = ["report_page"]

_GOOD, _CAUTION, _PLAIN = "#15803d", "#b45309", "#475569"

#: What a row of the funnel is called, by its count, and its colour.
_FUNNEL: Final = {
    "sent": ("Sent", _GOOD),
    "delivered": ("Delivered", _GOOD),
    "read": ("Read", _GOOD),
    "replied": ("Replied", _GOOD),
    "opted_out": ("Opted out", _CAUTION),
    "failed": ("Failed", _CAUTION),
    "gone": ("Expired before we asked", _PLAIN),
    "unknown": ("Not known", _PLAIN),
}

_PAGE: Final = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title></head>
<body style="margin:0;padding:24px;background:#fff">
<div style="max-width:720px;font:15px/1.5 'Segoe UI',Roboto,Helvetica,sans-serif;color:#0f172a">
<h1 style="font-size:22px;margin:0">{title}</h1>
<p style="color:{plain};margin:4px 0 0">As of {made_at:%Y-%m-%d %H:%M} UTC</p>
{sections}
</div>
</body>
</html>
"""


def report_page(
    result: CampaignResult,
    counts: Mapping[str, int],
    lines: Mapping[str, Mapping[str, int]],
    refusals: Mapping[int, int],
    made_at: datetime,
) -> str:
    """
    Return the page of a campaign.

    :param result: of its sending.
    :param counts: of the delivery report.
    :param lines: the same for each own line; "" is the platform's choice.
    :param refusals: recipients who were refused for good, by the API's code.
    :param made_at: when the messages were asked for (UTC).
    """
    skipped = {reason.replace("_", " "): number for reason, number in result["skipped"].items() if number}
    others = {name: result[name] for name in ("failed", "unknown") if result[name]}
    codes = {_refused_with(code): number for code, number in sorted(refusals.items())}
    sections = [
        _section("Messages", [_bar(*_FUNNEL[name], counts[name], counts["sent"]) for name in _FUNNEL if counts[name]]),
        _section("Rows without a message", [_fact(name, number) for name, number in {**skipped, **others}.items()]),
        _section("Refusals", [_fact(name, number) for name, number in codes.items()]),
        *(
            _section(f"Line {line}" if line else "Lines that the platform chose", _line(found))
            for line, found in sorted(lines.items())
            if len(lines) > 1
        ),
    ]
    return _PAGE.format(
        title=escape(f"Campaign {result['campaign_key']}"), plain=_PLAIN, made_at=made_at, sections="\n".join(sections)
    )


def _refused_with(code: int) -> str:
    known = ErrorCode.find(code)
    return f"refused with code {code}" + (f": {known.meaning}; {known.remedy}" if known else "")


def _line(counts: Mapping[str, int]) -> list[str]:
    shown = ("sent", "delivered", "replied", "opted_out", "failed")
    return [_bar(*_FUNNEL[name], counts[name], counts["sent"]) for name in shown if counts[name]]


def _section(title: str, rows: list[str]) -> str:
    if not rows:
        return ""
    heading = f'<h2 style="font-size:16px;margin:28px 0 8px">{escape(title)}</h2>'
    return (
        f'{heading}\n<table role="presentation" style="width:100%;border-collapse:collapse">\n'
        + "\n".join(rows)
        + "\n</table>"
    )


def _bar(label: str, color: str, number: int, whole: int) -> str:
    share = 100 * number / whole if whole else 0.0
    bar = f'<div style="width:{share:.1f}%;min-width:2px;height:14px;border-radius:4px;background:{color}"></div>'
    return _row(
        label, f'<div style="background:#e2e8f0;border-radius:4px">{bar}</div>', f"{number:,} ({share:.1f}&nbsp;%)"
    )


def _fact(label: str, number: int) -> str:
    return _row(label, "", f"{number:,}")


def _row(label: str, middle: str, right: str) -> str:
    return (
        f'<tr><td style="padding:4px 12px 4px 0;width:30%">{escape(label)}</td><td style="padding:4px 0">{middle}</td>'
        f'<td style="padding:4px 0 4px 12px;width:20%;text-align:right;white-space:nowrap">{right}</td></tr>'
    )
