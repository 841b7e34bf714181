# SPDX-License-Identifier: MIT
"""coverage_report.py REASONS MINIMUM EXPORT... - what ci/coverage prints.

An EXPORT is the JSON of `llvm-cov export` of one program. A branch counts once however often its template was
instantiated, and each side that any instantiation took is covered. REASONS has lines of the form
    core/file.hpp | a piece of the line's text | why no property reaches this branch
A branch without a reason is an error; so is a reason whose text is no longer in the file: it would
hide the next gap.
"""
import json
import os
import sys


def line_counts(segments):
    """Yields (line, count) of each line with code; the rules are those of llvm-cov."""
    if not segments:
        return
    wrapped = None
    index = 0
    for line in range(segments[0][0], segments[-1][0] + 1):
        here = []
        while index < len(segments) and segments[index][0] == line:
            here.append(segments[index])
            index += 1
        starts = [s for s in here if s[3] and s[4] and not s[5]]
        skipped = bool(here) and not here[0][3] and here[0][4]
        if not skipped and ((wrapped and wrapped[3]) or starts):
            count = wrapped[2] if wrapped and wrapped[3] else 0
            yield line, max([count] + [s[2] for s in starts])
        if here:
            wrapped = here[-1]


def read_exports(paths):
    """name -> ({line: count}, {place: [times true, times false]}), over all programs."""
    found = {}
    for path in paths:
        with open(path, encoding="utf-8") as stream:
            for file in json.load(stream)["data"][0]["files"]:
                lines, sides = found.setdefault(os.path.relpath(file["filename"]), ({}, {}))
                for line, count in line_counts(file["segments"]):
                    lines[line] = lines.get(line, 0) + count
                for line, column, end_line, end_column, true, false, *_ in file["branches"]:
                    both = sides.setdefault((line, column, end_line, end_column), [0, 0])
                    both[0] += true
                    both[1] += false
    return found


def read_reasons(path):
    reasons = []
    if os.path.exists(path):
        with open(path, encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                line = line.strip()
                if not line or line.startswith("#"):
                    continue
                parts = [part.strip() for part in line.split(" | ")]
                if len(parts) != 3 or not all(parts):
                    sys.exit(f"{path}:{number}: not of the form FILE | TEXT | REASON")
                reasons.append({"file": parts[0], "text": parts[1], "why": parts[2]})
    return reasons


def percent(part, whole):
    return 100.0 if whole == 0 else 100.0 * part / whole


def main():
    reasons_path, minimum = sys.argv[1], float(sys.argv[2])
    reasons = read_reasons(reasons_path)
    total = [0, 0, 0, 0]
    gaps = []
    print(f"{'file':34} {'lines':>13} {'%':>6} {'branches':>13} {'%':>6}")
    for name, (lines, sides) in sorted(read_exports(sys.argv[3:]).items()):
        with open(name, encoding="utf-8") as stream:
            text = stream.read().splitlines()
        covered = sum(1 for count in lines.values() if count > 0)
        taken = sum((true > 0) + (false > 0) for true, false in sides.values())
        row = [covered, len(lines), taken, 2 * len(sides)]
        total = [a + b for a, b in zip(total, row)]
        print(f"{name:34} {row[0]:6}/{row[1]:<6} {percent(row[0], row[1]):6.1f}"
              f" {row[2]:6}/{row[3]:<6} {percent(row[2], row[3]):6.1f}")
        for (line, column, _, _), (true, false) in sorted(sides.items()):
            for side, count in (("true", true), ("false", false)):
                if count == 0:
                    source = text[line - 1].strip()
                    why = ""
                    for reason in reasons:
                        if reason["file"] == name and reason["text"] in source:
                            why = reason["why"]
                    gaps.append((name, line, column, side, source, why))
    print(f"{'core':34} {total[0]:6}/{total[1]:<6} {percent(total[0], total[1]):6.1f}"
          f" {total[2]:6}/{total[3]:<6} {percent(total[2], total[3]):6.1f}")
    if gaps:
        print("\nbranches not covered:")
    for name, line, column, side, source, why in gaps:
        print(f"  {name}:{line}:{column}: never {side}: {source}")
        print(f"      {why or 'no reason given'}")
    good = all(why for *_, why in gaps)
    for reason in reasons:
        if not os.path.exists(reason["file"]) or not any(
                reason["text"] in line for line in open(reason["file"], encoding="utf-8")):
            print(f"{reasons_path}: not in the code: {reason['file']} | {reason['text']}")
            good = False
    if percent(total[0], total[1]) < minimum or percent(total[2], total[3]) < minimum:
        print(f"below {minimum:g} %")
        good = False
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
