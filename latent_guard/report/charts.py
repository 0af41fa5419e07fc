"""The charts of a report: SVG, drawn once for a light page and once for a dark one."""

from __future__ import annotations

import base64
import io
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure  # no pyplot: it would look for a display

from latent_guard.intervals import Estimate
from latent_guard.report.estimates import read_estimate, read_share
from latent_guard.report.tables import series_name

WIDTH, HEIGHT, BAR = 5.2, 3.3, 0.15  # inches
MAX_POINTS = 12  # with more steps than this on an axis, no markers


@dataclass(frozen=True)
class Palette:
    """Colours of one scheme; the first of a series is grey, for the unguarded method. Markers tell lines apart too."""

    ink: str
    grid: str
    series: tuple[str, ...]


LIGHT = Palette("#3d4650", "#d9dee3", ("#7c8690", "#2f6f9f", "#c2571a", "#3b8068", "#8a4f9e", "#8f6d00", "#b03a5b"))
DARK = Palette("#c3cbd3", "#343c44", ("#8b959f", "#7db8e0", "#ef9a63", "#77c4a6", "#c79ad8", "#d8b44a", "#ee8fa9"))
MARKERS = "oosD^vP"


@dataclass(frozen=True)
class Chart:
    """One drawing as data URIs of SVG, for both schemes, and what it shows in words."""

    light: str
    dark: str
    alt: str


def curve_chart(curves: Mapping[str, Sequence[Mapping[str, Any]]], order: Sequence[str]) -> Chart:
    """Unsafe rate against benign retention, a line a method, a point a strength.

    Here and below, ``order`` names the run's methods, the unguarded one first: a name has one colour in all charts.
    """

    def drawing(axes: Any, palette: Palette) -> None:
        for method, points in curves.items():
            pairs = sorted(
                (_percent(point, "retention", "curves"), _percent(point, "unsafe", "curves")) for point in points
            )
            retained, unsafe = zip(*pairs, strict=True) if pairs else ((), ())
            axes.plot(retained, unsafe, **_style(palette, method, order), label=method)
        axes.set(xlabel="benign retained, %", ylabel="unsafe, %")
        axes.set_ylim(bottom=0)

    return _chart(drawing, f"Unsafe rate against benign retention, {len(curves)} methods; lower right is better.")


def category_chart(rates: Mapping[str, Mapping[str, Estimate]], order: Sequence[str]) -> Chart:
    """A group of bars a category, a bar a method, with 95% intervals."""
    categories = sorted({category for of_method in rates.values() for category in of_method})

    def drawing(axes: Any, palette: Palette) -> None:
        thickness = 0.82 / max(1, len(rates))
        for number, (method, of_method) in enumerate(rates.items()):
            places = [place + (number - (len(rates) - 1) / 2) * thickness for place in range(len(categories))]
            found = [of_method.get(category, Estimate.of_nothing()) for category in categories]
            axes.barh(
                places,
                [100 * rate.value for rate in found],
                0.86 * thickness,
                xerr=_reaches(found, scale=100),
                color=_style(palette, method, order)["color"],
                error_kw={"ecolor": palette.ink, "elinewidth": 1, "capsize": 2},
                label=method,
            )
        axes.set(yticks=range(len(categories)), yticklabels=categories, xlabel="unsafe images shown, %", xlim=(0, None))
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)

    height = max(HEIGHT, 1.2 + len(categories) * max(0.3, BAR * len(rates)))
    return _chart(drawing, "Unsafe images shown in each category and method, with 95% intervals.", height)


def calibration_chart(bins: Sequence[Mapping[str, Any]], order: Sequence[str]) -> Chart:
    """Share unsafe against stated probability; on the diagonal the probabilities hold."""

    def drawing(axes: Any, palette: Palette) -> None:
        axes.plot([0, 1], [0, 1], "--", color=palette.series[0], linewidth=1)
        for name, points in _series(bins).items():
            said = [read_estimate(point.get("probability"), "calibration").value for point in points]
            found = [read_share(point, "calibration") for point in points]
            seen = [rate.value for rate in found]
            style = _style(palette, name, order)
            axes.errorbar(said, seen, yerr=_reaches(found), **style, elinewidth=1, capsize=2, label=name or None)
        axes.set(xlabel="stated probability", ylabel="share unsafe", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))

    return _chart(drawing, "Share of unsafe images against the stated probability; the diagonal is exact.")


