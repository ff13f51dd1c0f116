"""What a person reads at the end of the soak test."""

from __future__ import annotations

import textwrap
from collections import Counter

COLUMNS = ("said", "arrived", "lost, counted", "lost, SIGKILL or exit", "counted, but arrived")
SHOWN = 40  # violations


def report(soak, accounts):
    """Print what was done, the accounts, and what is wrong with them."""
    kinds = Counter(run.kind for run in accounts.runs.values() if run.kind)
    rows = [
        ("seconds", f"{soak.took:.0f}"),
        ("episodes", listed(soak.episodes)),
        *((f"weather of {name}", listed(server.weather.seen)) for name, server in soak.servers.items()),
        ("children", f"{len(accounts.runs):,}: {listed(kinds)}"),
        *((name, f"{count:,}") for name, count in accounts.sums.items()),
        ("sent to OpenTelemetry again", f"{soak.collector.weather.again:,} requests, by its SDK"),
        *(
            (f"the steady process, {name}", trend(accounts.samples, name))
            for name in ("rss", "objects", "fds", "threads")
        ),
    ]
    print()
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(textwrap.fill(f"{name:<{width}}  {value}", 120, subsequent_indent=" " * (width + 2)))
    balance(accounts.balance)
    print("\nMost said on the logger subwatch:")
    for text, count in accounts.said.most_common(12):
        print(f"{count:4} x {text}")
    print(f"\nviolations: {len(accounts.wrong)}")
    for text in accounts.wrong[:SHOWN]:
        print("VIOLATION:", text)
    if len(accounts.wrong) > SHOWN:
        print(f"... and {len(accounts.wrong) - SHOWN} more")


def balance(rows):
    """Print the table of what was said and what became of it."""
    width = max(map(len, rows))
    print("\n" + " " * width, *(f"{name:>{max(9, len(name))}}" for name in COLUMNS), sep="  ")
    for what, row in rows.items():
        print(f"{what:<{width}}", *(f"{row[name]:>{max(9, len(name))},}" for name in COLUMNS), sep="  ")


def listed(counts):
    return ", ".join(f"{count} {name}" for name, count in counts.most_common())


def trend(samples, name):
    scale = 2**20 if name == "rss" else 1
    unit = " MiB" if name == "rss" else ""
    shown = samples[:: max(1, len(samples) // 10)]
    return " ".join(str(round(sample[name] / scale)) for sample in shown) + unit
