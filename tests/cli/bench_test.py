#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""bench_test.py - the logic of ci/bench on made-up figures: medians, tables, ratios, bars,
comparison, plan, failures and the report. Builds and runs no benchmark."""
import contextlib
import html.parser
import importlib.machinery
import importlib.util
import io
import json
import os
import stat
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "bench"))

from suite import cases, report, results, runner, svg  # noqa: E402  (the path comes first)

M = 1_000_000


def result(workload, runtime, median, workers=1, threads=2, metric="time", unit="ns", low=None,
           high=None):
    return {"workload": workload, "runtime": runtime, "workers": workers, "threads": threads,
            "metric": metric, "unit": unit, "median": median, "min": median if low is None else low,
            "max": median if high is None else high, "runs": 3}


def load_main():
    path = os.path.join(ROOT, "ci/bench")
    loader = importlib.machinery.SourceFileLoader("ci_bench", path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("ci_bench", loader))
    loader.exec_module(module)
    return module


class CollectorTest(unittest.TestCase):
    def test_median_min_max_of_each_metric(self):
        c = results.Collector()
        for value in (30, 10, 20):
            c.add({"workload": "yield", "runtime": "go", "workers": 1, "threads": 2,
                   "metric": "time", "unit": "ns", "value": value})
        c.add({"workload": "yield", "runtime": "go", "workers": 2, "threads": 2,
               "metric": "time", "unit": "ns", "value": 7})
        one, two = c.results()
        self.assertEqual((one["median"], one["min"], one["max"], one["runs"]), (20, 10, 30, 3))
        self.assertEqual((two["workers"], two["median"], two["runs"]), (2, 7, 1))
        self.assertEqual(set(one), {"workload", "runtime", "workers", "threads", "metric", "unit",
                                    "median", "min", "max", "runs"})

    def test_a_failure_is_a_result(self):
        c = results.Collector()
        c.add_failure("million", "boost", 1, M, "out of memory")
        c.add_failure("million", "boost", 1, M, "out of memory")
        (failed,) = c.results()
        self.assertEqual((failed["metric"], failed["median"]), ("failed", 2))
        (line,) = results.failures([failed])
        self.assertIn("boost: million, 1 worker", line)
        self.assertIn("out of memory", line)


class TableTest(unittest.TestCase):
    def test_medians_and_failed_cells(self):
        rs = [result("yield", "gvthread", 12.5, low=12.1), result("yield", "go", 60.4),
              result("pingpong", "go", 300),
              result("yield", "boost", 1, metric="failed", unit="runs")]
        text = results.medians_table(rs)
        self.assertRegex(text, r"yield +1 +2 +time +ns +12\.5 \(12\.1\) +60\.4 \(60\.4\) +failed")
        self.assertRegex(text, r"pingpong +1 +2 +time +ns +- +300 \(300\) +-")

    def test_conditions_and_hidden_metrics_have_no_ratios(self):
        rs = [result("yield", r, 5, metric=m) for r in ("gvthread", "go")
              for m in ("cpus", "p10", "os-sleeps")]
        self.assertEqual(results.ratios_table(rs), "")
        self.assertIn("os-sleeps", results.conditions_table(rs))
        self.assertEqual(results.conditions_table([result("yield", "go", 0, metric="cpus")]), "")

    def test_ratio_to_peers_and_to_the_floor(self):
        rs = [result("yield", "gvthread", 10), result("yield", "go", 40),
              result("yield", "floor", 9), result("switch", "floor", 4),
              result("lateness", "gvthread", 0, metric="early"),
              result("lateness", "floor", 0, metric="early")]
        text = results.ratios_table(rs)
        # Between two threads the floor is the bare switch, not the ring.
        self.assertRegex(text, r"yield +1 +2 +time +0\.25 +2\.50")
        self.assertRegex(text, r"lateness +1 +2 +early +- +1\.00")

    def test_the_floor_bounds_no_parallel_throughput(self):
        table = results.by_key([result("yield", "floor", 9, threads=1000)])
        self.assertIsNotNone(results.floor_of(table, "yield", 1, 1000, "time"))
        self.assertIsNone(results.floor_of(table, "yield", 2, 1000, "time"))

    def test_numbers_are_short(self):
        for x, text in ((0, "0"), (12.345, "12.3"), (1234567, "1 234 567"), (0.5, "0.500"),
                        (3, "3"), (999.96, "1000"), (1e-5, "1.0e-05")):
            self.assertEqual(results.number(x), text)


class BarsTest(unittest.TestCase):
    def test_met_and_not_met(self):
        bars = (cases.Bar("half of Go", ("yield", "gvthread", 1, 2, "time"), .5,
                          ("yield", "go", 1, 2, "time")),
                cases.Bar("at most 9", ("yield", "gvthread", 1, 2, "time"), 9),
                cases.Bar("not measured", ("skynet", "gvthread", 1, 2, "time"), 9))
        judged = results.judge_bars([result("yield", "gvthread", 10), result("yield", "go", 20)],
                                    bars)
        self.assertEqual([met for *_, met in judged], [True, False])
        self.assertIn("NOT MET", results.bars_table(judged))

    def test_a_disturbed_worker_is_judged_by_its_cpu_time(self):
        bar = cases.Bar("half of Go", ("yield", "gvthread", 1, 2, "time"), .5,
                        ("yield", "go", 1, 2, "time"))
        rs = [result("yield", "gvthread", 30), result("yield", "gvthread", 9, metric="cpu-time"),
              result("yield", "gvthread", .3, metric="cpus"),
              result("yield", "go", 20), result("yield", "go", 20, metric="cpu-time")]
        ((judged, value, limit, met),) = results.judge_bars(rs, (bar,))
        self.assertEqual((value, limit, met), (9, 10, True))
        self.assertIn("CPU time", judged.text)
        rs[2]["median"] = 1
        ((judged, value, limit, met),) = results.judge_bars(rs, (bar,))
        self.assertEqual((judged, value, met), (bar, 30, False))

    def test_every_bar_can_be_measured(self):
        """Each side's key is one that a full run has."""
        keys = {(j.case.workload, j.runtime.name, j.workers, j.threads)
                for group in runner.plan(False, [], list(cases.RUNTIMES)) for j in group}
        for bar in cases.BARS:
            for side in filter(None, (bar.left, bar.right)):
                self.assertIn(side[:4], keys, bar.text)


