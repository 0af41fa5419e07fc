"""What 2.7 billion pairs, and 10 million images a day, come to: formulas over the measured parts, as Markdown tables.

A line says its formula, and of each number in it whether it was measured, counted, published or assumed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peaks import PUBLISHED_TFLOPS
from benchmarks.scale.parts import Parts
from latent_guard.files.documents import read_json

PAIRS, SEEN = 2.7e9, 34e9  # of the published Latent-CLIPs: pairs, and samples seen (arXiv 2503.08455)
IMAGES_A_DAY = 10e6
DAY, HOUR, KIB, TB = 86_400.0, 3600.0, 1024.0, 1e12
GPU = "H200"
UTILISATION = 0.4  # of a GPU's peak; assumed, near what this machine's processor reaches in benchmarks/training.py
PEAK_OVER_MEAN = 2.0  # of a day's requests; assumed
PNG_BYTES = 1.5e6  # of 1024 x 1024 pixels; assumed
BASE64 = 4 / 3  # characters a byte: pictures travel in JSON
COST = Path(__file__).parents[1] / "results" / "cost.json"
_GENERATED = ("SDXL 512 px", "SDXL 1024 px", "FLUX.1 1024 px")


@dataclass(frozen=True)
class Line:
    """What is needed, how it follows, and what it comes to."""

    what: str
    formula: str
    value: str


def tables(parts: Parts) -> str:
    """The tables of docs/scale.md."""
    sections = {
        "Encoding 2.7 billion pairs": encoding(parts),
        "Training on them": training(parts),
        "Checking 10 million finished images a day": checking(parts),
        "Generating 10 million images a day under guard": generating(parts),
    }
    return "\n".join(f"### {title}\n\n{_table(lines)}\n" for title, lines in sections.items())


def encoding(parts: Parts) -> list[Line]:
    """SDXL's VAE at 512 pixels."""
    rate = gpu_flops() / (parts.encode_gflop * 1e9)
    return [
        Line("pictures a second of a GPU", f"{_flops()} / {parts.encode_gflop:,.0f} GFLOP (counted)", f"{rate:,.0f}"),
        Line("GPU hours", f"2.7e9 (published) / {rate:,.0f} / 3,600 s", f"{PAIRS / rate / HOUR:,.0f}"),
        Line(
            "cores to read pictures, a GPU",
            f"{rate:,.0f} / {parts.pictures_read:,.0f} pictures a second of a core (measured)",
            f"{rate / parts.pictures_read:.1f}",
        ),
        Line(
            "cores to write samples, a GPU",
            f"{rate:,.0f} / {parts.samples_written:,.0f} samples a second of a core (measured)",
            f"{rate / parts.samples_written:.2f}",
        ),
        Line(
            "network in, a GPU",
            f"{rate:,.0f} x {parts.jpeg_bytes / 1e3:,.0f} kB a picture (assumed)",
            f"{rate * parts.jpeg_bytes / 1e6:,.0f} MB/s",
        ),
        Line(
            "network out, a GPU",
            f"{rate:,.0f} x {parts.sample_bytes / KIB:.1f} KiB a sample (measured)",
            f"{rate * parts.sample_bytes / 1e6:,.0f} MB/s",
        ),
        Line("disk for pictures", "2.7e9 x the same kB", f"{PAIRS * parts.jpeg_bytes / TB:,.0f} TB"),
        Line("disk for latents", "2.7e9 x the same KiB", f"{PAIRS * parts.sample_bytes / TB:,.0f} TB"),
        Line(
            "shards that Ray deals out, a second, on 64 GPUs",
            f"64 (assumed) x {rate:,.0f} / 10,000 rows (the default); one process deals out {parts.pieces_dealt:,.0f} "
            "(measured)",
            f"{64 * rate / 10_000:.1f}",
        ),
    ]


