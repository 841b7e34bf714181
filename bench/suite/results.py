# SPDX-License-Identifier: MIT
#
# results.py - from single figures to medians, ratios, tables, bars and regressions. Knows no
# process and no file. Tests: tests/cli/bench_test.py.
import dataclasses
import statistics

from suite import cases

FAILED = "failed"  # the metric that stands for runs without figures


def key_of(r):
    return (r["workload"], r["runtime"], r["workers"], r["threads"], r["metric"])


class Collector:
    """Single figures in, one object per metric out, in the order of their first appearance."""

    def __init__(self):
        self._values = {}
        self._units = {}
        self._errors = {}

    def add(self, figure):
        key = key_of(figure)
        self._values.setdefault(key, []).append(figure["value"])
        self._units[key] = figure["unit"]

    def add_failure(self, workload, runtime, workers, threads, message):
        key = (workload, runtime, workers, threads, FAILED)
        self._errors.setdefault(key, []).append(message)

    def results(self):
        out = []
        for key, values in self._values.items():
            out.append(self._object(key, self._units[key], statistics.median(values), min(values),
                                    max(values), len(values)))
        for key, messages in self._errors.items():
            n = len(messages)
            out.append(self._object(key, "runs", n, n, n, n) | {"error": messages[-1]})
        return out

    @staticmethod
    def _object(key, unit, median, low, high, runs):
        workload, runtime, workers, threads, metric = key
        return {"workload": workload, "runtime": runtime, "workers": workers, "threads": threads,
                "metric": metric, "unit": unit, "median": median, "min": low, "max": high,
                "runs": runs}


def by_key(results):
    return {key_of(r): r for r in results}


def ratio(a, b):
    """a / b; None where that says nothing. Two zeros are even."""
    if b == 0:
        return 1.0 if a == 0 else None
    return a / b


def floor_of(table, workload, workers, threads, metric):
    """The floor's result that bounds this one, or None. It has one worker, so it says nothing on
    what several do in parallel."""
    if workers > 1 and workload == "yield":
        return None
    name, floor_threads = cases.FLOOR_OF.get((workload, threads), (workload, threads))
    return table.get((name, "floor", 1, floor_threads, metric))


def rows_of(results, wanted):
    """(workload, workers, threads, metric) of those metrics that `wanted` accepts, in order."""
    rows = {}
    for r in results:
        if r["metric"] != FAILED and wanted(r["metric"]):
            rows[(r["workload"], r["workers"], r["threads"], r["metric"])] = r["unit"]
    order = {name: i for i, name in enumerate(cases.TITLES)}
    by_case = sorted(rows.items(), key=lambda row: (order.get(row[0][0], 99), row[0][2], row[0][1]))
    return [(*key, unit) for key, unit in by_case]


def runtimes_of(results):
    present = {r["runtime"] for r in results}
    known = [name for name in cases.RUNTIMES if name in present]
    return known + sorted(present - set(known))


def number(x):
    """At most four significant digits, and no exponent where it can be helped."""
    if x is None:
        return "-"
    size = abs(x)
    if size >= 1000:
        return f"{x:,.0f}".replace(",", " ")
    if x == int(x):
        return str(int(x))
    if size >= 100:
        return f"{x:.0f}"
    if size >= 10:
        return f"{x:.1f}"
    if size >= 1:
        return f"{x:.2f}"
    return f"{x:.3f}" if size >= .001 else f"{x:.1e}"


