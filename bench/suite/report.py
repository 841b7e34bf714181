# SPDX-License-Identifier: MIT
#
# report.py - one HTML page with all figures and plots in it: no scripts, nothing fetched.
from suite import cases, svg
from suite.results import (by_key, failures, floor_of, judge_bars, number, primary, ratio, rows_of,
                           runtimes_of, FAILED)
from suite.svg import escape

STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1d2433; background: #f6f7f9; margin: 0; }
main { max-width: 1180px; margin: 0 auto; padding: 24px 20px 60px; }
h1 { font-size: 26px; margin: 0 0 4px; } h2 { font-size: 20px; margin: 38px 0 10px; }
h3 { font-size: 15px; margin: 0; } p { margin: 6px 0; } .muted { color: #667085; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(510px, 1fr)); gap: 14px; }
.card { background: #fff; border: 1px solid #e4e7ec; border-radius: 8px; padding: 14px 16px; }
.card p { font-size: 13px; } .wide { margin-bottom: 14px; }
svg { display: block; width: 100%; height: auto; font-family: system-ui, sans-serif; }
.legend span { display: inline-block; margin-right: 18px; font-size: 13px; }
.legend svg { display: inline; width: 26px; height: 10px; vertical-align: middle; }
table { border-collapse: collapse; background: #fff; font-size: 13px; width: 100%; }
th, td { padding: 4px 9px; border-bottom: 1px solid #e4e7ec; }
td, th { text-align: right; white-space: nowrap; }
th { color: #667085; font-weight: 600; } td:first-child, th:first-child { text-align: left; }
.met { color: #067647; font-weight: 600; } .missed { color: #b42318; font-weight: 600; }
.scroll { overflow-x: auto; } .failed { color: #b42318; } code { font-size: 12px; }
@media (max-width: 560px) { .grid { grid-template-columns: 1fr; } }
"""


def plural(n, word):
    return f"{number(n)} {word}{'' if n == 1 else 's'}"


def table(head, rows, classes=None):
    out = ["<tr>" + "".join(f"<th>{escape(h)}</th>" for h in head) + "</tr>"]
    for i, row in enumerate(rows):
        last = f' class="{classes[i]}"' if classes else ""
        cells = [f"<td>{escape(c)}</td>" for c in row[:-1]] + [f"<td{last}>{escape(row[-1])}</td>"]
        out.append("<tr>" + "".join(cells) + "</tr>")
    return '<div class="scroll"><table>' + "".join(out) + "</table></div>"


def title_of(name):
    return cases.RUNTIMES[name].title if name in cases.RUNTIMES else name


def colour_of(name):
    return cases.RUNTIMES[name].colour if name in cases.RUNTIMES else "#444"


def factor(x):
    """A ratio as a factor: 9.4x, 0.08x."""
    return f"{x:.0f}x" if x >= 10 else f"{x:.1f}x" if x >= 1.95 else f"{x:.2f}x"


# ---- the bars of each workload ----

def bar_groups(results, workload, threads, metric):
    at, groups = by_key(results), []
    for workers in sorted({r["workers"] for r in results}):
        mine = at.get((workload, "gvthread", workers, threads, metric))
        bars = []
        for runtime in runtimes_of(results):
            r = at.get((workload, runtime, workers, threads, metric))
            lost = at.get((workload, runtime, workers, threads, FAILED))
            if runtime == "floor" and workers == 1 and mine:
                r = floor_of(at, workload, workers, threads, metric)
            if r is not None:
                x = ratio(r["median"], mine["median"]) if mine and runtime != "gvthread" else None
                bars.append((runtime, colour_of(runtime), r["median"], r["min"], r["max"],
                             f"{factor(x)} gvthread" if x is not None else ""))
            elif lost is not None:
                bars.append((runtime, colour_of(runtime), None, 0, 0, "failed"))
        if any(b[2] is not None for b in bars):
            groups.append((plural(workers, "worker"), bars))
    return groups


def cards(results):
    out, seen = [], set()
    for workload, _, threads, metric, unit in rows_of(results, primary):
        if (workload, threads, metric) in seen:
            continue
        seen.add((workload, threads, metric))
        groups = bar_groups(results, workload, threads, metric)
        if not groups:
            continue
        name = workload if metric == "time" else f"{workload}: {metric}"
        telling = threads > 1 and workload not in ("switch", "pingpong", "spawn-join")
        count = f", {plural(threads, 'thread')}" if telling else ""
        out.append(f'<div class="card"><h3>{escape(name + count)}</h3><p class="muted">'
                   f"{escape(cases.TITLES.get(workload, ''))}; {escape(unit)}, less is better</p>"
                   + svg.bars(groups, unit, f"{name}{count}") + "</div>")
    return '<div class="grid">' + "".join(out) + "</div>"


# ---- curves ----

def plot(title, text, series, drawn):
    return (f'<div class="card wide"><h3>{escape(title)}</h3><p class="muted">{escape(text)}</p>'
            + svg.legend_html([s[:3] for s in series]) + drawn + "</div>")


def thread_curves(results):
    """How the cost of a yield grows with the number of threads."""
    series = []
    for runtime in runtimes_of(results):
        for workers, dash in ((1, ""), (2, "6 4")):
            curve = sorted((r["threads"], r["median"]) for r in results
                           if r["workload"] == "yield" and r["metric"] == "time"
                           and r["runtime"] == runtime and r["workers"] == workers)
            if len(curve) > 1:
                series.append((f"{runtime}, {plural(workers, 'worker')}", colour_of(runtime), dash,
                               curve))
    if not series:
        return ""
    ticks = [(t, svg.short(t)) for t in sorted({x for s in series for x, _ in s[3]})]
    return plot("yield: time against the number of threads",
                "Wall time per yield in ns; both axes are logarithmic. The floor is a ring of bare "
                "contexts, so its growth is that of cache and TLB misses alone.", series,
                svg.lines(series, "threads", "ns per yield", "yield against threads", width=1080,
                          x_ticks=ticks))


def worker_gains(results):
    """What the second worker gives, per workload: time with 1 worker / time with 2."""
    at, rows = by_key(results), {}
    for workload, workers, threads, metric, _ in rows_of(results, lambda m: m in ("time", "wall")):
        if workers != 2 or workload in ("storm", "futex"):
            continue
        bars = []
        for runtime in runtimes_of(results):
            one = at.get((workload, runtime, 1, threads, metric))
            two = at.get((workload, runtime, 2, threads, metric))
            if one and two and two["median"] > 0:
                gain = one["median"] / two["median"]
                bars.append((runtime, colour_of(runtime), gain, gain, gain, ""))
        if bars:
            rows[f"{workload}, {plural(threads, 'thread')}"] = bars
    if not rows:
        return ""
    drawn = svg.bars(list(rows.items()), "throughput with 2 workers / with 1: more is better",
                     "gain of the second worker", width=1080, log=False, mark=1)
    return ('<div class="card wide"><h3>What a second worker gives</h3><p class="muted">'
            "Throughput with two workers, relative to one of the same runtime: 2 is perfect, below "
            "1 the second worker is in the way. Waits for each other cannot gain.</p>"
            + drawn + "</div>")


def lateness_curves(results):
    at, out = by_key(results), []
    for threads in sorted({r["threads"] for r in results if r["workload"] == "lateness"},
                          reverse=True):
        series = []
        for runtime in runtimes_of(results):
            for workers, dash in ((1, ""), (2, "6 4")):
                curve = []
                for i, (name, _) in enumerate(cases.QUANTILES):
                    r = at.get(("lateness", runtime, workers, threads, name))
                    if r is not None:
                        curve.append((i, max(r["median"], .1)))
                if len(curve) > 1:
                    series.append((f"{runtime}, {plural(workers, 'worker')}", colour_of(runtime),
                                   dash, curve))
        if series:
            ticks = [(i, name) for i, (name, _) in enumerate(cases.QUANTILES)]
            out.append(plot(f"lateness of {plural(threads, 'sleeper')}",
                            "How long after its deadline a thread goes on, by quantile: p99 is "
                            "what 99 of 100 wakes keep. Below 0.1 us, early wakes "
                            "too, is drawn at 0.1.",
                            series, svg.lines(series, "quantile", "us late, log scale",
                                              "lateness by quantile", width=1080, x_ticks=ticks,
                                              log_x=False)))
    return "".join(out)


# ---- tables ----

def bars_section(results):
    judged = judge_bars(results)
    if not judged:
        return ""
    rows = [(bar.text, number(value), number(limit), f"{value / limit:.2f}" if limit else "-",
             "met" if met else "not met") for bar, value, limit, met in judged]
    count = sum(met for *_, met in judged)
    return (f"<h2>The bars: {count} of {len(judged)} met</h2>"
            + table(["bar", "value", "limit", "value / limit", ""], rows,
                    ["met" if met else "missed" for *_, met in judged]))


def figures_section(results):
    at, runtimes = by_key(results), runtimes_of(results)
    rows = []
    for workload, workers, threads, metric, unit in rows_of(results, lambda m: True):
        cells = []
        for runtime in runtimes:
            r = at.get((workload, runtime, workers, threads, metric))
            cells.append("" if r is None else f"{number(r['median'])} "
                         f"({number(r['min'])} - {number(r['max'])})")
        rows.append([workload, workers, number(threads), metric, unit] + cells)
    return "<h2>All figures: median (min - max)</h2>" + table(
        ["workload", "workers", "threads", "metric", "unit"] + runtimes, rows)


def page(results, machine):
    """machine: [(name, value)] of the head."""
    lost = failures(results)
    used = [title_of(r) for r in runtimes_of(results)]
    body = [
        "<h1>gvthread and its peers</h1>",
        f'<p class="muted">{escape("; ".join(used))}. Medians of '
        f"{max((r['runs'] for r in results), default=0)} runs, peers alternately; a thin line in a "
        "bar spans the least to the greatest, a factor is the other's median / gvthread's. Compare "
        "within this page: absolute figures move from machine to machine.</p>",
        "<p>" + " &middot; ".join(f'<span class="muted">{escape(k)}</span> {escape(v)}'
                                  for k, v in machine) + "</p>",
        bars_section(results),
        "".join(["<h2>Failed runs</h2>"] + [f'<p class="failed">{escape(f)}</p>' for f in lost]
                if lost else []),
        "<h2>Each workload</h2>", cards(results),
        "<h2>Scaling</h2>", thread_curves(results), worker_gains(results),
        "<h2>Lateness</h2>" if any(r["workload"] == "lateness" for r in results) else "",
        lateness_curves(results),
        figures_section(results),
    ]
    return ('<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>gvthread: benchmarks</title><style>{STYLE}</style></head><body><main>"
            + "\n".join(body) + "</main></body></html>\n")