def training(parts: Parts) -> list[Line]:
    """Latent-ViT B/8."""
    rate = gpu_flops() / (parts.train_gflop * 1e9)
    stream = rate * parts.sample_bytes
    return [
        Line("pairs a second of a GPU", f"{_flops()} / {parts.train_gflop:,.1f} GFLOP (counted)", f"{rate:,.0f}"),
        Line("GPU hours", f"34e9 samples seen (published) / {rate:,.0f} / 3,600 s", f"{SEEN / rate / HOUR:,.0f}"),
        Line(
            "reading latents, a GPU",
            f"{rate:,.0f} x {parts.sample_bytes / KIB:.1f} KiB (measured)",
            f"{stream / 1e6:,.0f} MB/s",
        ),
        Line("reading latents, a machine of 8", "8 (assumed) x the same", f"{8 * stream * 8 / 1e9:,.0f} Gbit/s"),
    ]


def checking(parts: Parts) -> list[Line]:
    """SDXL's VAE and Latent-ViT B/8 on finished pictures."""
    rate, each = IMAGES_A_DAY / DAY, parts.encode_gflop + parts.look_gflop
    return [
        Line("images a second", "10e6 / 86,400 s", f"{rate:,.0f}"),
        Line(
            "GPUs", f"{rate:,.0f} x {each:,.0f} GFLOP (counted) / {_flops()}", f"{rate * each * 1e9 / gpu_flops():.2f}"
        ),
        Line(
            "cores to read pictures",
            f"{rate:,.0f} / {parts.pictures_read:,.0f} a second of a core (measured)",
            f"{rate / parts.pictures_read:.1f}",
        ),
        Line(
            "of one process's time, to write findings",
            f"{rate:,.0f} / {parts.findings_written:,.0f} lines a second (measured)",
            f"{rate / parts.findings_written:.1%}",
        ),
        Line(
            "of one process's time, to deal out groups",
            f"{rate:,.0f} / 16 files / {parts.pieces_dealt:,.0f} a second (measured)",
            f"{rate / 16 / parts.pieces_dealt:.1%}",
        ),
        Line(
            "disk for findings, a day",
            f"10e6 x {parts.finding_bytes:,.0f} bytes (measured)",
            f"{IMAGES_A_DAY * parts.finding_bytes / 1e9:,.1f} GB",
        ),
    ]


def generating(parts: Parts) -> list[Line]:
    """At the mean rate, and at the peak of the day."""
    rate = IMAGES_A_DAY / DAY
    lines: list[Line] = []
    for case in _GENERATED:
        plain, guarded = generation_gflop(case, "unguarded generation"), generation_gflop(case, "guarded, benign")
        mean = rate * guarded * 1e9 / gpu_flops()
        lines.append(
            Line(
                f"{case}: GPUs at the mean rate, and at the peak",
                f"{rate:,.0f} x {guarded / 1e3:,.0f} TFLOP (counted, benchmarks/results/cost.csv) / {_flops()}; "
                f"x {PEAK_OVER_MEAN:g} (assumed)",
                f"{mean:,.0f}; {PEAK_OVER_MEAN * mean:,.0f}",
            )
        )
        lines.append(
            Line(
                f"{case}: of these for the guard",
                f"{guarded:,.0f} / {plain:,.0f} GFLOP - 1",
                f"{guarded / plain - 1:.2%}",
            )
        )
    return [
        *lines,
        Line(
            "network out, at the peak",
            f"{PEAK_OVER_MEAN:g} x {rate:,.0f} x 1.5 MB a PNG of 1024 pixels (assumed) x 4/3 in base64",
            f"{PEAK_OVER_MEAN * rate * PNG_BYTES * BASE64 * 8 / 1e9:.1f} Gbit/s",
        ),
    ]


def gpu_flops() -> float:
    """A second, as assumed."""
    return PUBLISHED_TFLOPS[GPU] * 1e12 * UTILISATION


def generation_gflop(case: str, part: str) -> float:
    """Of one image, as ``benchmarks/cost.py`` counted it."""
    runs = read_json(COST, "the costs")
    lines = [line for name, run in runs.items() if name.startswith(case) for line in run["lines"]]
    return float(next(line["gflop"] for line in lines if line["part"] == part))


def _flops() -> str:
    return f"({PUBLISHED_TFLOPS[GPU]:g} TFLOP/s (published, {GPU}) x {UTILISATION:.0%} (assumed))"


def _table(lines: Sequence[Line]) -> str:
    rows = (f"| {line.what} | {line.formula} | {line.value} |" for line in lines)
    return "\n".join(["| what | how it follows | comes to |", "|---|---|---|", *rows])
