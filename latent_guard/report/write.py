"""``write_report``: a run folder in, a report out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from latent_guard.files.atomic import write_atomic
from latent_guard.report.csv_files import figures_csv, images_csv
from latent_guard.report.gallery import gallery_of, most_telling
from latent_guard.report.i2p import i2p_sections
from latent_guard.report.markdown import markdown_page
from latent_guard.report.page import html_page
from latent_guard.report.run_folder import read_run
from latent_guard.report.sections import sections_of
from latent_guard.report.standing import standing_sections
from latent_guard.report.thumbnails import FOLDER, thumbnails


@dataclass(frozen=True)
class ReportFiles:
    """What ``write_report`` wrote; ``thumbs`` is None where the page holds its thumbnails itself."""

    html: Path
    markdown: Path
    images: Path
    figures: Path
    thumbs: Path | None


def write_report(run: Path, out: Path | None = None, most: int | None = None) -> ReportFiles:
    """Write ``report.html``, ``report.md``, ``images.csv`` and ``figures.csv`` of a run folder, into it or ``out``.

    Beyond 300 images a folder ``thumbs`` goes with the page; ``most`` keeps it smaller (`most_telling`), and leaves the
    figures those of all. All is read and made before a file is written, but for the thumbnails.

    Raises:
        InputError: the folder is not a run's, holds what no run writes, or ``out`` cannot be written.
    """
    read = read_run(run)
    sections = (*standing_sections(read), *sections_of(read), *i2p_sections(read))
    texts = markdown_page(read, sections).encode(), images_csv(read), figures_csv(sections)
    folder = run if out is None else out
    shown = read.records if most is None else most_telling(read.records, most)
    small = thumbnails(run, shown, folder)
    files = ReportFiles(
        html=folder / "report.html",
        markdown=folder / "report.md",
        images=folder / "images.csv",
        figures=folder / "figures.csv",
        thumbs=folder / FOLDER if any(address.startswith(FOLDER) for address in small.values()) else None,
    )
    page = html_page(read, sections, gallery_of(shown, small, of=len(read.records))).encode()
    for path, content in zip((files.html, files.markdown, files.images, files.figures), (page, *texts), strict=True):
        write_atomic(path, content)
    return files