def align(lines):
    """Rows of cells as text: the first column to the left, all others to the right."""
    widths = [max(len(row[i]) for row in lines) for i in range(len(lines[0]))]
    out = []
    for row in lines:
        cells = [row[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(row[1:], widths[1:])]
        out.append("  ".join(cells).rstrip())
    return "\n".join(out)


HEAD = ["workload", "workers", "threads", "metric", "unit"]


def primary(metric):
    return metric not in cases.CONDITIONS and metric not in cases.HIDDEN


def conditions_table(results):
    """Medians of CPU time and of what says how the runs went, without rows of zeros."""
    table, runtimes = by_key(results), runtimes_of(results)
    lines = [HEAD + runtimes]
    for workload, workers, threads, metric, unit in rows_of(
            results, lambda metric: metric in cases.CONDITIONS or metric == "cpu-time"):
        row = [table.get((workload, r, workers, threads, metric)) for r in runtimes]
        if any(r is not None and r["median"] for r in row):
            lines.append([workload, str(workers), number(threads), metric, unit] +
                         ["-" if r is None else number(r["median"]) for r in row])
    return align(lines) if len(lines) > 1 else ""


def medians_table(results, wanted=primary):
    table, runtimes = by_key(results), runtimes_of(results)
    failed = {key[:4] for key in table if key[4] == FAILED}
    lines = [HEAD + runtimes]
    for workload, workers, threads, metric, unit in rows_of(results, wanted):
        cells = []
        for runtime in runtimes:
            r = table.get((workload, runtime, workers, threads, metric))
            if r is None:
                lost = (workload, runtime, workers, threads) in failed
                cells.append("failed" if lost else "-")
            else:
                cells.append(f"{number(r['median'])} ({number(r['min'])})")
        lines.append([workload, str(workers), number(threads), metric, unit] + cells)
    return align(lines)


def ratios_table(results):
    """gvthread / each other; below 1 gvthread is ahead. With CPU time where one worker is measured:
    on a machine that others use too it is the better figure."""
    table = by_key(results)
    others = [r for r in runtimes_of(results) if r != "gvthread"]
    lines = [HEAD[:4] + ["/ " + o for o in others]]
    for workload, workers, threads, metric, _ in rows_of(
            results, lambda metric: primary(metric) or metric == "cpu-time"):
        if metric == "cpu-time" and workers > 1:
            continue  # says nothing on what is done in parallel
        mine = table.get((workload, "gvthread", workers, threads, metric))
        if mine is None:
            continue
        cells = []
        for other in others:
            r = (floor_of(table, workload, workers, threads, metric) if other == "floor" else
                 table.get((workload, other, workers, threads, metric)))
            x = None if r is None else ratio(mine["median"], r["median"])
            cells.append("-" if x is None else f"{x:.3f}" if x < .1 else f"{x:.2f}")
        if any(c != "-" for c in cells):
            lines.append([workload, str(workers), number(threads), metric] + cells)
    return align(lines) if len(lines) > 1 else ""


def failures(results):
    out = []
    for r in results:
        if r["metric"] == FAILED:
            case = name_of(key_of(r)).removesuffix(f": {FAILED}")
            out.append(f"{r['runtime']}: {case}: {r['runs']} failed: {r.get('error', '')}")
    return out


def disturbed(table, key):
    """Whether one worker that never sleeps got less than 0.9 of a CPU."""
    cpus = table.get(key[:4] + ("cpus",))
    return key[2] == 1 and key[4] == "time" and cpus is not None and cpus["median"] < .9


def by_cpu_time(table, bar):
    """The bar itself, or, where others kept a side of it waiting, the same on CPU time."""
    sides = [bar.left, bar.right] if bar.right else [bar.left]
    if (any(disturbed(table, key) for key in sides) and
            all(key[2] == 1 and key[:4] + ("cpu-time",) in table for key in sides)):
        left, right = (key and key[:4] + ("cpu-time",) for key in (bar.left, bar.right))
        return dataclasses.replace(bar, text=bar.text + " [CPU time]", left=left, right=right)
    return bar


def judge_bars(results, bars=cases.BARS):
    """(bar, value, limit, met) for each bar whose two sides were measured."""
    table, out = by_key(results), []
    for bar in bars:
        bar = by_cpu_time(table, bar)
        left = table.get(bar.left)
        right = table.get(bar.right) if bar.right else None
        if left is None or (bar.right and right is None):
            continue
        limit = bar.factor * (right["median"] if right else 1)
        out.append((bar, left["median"], limit, left["median"] <= limit))
    return out


def bars_table(judged):
    lines = [["bar", "value", "limit", ""]]
    lines += [[bar.text, number(value), number(limit), "met" if met else "NOT MET"]
              for bar, value, limit, met in judged]
    return align(lines)


# ---- two runs of the suite ----

WORSE = 1.15


def compared(metric):
    return metric != FAILED and (primary(metric) or metric == "cpu-time")


def name_of(key):
    workload, _, workers, threads, metric = key
    return (f"{workload}, {workers} worker{'s' if workers > 1 else ''}, {number(threads)} "
            f"thread{'s' if threads > 1 else ''}: {metric}")


def compare(old, new):
    """(regressions, notes): lines of text. All metrics are better when smaller. A regression is
    gvthread's: a median above 1.15 x the old, and all new runs above all old ones. What the floor
    did meanwhile, and what is no longer measured, is a note."""
    old_table, new_table = by_key(old), by_key(new)
    regressions, notes = [], []
    for key, after in new_table.items():
        runtime, metric = key[1], key[4]
        before = old_table.get(key)
        name = name_of(key)
        if metric == FAILED and runtime == "gvthread" and before is None:
            regressions.append(f"{name}: {after.get('error', '')}")
        if before is None or not compared(metric):
            continue
        worse = after["median"] > WORSE * before["median"] and after["min"] > before["max"]
        x = ratio(after["median"], before["median"])
        change = (f"{name} {number(before['median'])} -> {number(after['median'])} {after['unit']}"
                  + (f", {x:.2f} x" if x is not None else ""))
        if worse and runtime == "gvthread":
            regressions.append(change)
        elif worse and runtime == "floor":
            notes.append(f"the machine itself was slower: floor {change}")
    for key in old_table:
        if key not in new_table and key[1] == "gvthread" and compared(key[4]):
            notes.append(f"not measured any more: {name_of(key)}")
    return regressions, notes
