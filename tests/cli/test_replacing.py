"""A run in the place of an earlier one, killed at every point: never no pictures, never a mixture that is not told."""

from __future__ import annotations

import hashlib
import json
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from latent_guard.cli.replacing import replace_run
from latent_guard.errors import InputError

EARLIER, LATER = 5, 3  # images
KILLED_AT = """
import os, signal, sys
from pathlib import Path
from latent_guard.cli.replacing import replace_run
from latent_guard.cli import replacing
left = int(sys.argv[2])
def counting(original):
    def call(*arguments, **named):
        global left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        return original(*arguments, **named)
    return call
os.replace, os.unlink, Path.write_bytes = counting(os.replace), counting(os.unlink), counting(Path.write_bytes)
Path.unlink, Path.write_text, Path.mkdir = counting(Path.unlink), counting(Path.write_text), counting(Path.mkdir)
files = {f"{n:03d}{end}": f"later {n}{end}".encode() for n in range(3) for end in (".png", ".json")}
replace_run(Path(sys.argv[1]), {"package": "latent-guard 0", "num_images_per_prompt": 3, "run": "later"}, files)
"""


def files_of(run: str, images: int) -> dict[str, bytes]:
    names = [f"{n:03d}{end}" for n in range(images) for end in (".png", ".json")]
    return {name: f"{run} {name}".encode() for name in names}


def record_of(run: str, images: int) -> dict[str, Any]:
    return {"package": "latent-guard 0", "num_images_per_prompt": images, "run": run}


def explained(folder: Path, earlier: dict[str, bytes]) -> bool:
    """Whether run.json says of each file whose it is; True if it is the later run's, and complete."""
    told = json.loads((folder / "run.json").read_text())
    there = {path.name: path.read_bytes() for path in folder.glob("[0-9]*")}
    pictures = [name for name in there if name.endswith(".png")]
    assert len(pictures) >= LATER
    own = {name for name, content in there.items() if hashlib.sha256(content).hexdigest() == told["files"].get(name)}
    rest = {name: content for name, content in there.items() if name not in own}
    if told["complete"]:
        assert rest == {}
        assert own == told["files"].keys()
    else:
        assert told["run"] == "later"
        assert rest.items() <= earlier.items()
    return bool(told["complete"]) and told["run"] == "later"


def test_whenever_it_is_killed_the_folder_holds_pictures_and_says_whose(tmp_path: Path) -> None:
    earlier, points = files_of("earlier", EARLIER), 30
    folders = [tmp_path / str(point) for point in range(points)]
    for folder in folders:
        replace_run(folder, record_of("earlier", EARLIER), earlier)
    forked = (
        "import os, sys\nfolders, code = sys.argv[1:-1], sys.argv[-1]\n"
        "from latent_guard.cli import replacing\n"
        "for point, folder in enumerate(folders):\n"
        "    if not os.fork():\n"
        "        sys.argv = ['', folder, str(point)]\n"
        "        exec(code, {'__name__': 'killed'})\n"
        "        os._exit(0)\n"
        "    print(os.wait()[1])\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", forked, *map(str, folders), KILLED_AT], capture_output=True, text=True, check=True
    )
    ends = [int(line) for line in ran.stdout.split()]
    assert ends.count(signal.SIGKILL) > 15
    assert ends[-1] == 0
    finished = [explained(folder, earlier) for folder in folders]
    assert finished[-1]
    assert not finished[0]
    for folder in folders:  # and the next run leaves nothing of either
        replace_run(folder, record_of("next", 2), files_of("next", 2))
        assert {path.name for path in folder.iterdir()} == {"run.json", *files_of("next", 2)}


def test_without_room_for_the_new_pictures_the_earlier_ones_stay(tmp_path: Path) -> None:
    earlier = files_of("earlier", EARLIER)
    replace_run(tmp_path, record_of("earlier", EARLIER), earlier)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    later = {name: content * 1000 for name, content in files_of("later", LATER).items()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, hard))
    try:
        with pytest.raises(InputError, match="make room"):
            replace_run(tmp_path, record_of("later", LATER), later)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_folder_in_the_place_of_a_picture_is_refused_before_anything_goes(tmp_path: Path) -> None:
    earlier = files_of("earlier", 1)
    replace_run(tmp_path, record_of("earlier", 1), earlier)
    (tmp_path / "001.png").mkdir()
    with pytest.raises(InputError, match=r"001\.png"):
        replace_run(tmp_path, record_of("later", 2), files_of("later", 2))
    assert (tmp_path / "000.png").read_bytes() == earlier["000.png"]