class CompareTest(unittest.TestCase):
    def compare(self, before, after, **options):
        return results.compare([result("yield", "gvthread", *before, **options)],
                               [result("yield", "gvthread", *after, **options)])

    def test_slower_beyond_the_noise(self):
        old = [result("yield", "gvthread", 10, low=9, high=11)]
        new = [result("yield", "gvthread", 12, low=11.5, high=13)]
        regressions, _ = results.compare(old, new)
        self.assertEqual(len(regressions), 1)
        self.assertIn("1.20 x", regressions[0])

    def test_within_the_noise_or_under_the_bar(self):
        old = [result("yield", "gvthread", 10, low=9, high=12)]
        for new in (result("yield", "gvthread", 12, low=11.5, high=13),  # overlaps
                    result("yield", "gvthread", 11.4, low=11.4, high=13)):
            self.assertEqual(results.compare(old, [new])[0], [])
        old = [result("yield", "gvthread", 10)]
        self.assertEqual(results.compare(old, [result("yield", "gvthread", 11.5)])[0], [])
        self.assertEqual(results.compare(old, [result("yield", "gvthread", 5)])[0], [])

    def test_from_zero(self):
        old = [result("lateness", "gvthread", 0, metric="early")]
        self.assertEqual(results.compare(old, old)[0], [])
        new = [result("lateness", "gvthread", 3, metric="early")]
        self.assertEqual(len(results.compare(old, new)[0]), 1)

    def test_new_failures_and_what_is_gone(self):
        old = [result("yield", "gvthread", 10)]
        new = [result("yield", "gvthread", 2, metric="failed", unit="runs") | {"error": "boom"}]
        regressions, notes = results.compare(old, new)
        self.assertIn("boom", regressions[0])
        self.assertIn("not measured any more", notes[0])

    def test_others_are_no_regressions(self):
        old = [result("yield", r, 10) for r in ("go", "floor")]
        new = [result("yield", r, 20) for r in ("go", "floor")]
        regressions, notes = results.compare(old, new)
        self.assertEqual(regressions, [])
        self.assertEqual(len(notes), 1)
        self.assertIn("machine", notes[0])


