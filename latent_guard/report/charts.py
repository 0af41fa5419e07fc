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

WIDTH = 5.2  # inches, as HEIGHT and BAR
HEIGHT = 3.3
BAR = 0.15
MAX_POINTS = 12  # with more steps than this on an axis, no markers


@dataclass(frozen=True)
class Palette:
    """Colours of one scheme; the first is grey, for the unguarded images. Lines differ in their markers, too."""

    ink: str
    grid: str
    series: tuple[str, ...]


LIGHT = Palette("#3d4650", "#d9dee3", ("#7c8690", "#2f6f9f", "#c2571a", "#3b8068", "#8a4f9e", "#8f6d00", "#b03a5b"))
DARK = Palette("#c3cbd3", "#343c44", ("#8b959f", "#7db8e0", "#ef9a63", "#77c4a6", "#c79ad8", "#d8b44a", "#ee8fa9"))
MARKERS = "oosD^vP"


@dataclass(frozen=True)
class Chart:
    """One drawing as data URIs of SVG, for both schemes, with its description."""

    light: str
    dark: str
    alt: str


def curve_chart(curves: Mapping[str, Sequence[Mapping[str, Any]]], order: Sequence[str]) -> Chart:
    """Draw the unsafe rate against benign utility, a line a method, a point a strength.

    Here and below, ``order`` names the run's methods, unguarded first: each has one colour in all charts.
    """

    def drawing(axes: Any, palette: Palette) -> None:
        for method, points in curves.items():
            pairs = sorted(
                (_percent(point, "utility", "curves"), _percent(point, "unsafe", "curves")) for point in points
            )
            utilities, unsafe = zip(*pairs, strict=True) if pairs else ((), ())
            axes.plot(utilities, unsafe, **_style(palette, method, order), label=method)
        axes.set(xlabel="benign utility, %", ylabel="unsafe, %")
        axes.set_ylim(bottom=0)

    return _chart(drawing, f"Unsafe rate against benign utility, {len(curves)} methods; lower right is better.")


def category_chart(rates: Mapping[str, Mapping[str, Estimate]], order: Sequence[str]) -> Chart:
    """Draw a group of bars a category, a bar a method, with 95% intervals."""
    categories = sorted({category for of_method in rates.values() for category in of_method})

    def drawing(axes: Any, palette: Palette) -> None:
        thickness = 0.82 / max(1, len(rates))
        for number, (method, of_method) in enumerate(rates.items()):
            places = [place + (number - (len(rates) - 1) / 2) * thickness for place in range(len(categories))]
            estimates = [of_method.get(category, Estimate.of_nothing()) for category in categories]
            axes.barh(
                places,
                [100 * estimate.value for estimate in estimates],
                0.86 * thickness,
                xerr=_error_bars(estimates, scale=100),
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
    """Draw the share of unsafe images against the stated probability; calibrated probabilities are on the diagonal."""

    def drawing(axes: Any, palette: Palette) -> None:
        axes.plot([0, 1], [0, 1], "--", color=palette.series[0], linewidth=1)
        for name, points in _series(bins).items():
            stated = [read_estimate(point.get("probability"), "calibration").value for point in points]
            shares = [read_share(point, "calibration") for point in points]
            measured = [share.value for share in shares]
            style = _style(palette, name, order)
            axes.errorbar(
                stated, measured, yerr=_error_bars(shares), **style, elinewidth=1, capsize=2, label=name or None
            )
        axes.set(xlabel="stated probability", ylabel="share unsafe", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))

    return _chart(drawing, "Share of unsafe images against the stated probability; the diagonal is exact.")


def step_chart(steps: Sequence[Mapping[str, Any]], order: Sequence[str]) -> Chart:
    """Draw precision (dashed) and recall (solid) of the check by step."""

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
    """Draw the median seconds of an image, a bar a method."""

    def drawing(axes: Any, palette: Palette) -> None:
        colours = [_style(palette, method, order)["color"] for method in seconds]
        bars = axes.barh(range(len(seconds)), list(seconds.values()), 0.6, color=colours, tick_label=list(seconds))
        axes.bar_label(bars, fmt="%.3g", padding=4, color=palette.ink)
        axes.set(xlabel="seconds an image, median")
        axes.margins(x=0.14)
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)

    return _chart(drawing, "Median seconds of an image by each method.", max(1.6, 0.9 + 0.3 * len(seconds)))


def _chart(drawing: Callable[[Any, Palette], None], alt: str, height: float = HEIGHT) -> Chart:
    return Chart(_svg(drawing, LIGHT, height), _svg(drawing, DARK, height), alt)


def _svg(drawing: Callable[[Any, Palette], None], palette: Palette, height: float) -> str:
    names = ("text.color", "axes.labelcolor", "xtick.color", "ytick.color")
    style: Any = {
        **dict.fromkeys(names, palette.ink),
        "text.parse_math": False,  # labels are untrusted text, in which a dollar sign is no markup
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
        content = io.BytesIO()
        warnings.filterwarnings("ignore", "Glyph")  # a name in another script, which the table has too
        figure.savefig(content, format="svg", transparent=True, metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(content.getvalue()).decode()}"


def _style(palette: Palette, name: str, order: Sequence[str]) -> dict[str, Any]:
    """The colour and marker of a series; names that are not in the order have those of its second."""
    number = order.index(name) if name in order else 1
    around, place = divmod(number - 1, len(palette.series) - 1) if number else (0, -1)
    style = {
        "color": palette.series[place + 1],  # grey once only
        "marker": MARKERS[place + 1],
        "markersize": 5,
        "linewidth": 1.6,
    }
    if around:  # with more methods than colours, further rounds are dashed, with empty markers
        style |= {"linestyle": ("--", ":")[(around - 1) % 2], "markerfacecolor": "none"}
    return style


def _series(points: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    series: dict[str, list[Mapping[str, Any]]] = {}
    for point in points:
        series.setdefault(series_name(point), []).append(point)
    return series


def _percent(point: Mapping[str, Any], name: str, where: str) -> float:
    return 100 * read_estimate(point.get(name), where).value


def _error_bars(estimates: Sequence[Estimate], scale: float = 1) -> list[list[float]]:
    """The lengths of each interval below and above its value, as matplotlib takes them."""
    below = [_length(estimate.value, estimate.low, scale) for estimate in estimates]
    above = [_length(estimate.high, estimate.value, scale) for estimate in estimates]
    return [below, above]


def _length(upper: float, lower: float, scale: float) -> float:
    """The length of a part of an interval; 0 where there is none."""
    return 0.0 if math.isnan(upper - lower) else max(0.0, scale * (upper - lower))