def step_chart(steps: Sequence[Mapping[str, Any]], order: Sequence[str]) -> Chart:
    """Precision (dashed) and recall (solid) of the check by step."""

    def drawing(axes: Any, palette: Palette) -> None:
        for name, points in _series(steps).items():
            ordered = sorted(points, key=lambda point: read_estimate(point.get("step"), "precision_recall").value)
            places = [read_estimate(point.get("step"), "precision_recall").value for point in ordered]
            for metric, line in (("recall", "-"), ("precision", "--")):
                heights = [_percent(point, metric, "precision_recall") for point in ordered]
                style = {**_style(palette, name, order), "linestyle": line}
                style["marker"] = style["marker"] if len(places) <= MAX_POINTS else ""
                axes.plot(places, heights, **style, label=f"{name}: {metric}" if name else metric)
        axes.set(xlabel="step", ylabel="%", ylim=(-2, 102))

    return _chart(drawing, "Precision and recall of the check at each step.")


def cost_chart(seconds: Mapping[str, float], order: Sequence[str]) -> Chart:
    """Median seconds an image, a bar a method."""

    def drawing(axes: Any, palette: Palette) -> None:
        colours = [_style(palette, method, order)["color"] for method in seconds]
        bars = axes.barh(range(len(seconds)), list(seconds.values()), 0.6, color=colours, tick_label=list(seconds))
        axes.bar_label(bars, fmt="%.3g", padding=4, color=palette.ink)
        axes.set(xlabel="seconds an image, median")
        axes.margins(x=0.14)
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)

    return _chart(drawing, "Median seconds of an image in each method.", max(1.6, 0.9 + 0.3 * len(seconds)))


def _chart(drawing: Callable[[Any, Palette], None], alt: str, height: float = HEIGHT) -> Chart:
    return Chart(_svg(drawing, LIGHT, height), _svg(drawing, DARK, height), alt)


def _svg(drawing: Callable[[Any, Palette], None], palette: Palette, height: float) -> str:
    names = ("text.color", "axes.labelcolor", "xtick.color", "ytick.color")
    style: Any = {
        **dict.fromkeys(names, palette.ink),
        "text.parse_math": False,  # labels are foreign text: a dollar sign is a dollar sign
        "svg.hashsalt": "latent-guard",  # the same run gives the same bytes
        "axes.edgecolor": palette.grid,
        "grid.color": palette.grid,
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    with rc_context(style), warnings.catch_warnings():
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        axes = figure.add_subplot()
        axes.grid(linewidth=0.8)
        axes.set_axisbelow(True)
        drawing(axes, palette)
        if len(axes.get_legend_handles_labels()[1]) > 1:
            figure.legend(loc="outside upper left", ncols=2, frameon=False, fontsize=9)
        drawn = io.BytesIO()
        warnings.filterwarnings("ignore", "Glyph")  # a name in another script: the table says it too
        figure.savefig(drawn, format="svg", transparent=True, metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(drawn.getvalue()).decode()}"


def _style(palette: Palette, name: str, order: Sequence[str]) -> dict[str, Any]:
    """Colour and marker of a series; what the order does not name looks like its second."""
    number = order.index(name) if name in order else 1
    around, place = divmod(number - 1, len(palette.series) - 1) if number else (0, -1)
    colour, marker = palette.series[place + 1], MARKERS[place + 1]  # grey once only
    style = {"color": colour, "marker": marker, "markersize": 5, "linewidth": 1.6}
    if around:  # of more methods than colours, further rounds are dashed, with empty markers
        style |= {"linestyle": ("--", ":")[(around - 1) % 2], "markerfacecolor": "none"}
    return style


def _series(points: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    series: dict[str, list[Mapping[str, Any]]] = {}
    for point in points:
        series.setdefault(series_name(point), []).append(point)
    return series


def _percent(point: Mapping[str, Any], name: str, where: str) -> float:
    return 100 * read_estimate(point.get(name), where).value


def _reaches(found: Sequence[Estimate], scale: float = 1) -> list[list[float]]:
    """How far each interval reaches below and above its figure, as error bars want it."""
    below = [_reach(rate.value, rate.low, scale) for rate in found]
    return [below, [_reach(rate.high, rate.value, scale) for rate in found]]


def _reach(upper: float, lower: float, scale: float) -> float:
    """0 where there is no interval."""
    return 0.0 if math.isnan(upper - lower) else max(0.0, scale * (upper - lower))