class PlanTest(unittest.TestCase):
    def test_alternates_within_a_case(self):
        for group in runner.plan(True, [], list(cases.RUNTIMES)):
            self.assertEqual(len({(id(j.case), j.workers) for j in group}), 1)
            names = [j.runtime.name for j in group]
            self.assertEqual(len(names), len(set(names)))

    def test_all_workloads_of_the_suite_are_planned(self):
        for quick in (False, True):
            planned = {j.case.workload for g in runner.plan(quick, [], list(cases.RUNTIMES))
                       for j in g}
            self.assertEqual(planned, set(cases.TITLES))

    def test_only_brings_the_floor_along(self):
        groups = runner.plan(True, ["pingpong"], ["gvthread", "go", "floor"])
        jobs = {(j.case.workload, j.runtime.name) for g in groups for j in g}
        self.assertEqual(jobs, {("pingpong", "gvthread"), ("pingpong", "go"),
                                ("switch", "floor")})

    def test_commands(self):
        ((job,),) = runner.plan(True, ["storm"], ["boost-shared"])
        self.assertEqual(job.command("/b"), [
            "/b/bench/boost_bench", "--json", "--scheduler", "shared", "--workload", "storm",
            "--workers", "2", "--threads", "2000", "--ops", "10000", "--sleep-ms", "20"])

    def test_one_worker_runtimes_and_implied_threads(self):
        groups = runner.plan(True, ["spawn", "skynet"], ["st"])
        self.assertEqual([j.workers for g in groups for j in g], [1, 1])
        self.assertEqual([j.threads for g in groups for j in g], [50_000, 11_111])


FAKE = """#!/bin/sh
case "$*" in
  *storm*) echo "failed: no slots" >&2; exit 1 ;;
  *skynet*) kill -SEGV $$ ;;
  *steal*) echo "not a figure" ;;
  *spawn-join*) exec sleep 30 ;;
  *) printf '{"workload":"yield","runtime":"x","workers":1,"threads":2,"metric":"time",'
     printf '"unit":"ns","value":5}\\n' ;;
esac
"""


class RunTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        path = os.path.join(self.folder.name, "go_bench")
        with open(path, "w", encoding="ascii") as file:
            file.write(FAKE)
        os.chmod(path, stat.S_IRWXU)

    def run_workload(self, workload, runs=2):
        c = results.Collector()
        with contextlib.redirect_stderr(io.StringIO()) as log:
            runner.run_all(runner.plan(True, [workload], ["go"], (1,)), runs, self.folder.name, c,
                           1)
        return c.results(), log.getvalue()

    def test_figures_and_a_progress_line_per_run(self):
        rs, log = self.run_workload("pingpong")
        self.assertEqual([(r["runtime"], r["median"], r["runs"]) for r in rs], [("go", 5, 2)])
        self.assertIn("[2/2]", log)
        self.assertIn("left", log)

    def test_every_kind_of_failure_is_kept(self):
        for workload, message in (("storm", "no slots"), ("skynet", "SIGSEGV"),
                                  ("steal", "something else than figures"),
                                  ("spawn-join", "no end after 1 s")):
            rs, log = self.run_workload(workload, 1)
            self.assertEqual([r["metric"] for r in rs], ["failed"])
            self.assertIn(message, rs[0]["error"])
            self.assertIn("FAILED", log)

    def test_what_does_not_fit_is_not_tried(self):
        job = runner.plan(False, ["million"], ["boost"], (1,))[0][0]
        original, runner.available_bytes = runner.available_bytes, lambda: 10 ** 9
        try:
            figures, error = runner.run_once(job, self.folder.name, 1)
        finally:
            runner.available_bytes = original
        self.assertEqual(figures, [])
        self.assertIn("needs about 10.0 GB", error)

    def test_no_program(self):
        job = runner.plan(True, ["yield"], ["gvthread"], (1,))[0][0]
        self.assertIn("No such file", runner.run_once(job, self.folder.name, 1)[1])


