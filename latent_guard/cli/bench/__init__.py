"""``latent-guard bench``: measure the guard."""

from __future__ import annotations

from latent_guard.cli.bench import compare, i2p, prompt_benchmarks, runs
from latent_guard.cli.commands import Commands

app = Commands(help="Measure how safe and how faithful guarded generation is.")

app.command("run")(runs.run)
app.command("i2p")(i2p.i2p)
app.command("geneval")(prompt_benchmarks.geneval)
app.command("t2i-compbench")(prompt_benchmarks.t2i_compbench)
app.command("list")(runs.list_specs)
app.command("report")(runs.report)
app.command("merge")(runs.merge)
app.command("compare")(compare.compare)
