# SPDX-License-Identifier: MIT
#
# svg.py - plots as inline SVG: horizontal bars in groups, and curves. Text stays text, so that it
# scales and can be selected and searched.
import html
import math

from suite.results import number

MUTED, GRID, TEXT = "#667085", "#e4e7ec", "#1d2433"


def escape(text):
    return html.escape(str(text), quote=True)


def text_width(text, size):
    return len(str(text)) * size * .56


class Canvas:
    def __init__(self, width, height, label):
        self.width, self.height, self.label, self.parts = width, height, label, []

    def text(self, x, y, text, size=12, anchor="start", colour=TEXT, weight="normal"):
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" '
                          f'text-anchor="{anchor}" fill="{colour}" '
                          f'font-weight="{weight}">{escape(text)}</text>')

    def line(self, x1, y1, x2, y2, colour=GRID, width=1.0, dash=""):
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
                          f'stroke="{colour}" stroke-width="{width}"'
                          + (f' stroke-dasharray="{dash}"' if dash else "") + "/>")

    def rect(self, x, y, width, height, colour, title):
        self.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 1):.1f}" '
                          f'height="{height:.1f}" fill="{colour}" rx="2">'
                          f"<title>{escape(title)}</title></rect>")

    def circle(self, x, y, radius, colour, title):
        self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{colour}" '
                          f'stroke="#fff"><title>{escape(title)}</title></circle>')

    def path(self, points, colour, dash="", width=2.2):
        d = " ".join(f"{'M' if i == 0 else 'L'}{x:.1f},{y:.1f}" for i, (x, y) in enumerate(points))
        self.parts.append(f'<path d="{d}" fill="none" stroke="{colour}" stroke-width="{width}"'
                          + (f' stroke-dasharray="{dash}"' if dash else "") + "/>")

    def render(self):
        return (f'<svg viewBox="0 0 {self.width} {self.height:.0f}" role="img" '
                f'aria-label="{escape(self.label)}" xmlns="http://www.w3.org/2000/svg">'
                + "".join(self.parts) + "</svg>")


class Scale:
    """From values to pixels; logarithmic where asked for, then from a 1-2-5 step to another."""

    def __init__(self, low, high, begin, end, log):
        self.log, self.begin, self.end = log, begin, end
        if log:
            self.low, self.high = self._below(low), self._above(high)
        else:
            step = self._step(high or 1)
            self.low, self.high, self.step = 0, math.ceil((high or 1) / step - 1e-9) * step, step

    @staticmethod
    def _step(high):
        power = 10 ** math.floor(math.log10(high))
        for factor in (.2, .5, 1, 2):
            if high / (factor * power) <= 5:
                return factor * power
        return 2 * power

    @staticmethod
    def _below(x):
        power = 10 ** math.floor(math.log10(x))
        return max(f * power for f in (1, 2, 5) if f * power <= x * (1 + 1e-9))

    @staticmethod
    def _above(x):
        power = 10 ** math.floor(math.log10(x))
        return min(f * power for f in (1, 2, 5, 10) if f * power >= x * (1 - 1e-9))

    def __call__(self, x):
        if self.log:
            x = max(x, self.low)
            share = (math.log(x / self.low) / math.log(self.high / self.low)
                     if self.high > self.low else 1)
        else:
            share = x / self.high
        return self.begin + share * (self.end - self.begin)

    def ticks(self):
        if not self.log:
            n = round(self.high / self.step)
            return [i * self.step for i in range(n + 1)]
        factors = (1, 2, 5) if self.high / self.low <= 120 else (1,)
        ticks, power = [], 10 ** math.floor(math.log10(self.low))
        while power <= self.high * (1 + 1e-9):
            ticks += [f * power for f in factors
                      if self.low * (1 - 1e-9) <= f * power <= self.high * (1 + 1e-9)]
            power *= 10
        return ticks


def short(x):
    """A tick's label: 20 000 is 20k."""
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(x) >= size:
            unit = 1e3 if suffix == "k" else size
            return f"{x / unit:g}{suffix}"
    return f"{x:g}"