class Page(html.parser.HTMLParser):
    VOID = {"meta", "line", "rect", "circle", "path", "br"}

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.links, self.text = [], [], [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [v for k, v in attrs if k in ("src", "href", "xlink:href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag, tag

    def handle_data(self, data):
        self.text += data + "\n"


def full_results():
    rs = []
    for r, cost in (("gvthread", 1), ("go", 6), ("floor", .5)):
        for w in (1, 2):
            if r == "floor" and w == 2:
                continue
            for threads in (2, 1000, 20_000):
                rs.append(result("yield", r, 10 * cost * w, w, threads))
            for i, (name, _) in enumerate(cases.QUANTILES):
                rs.append(result("lateness", r, 20 * cost * 2 ** i, w, 1000, name, "us"))
            rs.append(result("idle", r, 0, w, 20_000, "os-wakeups", "wakes"))
    rs.append(result("storm", "boost", 1, 2, 20_000, "failed", "runs")
              | {"error": "<script>alert(1)</script>"})
    return rs


class ReportTest(unittest.TestCase):
    def test_well_formed_and_needs_no_network(self):
        text = report.page(full_results(), [("CPU", "a <fast> one")])
        page = Page()
        page.feed(text)
        self.assertEqual(page.open, [])
        self.assertEqual(page.links, [])
        self.assertNotIn("script", page.tags)
        self.assertNotIn("url(", text)
        self.assertGreater(page.tags.count("svg"), 6)
        self.assertIn("a <fast> one", page.text)
        self.assertIn("<script>alert(1)</script>", page.text)  # as text
        for words in ("The bars", "Scaling", "Lateness", "Failed runs", "6.0x gvthread", "p99.9"):
            self.assertIn(words, page.text)

    def test_pages_with_little_in_them(self):
        for rs in ([], [result("idle", "gvthread", 0, metric="cpu", unit="ms")],
                   [result("storm", "gvthread", 1, metric="failed", unit="runs")],
                   [result("yield", "gvthread", 5)]):
            page = Page()
            page.feed(report.page(rs, []))
            self.assertEqual(page.open, [])

    def test_scales(self):
        log = svg.Scale(3, 4000, 0, 100, True)
        self.assertEqual((log.low, log.high), (2, 5000))
        self.assertAlmostEqual(log(100), 50, delta=1)
        linear = svg.Scale(0, 43, 0, 100, False)
        self.assertEqual((linear.high, linear.ticks()), (50, [0, 10, 20, 30, 40, 50]))
        self.assertEqual(svg.short(20_000), "20k")


class CommandLineTest(unittest.TestCase):
    def run_main(self, *arguments):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = load_main().main(list(arguments))
            except SystemExit as stop:
                code = stop.code
        return code, out.getvalue(), err.getvalue()

    def test_compare_says_by_its_exit_code(self):
        with tempfile.TemporaryDirectory() as folder:
            old, new = os.path.join(folder, "old.json"), os.path.join(folder, "new.json")
            for path, value in ((old, 10), (new, 20)):
                with open(path, "w", encoding="ascii") as file:
                    json.dump([result("yield", "gvthread", value)], file)
            code, out, _ = self.run_main("--compare", old, new)
            self.assertEqual(code, 1)
            self.assertIn("REGRESSION: yield", out)
            self.assertEqual(self.run_main("--compare", new, old)[0], 0)
            with open(new, "w", encoding="ascii") as file:
                file.write('{"a": 1')
            self.assertEqual(self.run_main("--compare", old, new)[0], 2)

    def test_list_and_bad_names(self):
        code, out, _ = self.run_main("--list")
        self.assertEqual(code, 0)
        self.assertIn("skynet", out)
        self.assertIn("Boost.Fiber", out)
        for bad in (("--only", "yeild"), ("--runtimes", "rust"), ("--workers", "3"),
                    ("--runs", "0"), ("--json", "/no/such/folder/x.json")):
            code, _, err = self.run_main(*bad)
            self.assertEqual(code, 2)
            self.assertIn(bad[1].split("/x")[0] if bad[1] != "0" else "at least 1", err)


if __name__ == "__main__":
    unittest.main()
