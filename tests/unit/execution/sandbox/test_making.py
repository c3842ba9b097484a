"""If this fails, boxes leave directories behind, or somebody else's are taken away."""

import os

from portcullis.execution.sandbox import making


def test_only_what_a_dead_process_of_ours_left_is_swept(tmp_path):
    dead, alive = "portcullis-box-4194399-a", f"portcullis-box-{os.getpid()}-b"
    for name in (dead, alive, "portcullis-box-x-c", "other"):
        (tmp_path / name / "in").mkdir(parents=True)
    (tmp_path / "portcullis-box-4194399-link").symlink_to(tmp_path / "other")
    (tmp_path / dead / "out").symlink_to(tmp_path / "other")
    making.sweep(tmp_path)
    left = {one.name for one in tmp_path.iterdir()}
    assert left == {alive, "portcullis-box-x-c", "other", "portcullis-box-4194399-link"}
    assert (tmp_path / "other/in").is_dir()
