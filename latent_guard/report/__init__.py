"""The report of a benchmark run: its records as tables, charts and a gallery, in HTML, Markdown and CSV."""