def bars(groups, unit, label, width=520, log=None, mark=None):
    """groups: [(title, [(name, colour, median, min, max, note)])]; median None: what failed, and
    note says so. log None: where the range asks for it. mark: a value with a line of its own."""
    values = [b[4] for _, rows in groups for b in rows if b[2] is not None]
    positive = [x for _, rows in groups for b in rows if b[2] is not None for x in (b[2],) if x > 0]
    high = max(values, default=1) or 1
    if log is None:
        log = bool(positive) and max(positive) / min(positive) > 12
    row, left, right, top = 21, 150, 128, 8
    height = top + sum(len(rows) * row + 24 for _, rows in groups) + 34
    c = Canvas(width, height, label)
    scale = Scale(min(positive) / 2 if log else 0, high, left, width - right, log)
    bottom = height - 30
    for tick in scale.ticks():
        c.line(scale(tick), top, scale(tick), bottom)
        c.text(scale(tick), bottom + 13, short(tick), 10, "middle", MUTED)
    c.text((left + width - right) / 2, bottom + 26, unit + (", log scale" if log else ""), 10,
           "middle", MUTED)
    if mark is not None:
        c.line(scale(mark), top, scale(mark), bottom, MUTED, 1.4, "4 3")
    y = top
    for title, rows in groups:
        c.text(0, y + 15, title, 11, colour=MUTED, weight="600")
        y += 24
        for name, colour, median, low, most, note in rows:
            c.text(left - 8, y + 12, name, 12, "end",
                   weight="600" if name == "gvthread" else "normal")
            if median is None:
                c.text(left + 4, y + 12, note, 11, colour="#b42318")
            else:
                end = scale(median) if median > 0 else left
                c.rect(left, y + 2, end - left, row - 7, colour,
                       f"{name}: median {number(median)} {unit}, {number(low)} to {number(most)}")
                if most > low:
                    at = y + row / 2 - 1
                    c.line(scale(low) if low > 0 else left, at, scale(most), at, "#1d243399", 1.2)
                x = (scale(most) if most > 0 else left) + 5
                c.text(x, y + 12, number(median), 11, weight="600")
                c.text(x + text_width(number(median), 11) + 7, y + 12, note, 11, colour=MUTED)
            y += row
    return c.render()


def lines(series, x_title, y_title, label, width=640, height=360, x_ticks=None, log_x=True,
          log_y=True):
    """series: [(name, colour, dash, [(x, y)])]; x_ticks: [(x, text)] where numbers say little."""
    points = [p for s in series for p in s[3]]
    xs, ys = [p[0] for p in points], [p[1] for p in points if p[1] > 0 or not log_y]
    left, right, top, bottom = 58, 26, 40, height - 44
    c = Canvas(width, height, label)
    y_scale = Scale(min(ys), max(ys), bottom, top, log_y)
    if log_x:
        x_scale = Scale(min(xs), max(xs), left, width - right, True)
    else:
        x_scale = lambda x: left + (x - min(xs)) / (max(xs) - min(xs) or 1) * (width - right - left)
    for tick in y_scale.ticks():
        c.line(left, y_scale(tick), width - right, y_scale(tick))
        c.text(left - 6, y_scale(tick) + 4, short(tick), 11, "end", MUTED)
    for tick, text in x_ticks or [(t, short(t)) for t in x_scale.ticks()]:
        c.line(x_scale(tick), top, x_scale(tick), bottom)
        c.text(x_scale(tick), bottom + 16, text, 11, "middle", MUTED)
    c.text((left + width - right) / 2, height - 10, x_title, 12, "middle", MUTED)
    c.text(left - 48, top - 22, y_title, 12, colour=MUTED)
    for name, colour, dash, curve in series:
        drawn = [(x_scale(x), y_scale(max(y, y_scale.low) if log_y else y)) for x, y in curve]
        c.path(drawn, colour, dash, 3 if name.startswith("gvthread") else 2)
        for (x, y), (vx, vy) in zip(drawn, curve):
            c.circle(x, y, 3.6, colour, f"{name}: {short(vx)}: {number(vy)}")
    return c.render()


def legend_html(series):
    """Outside of the plot, where it wraps: [(name, colour, dash)]."""
    items = []
    for name, colour, dash in series:
        stroke = f'stroke-dasharray="{dash}"' if dash else ""
        items.append(f'<span><svg width="26" height="10"><line x1="0" y1="5" x2="26" y2="5" '
                     f'stroke="{colour}" stroke-width="3" {stroke}/></svg> {escape(name)}</span>')
    return f'<p class="legend">{" ".join(items)}</p>'
