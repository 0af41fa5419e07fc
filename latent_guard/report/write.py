"""``write_report``: a run folder in, a report out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from latent_guard.files.atomic import write_atomic
from latent_guard.report.best_method import best_method_sections
from latent_guard.report.csv_files import images_csv, metrics_csv
from latent_guard.report.gallery import gallery_of, most_informative
from latent_guard.report.i2p import i2p_sections
from latent_guard.report.markdown import markdown_page
from latent_guard.report.page import html_page
from latent_guard.report.run_folder import read_run
from latent_guard.report.sections import sections_of
from latent_guard.report.thumbnails import FOLDER, thumbnails


@dataclass(frozen=True)
class ReportFiles:
    """The files that ``write_report`` wrote; ``thumbs`` is None if the page holds its thumbnails itself."""

    html: Path
    markdown: Path
    images: Path
    metrics: Path
    thumbs: Path | None


def write_report(run: Path, out: Path | None = None, max_images: int | None = None) -> ReportFiles:
    """Write ``report.html``, ``report.md``, ``images.csv`` and ``metrics.csv`` of a run folder, into it or ``out``.

    A page of more than 300 images has a folder ``thumbs`` beside it. ``max_images`` limits the images on the page
    (``most_informative``); metrics are of all images. Everything but the thumbnails is made before a file is written.

    Raises:
        InputError: the folder is not a run's, holds what no run writes, or ``out`` cannot be written.
    """
    read = read_run(run)
    sections = (*best_method_sections(read), *sections_of(read), *i2p_sections(read))
    texts = markdown_page(read, sections).encode(), images_csv(read), metrics_csv(sections)
    folder = run if out is None else out
    chosen = read.records if max_images is None else most_informative(read.records, max_images)
    addresses = thumbnails(run, chosen, folder)
    files = ReportFiles(
        html=folder / "report.html",
        markdown=folder / "report.md",
        images=folder / "images.csv",
        metrics=folder / "metrics.csv",
        thumbs=folder / FOLDER if any(address.startswith(FOLDER) for address in addresses.values()) else None,
    )
    page = html_page(read, sections, gallery_of(chosen, addresses, of=len(read.records))).encode()
    for path, content in zip((files.html, files.markdown, files.images, files.metrics), (page, *texts), strict=True):
        write_atomic(path, content)
    return files
